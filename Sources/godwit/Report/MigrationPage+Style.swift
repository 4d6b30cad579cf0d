// How the page looks: by day and by night, on a wide screen, a narrow one, and on paper.

extension MigrationPage {
  /// The style sheet.
  static let style = """
    :root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --ink: #1b1f24;
      --soft: #5b6470; --line: #e3e6ea; --c1: #2466c9; --c2: #c2570c; --c3: #7d8794;
      --c4: #1a7f4b; --still: #f3c9a5; --good: #1a7f4b; --bad: #b3261e; }
    @media (prefers-color-scheme: dark) {
      :root { --page: #14171b; --card: #1c2026; --ink: #e8ebef; --soft: #a0a9b5; --line: #303740;
        --c1: #6aa5ff; --c2: #ff9a52; --c3: #8e99a8; --c4: #5fd39a; --still: #6b4423;
        --good: #5fd39a; --bad: #ff8f86; } }
    * { box-sizing: border-box; }
    body { margin: 0; background: var(--page); color: var(--ink);
      font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
    main { max-width: 860px; margin: 0 auto; padding: 32px 20px 48px; }
    h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
    h2 { font-size: 16px; margin: 0; }
    code { font: 13px ui-monospace, "DejaVu Sans Mono", monospace; background: var(--card);
      border: 1px solid var(--line); border-radius: 5px; padding: 1px 6px;
      overflow-wrap: anywhere; }
    header { margin-bottom: 20px; }
    .route { margin: 0 0 12px; color: var(--soft); }
    .good, .bad { margin: 0; padding: 10px 14px; background: var(--card); border-radius: 8px;
      border: 1px solid var(--line); border-left: 4px solid var(--good); }
    .bad { border-left-color: var(--bad); }
    .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(104px, 1fr));
      gap: 10px; margin: 0 0 16px; }
    .tiles div, figure, .table { background: var(--card); border: 1px solid var(--line);
      border-radius: 10px; }
    .tiles div { padding: 10px 12px; }
    .tiles b { display: block; font-size: 17px; line-height: 1.3; white-space: nowrap;
      font-variant-numeric: tabular-nums; }
    .tiles span, figcaption p, footer { color: var(--soft); font-size: 13px; margin: 0; }
    figure, .table { margin: 0 0 16px; padding: 16px 18px; break-inside: avoid; }
    .legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0 4px; font-size: 13px; }
    .key { display: inline-flex; align-items: center; gap: 6px; }
    .key i { width: 12px; height: 12px; border-radius: 3px; display: inline-block; }
    i.c1, i.ran { background: var(--c1); } i.c2 { background: var(--c2); }
    i.c3 { background: var(--c3); } i.c4, i.runs { background: var(--c4); }
    i.stood { background: var(--c2); }
    svg { display: block; width: 100%; height: auto; }
    svg text { font-size: 11px; fill: var(--soft); font-variant-numeric: tabular-nums; }
    svg .roundtext { font-size: 9px; }
    svg .grid { stroke: var(--line); } svg .axis { stroke: var(--soft); }
    svg .round { stroke: var(--soft); stroke-dasharray: 2 4; opacity: .5; }
    svg .still { fill: var(--still); opacity: .8; }
    svg .stroke { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
    svg .stroke.dashed { stroke-dasharray: 6 4; stroke-width: 1.4; }
    svg .stroke.c1 { stroke: var(--c1); } svg .stroke.c2 { stroke: var(--c2); }
    svg .stroke.c3 { stroke: var(--c3); } svg .stroke.c4 { stroke: var(--c4); }
    svg .fill { stroke: none; opacity: .2; }
    svg .fill.c1 { fill: var(--c1); } svg .fill.c2 { fill: var(--c2); }
    svg .fill.c3 { fill: var(--c3); } svg .fill.c4 { fill: var(--c4); }
    .strip { display: flex; height: 22px; border-radius: 6px; overflow: hidden; margin-top: 8px; }
    .strip i { min-width: 2px; height: 100%; }
    .scroll { overflow-x: auto; margin-top: 8px; }
    table { border-collapse: collapse; width: 100%; font-size: 13px;
      font-variant-numeric: tabular-nums; }
    th, td { padding: 4px 10px; text-align: right; white-space: nowrap;
      border-bottom: 1px solid var(--line); }
    th { color: var(--soft); font-weight: 600; }
    th.left, td.left { text-align: left; }
    tr:last-child td { border-bottom: 0; }
    @media print { body { background: none; } main { max-width: none; padding: 0; } }
    """
}
