#!/usr/bin/env bash
# Builds the guests with the clang and lld that come with Swift, so that whoever can build
# Godwit can build them too; no assembler, linker or C library of the system takes part.
#
#   Guest/build.sh              rewrites Sources/DemoGuest/Image+ARCHITECTURE.swift
#   Guest/build.sh DIRECTORY    leaves ARCHITECTURE.elf there instead, for trying them by hand
#   Guest/build.sh --compiler   prints the compiler whose output is committed byte for byte
set -euo pipefail
guest=$(cd "$(dirname "$0")" && pwd)
swift=$(readlink -f "$(command -v swift)") || { echo "build.sh: no swift on PATH" >&2; exit 1; }
tools=$(dirname "$swift")
for tool in clang ld.lld; do
  [[ -x $tools/$tool ]] || { echo "build.sh: no $tool beside $swift" >&2; exit 1; }
done
# "clang version 21.0.0 (REPOSITORY COMMIT)" to its number and commit; else as it is.
compiler=$("$tools/clang" --version | head -1 |
  sed -E 's/^.*version ([0-9.]+)[^ ]* \(.* ([0-9a-f]{12})[0-9a-f]*\)$/clang \1, \2/')
[[ ${1:-} == --compiler ]] && { echo "$compiler"; exit; }
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT

common=(-ffreestanding -nostdlib -fno-stack-protector -fno-pic -fno-asynchronous-unwind-tables
        -fno-ident -std=c17 -Os -Wall -Wextra -Werror)
declare -A flags=(
  [x86_64]='--target=x86_64-none-elf -mno-red-zone -mgeneral-regs-only'
  [aarch64]='--target=aarch64-none-elf -mstrict-align -mgeneral-regs-only'
  [mips]='--target=mips-none-elf -march=mips32r2 -msoft-float -mno-abicalls -G0'
)
# The compiler sees relative paths only: an image must not depend on where it was built.
cd "$guest"
for architecture in x86_64 aarch64 mips; do
  objects=()
  for source in common/library.c common/workload.c "$architecture"/{machine.c,start.S}; do
    object=$work/$architecture-$(basename "$source").o
    # shellcheck disable=SC2086
    "$tools/clang" ${flags[$architecture]} "${common[@]}" -c "$source" -o "$object"
    objects+=("$object")
  done
  "$tools/ld.lld" -static --strip-all --build-id=none --nmagic \
    -T "$architecture/link.ld" -o "$work/$architecture.elf" "${objects[@]}"
done
if [[ $# -gt 0 ]]; then
  mkdir -p "$1" && cp "$work"/*.elf "$1"
  exit
fi

for image in "$work"/*.elf; do
  architecture=$(basename "$image" .elf)
  {
    echo "// Written by Guest/build.sh from Guest/common and Guest/$architecture: do not edit."
    echo "// Compiler: $compiler"
    echo
    echo "extension DemoGuest.Architecture {"
    echo "  /// The ELF file for $architecture, in base64."
    echo "  static let encoded_$architecture = \"\"\""
    base64 -w 92 "$image" | sed 's/^/    /'
    echo '    """'
    echo "}"
  } >"../Sources/DemoGuest/Image+$architecture.swift"
done
