"""Drives all of a machine's QMP with the public client library qemu.qmp.

    drive.py SOCKET FOLDER [--moves] [--to SOCKET]

SOCKET is the machine's QMP socket; FOLDER takes what commands write. With --moves the machine is
one that can migrate; it is sent into a file then. With --to nothing is done but to move it to the
machine behind that other socket, which waits for one. The machine is ended by `quit`.

Every command that the server lists has to be used, and answered or refused as QEMU does.
"""

import argparse
import asyncio
import os
import struct
import sys

from qemu.qmp import EventListener, ExecuteError, QMPClient


class Surprise(Exception):
    """Something was not as it should be."""


def expect(condition, text):
    """Fails unless the condition holds."""
    if not condition:
        raise Surprise(text)


class Driver:
    """One client, what it has used, and what it was told."""

    def __init__(self, socket, folder):
        self.socket = socket
        self.folder = folder
        self.client = QMPClient("driver")
        self.used = {"qmp_capabilities"}

    async def connect(self):
        """Connects and negotiates."""
        await self.client.connect(self.socket)

    async def run(self, command, **arguments):
        """Has a command carried out; names with underscores that QMP spells with dashes are given
        through a dictionary instead."""
        return await self.run_with(command, arguments)

    async def run_with(self, command, arguments):
        """Has a command carried out with arguments from a dictionary."""
        self.used.add(command)
        return await self.client.execute(command, arguments or None)

    async def refused(self, command, arguments, words, kind="GenericError"):
        """Has a command refused, with these words in the reason."""
        self.used.add(command)
        try:
            answer = await self.client.execute(command, arguments or None)
        except ExecuteError as error:
            expect(error.error_class == kind, f"{command}: class {error.error_class}")
            expect(words in str(error), f"{command}: refused with '{error}', not '{words}'")
            return
        raise Surprise(f"{command} {arguments} was not refused but answered {answer}")

    async def human(self, line):
        """What the human monitor prints."""
        return await self.run_with("human-monitor-command", {"command-line": line})

    async def event(self, listener, name):
        """Waits for an event."""
        while True:
            event = await asyncio.wait_for(listener.get(), 20)
            seconds = event["timestamp"]["seconds"]
            expect(seconds > 1_600_000_000, f"{event['event']} has the time {seconds}")
            if event["event"] == name:
                return event.get("data", {})


async def describe(driver):
    """What the machine is."""
    version = await driver.run("query-version")
    expect(version["qemu"]["major"] >= 7, f"version {version}")
    expect(driver.client.greeting.QMP.version == version, "the greeting tells another version")
    for command in ("query-name", "query-uuid", "query-kvm", "query-current-machine"):
        await driver.run(command)
    expect((await driver.run("query-target"))["arch"] == "x86_64", "architecture")
    machines = await driver.run("query-machines")
    kind = await driver.run("qom-get", path="/machine", property="type")
    expect(kind == machines[0]["name"] + "-machine", f"machine type {kind}")
    await driver.refused(
        "qom-get", {"path": "/nowhere", "property": "x"}, "not found", "DeviceNotFound")
    processors = await driver.run("query-cpus-fast")
    expect(processors and processors[0]["cpu-index"] == 0, f"processors {processors}")
    expect((await driver.run("query-memory-size-summary"))["base-memory"] > 0, "no memory")
    expect(await driver.run("query-memdev"), "no memory backend")
    for disk in await driver.run("query-block"):
        expect(disk["inserted"]["image"]["virtual-size"] > 0, f"disk {disk}")


async def introspect(driver):
    """What the server offers: the schema has what the list has."""
    names = {entry["name"] for entry in await driver.run("query-commands")}
    schema = await driver.run("query-qmp-schema")
    entries = {entry["name"]: entry for entry in schema}
    commands = {name for name, entry in entries.items() if entry["meta-type"] == "command"}
    expect(commands == names, f"list and schema differ by {commands ^ names}")
    for entry in schema:
        for reference in ("arg-type", "ret-type", "element-type"):
            if reference in entry:
                expect(entry[reference] in entries, f"{entry['name']} refers to nothing")
    await driver.refused("nonsense", {}, "has not been found", "CommandNotFound")
    driver.used.discard("nonsense")
    await driver.refused("stop", {"x": 1}, "Parameter 'x' is unexpected")
    await driver.refused("balloon", {}, "Parameter 'value' is missing")
    await driver.refused("balloon", {"value": "x"}, "Invalid parameter type for 'value'")
    return names


async def run_and_stop(driver):
    """Running, stopping, resetting, with a second client that is told the same."""
    other = Driver(driver.socket, driver.folder)
    await other.connect()
    mine = EventListener()
    theirs = EventListener()
    with driver.client.listen(mine), other.client.listen(theirs):
        await driver.run("cont")
        await driver.run("stop")
        for listener in (mine, theirs):
            await driver.event(listener, "STOP")
        status = await other.run("query-status")
        expect(status == {"running": False, "status": "paused"}, f"status {status}")
        await driver.run("stop")
        await other.run("cont")
        for listener in (mine, theirs):
            await driver.event(listener, "RESUME")
        expect((await driver.run("query-status"))["running"], "it does not run")
        await driver.run("system_powerdown")
        await driver.event(mine, "POWERDOWN")
        await driver.run("system_reset")
        data = await driver.event(theirs, "RESET")
        expect(data == {"guest": False, "reason": "host-qmp-system-reset"}, f"RESET {data}")
    await other.client.disconnect()


async def inflate(driver):
    """The balloon."""
    actual = (await driver.run("query-balloon"))["actual"]
    expect(actual > 0, f"balloon {actual}")
    await driver.run("balloon", value=actual)
    await driver.refused("balloon", {"value": 0}, "expects a size")
    balloon = {"path": "/machine/peripheral/balloon0", "property": "guest-stats-polling-interval"}
    await driver.run("qom-set", **balloon, value=3)
    expect(await driver.run("qom-get", **balloon) == 3, "the interval is another")
    await driver.run("qom-set", **balloon, value=0)
    await driver.refused("qom-set", {**balloon, "value": -1}, "takes a number of seconds")


def read_core(path):
    """The memory segments and the notes of an ELF core."""
    with open(path, "rb") as file:
        data = file.read()
    expect(data[:6] == b"\x7fELF\x02\x01", "no ELF file of 64 bits")
    kind, machine = struct.unpack_from("<HH", data, 16)
    expect((kind, machine) == (4, 62), f"ELF type {kind}, machine {machine}")
    start, = struct.unpack_from("<Q", data, 32)
    count, = struct.unpack_from("<H", data, 56)
    segments, notes = {}, []
    for index in range(count):
        place = start + 56 * index
        kind, _, offset, _, address, size, _, _ = struct.unpack_from("<IIQQQQQQ", data, place)
        expect(offset + size <= len(data), "a segment lies beyond the end of the file")
        if kind == 1:
            segments[address] = data[offset:offset + size]
            continue
        end = offset + size
        while offset < end:
            name_size, size, kind = struct.unpack_from("<III", data, offset)
            name = data[offset + 12:offset + 11 + name_size].decode()
            notes.append((name, kind, size))
            offset += 12 + (name_size + 3) // 4 * 4 + (size + 3) // 4 * 4
    return segments, notes


async def dump(driver):
    """Memory in files."""
    await driver.run("stop")
    expect(
        (await driver.run("query-dump-guest-memory-capability"))["formats"] == ["elf"], "formats")
    core = os.path.join(driver.folder, "core")
    listener = EventListener()
    with driver.client.listen(listener):
        await driver.run_with("dump-guest-memory", {"paging": False, "protocol": f"file:{core}"})
        result = (await driver.event(listener, "DUMP_COMPLETED"))["result"]
    expect(result["status"] == "completed", f"dump {result}")
    segments, notes = read_core(core)
    expect(sum(map(len, segments.values())) == result["total"], "the dump has another size")
    if (await driver.run("query-kvm"))["enabled"]:
        count = len(await driver.run("query-cpus-fast"))
        expect(
            sorted(notes) == [("CORE", 1, 336)] * count + [("QEMU", 0, 440)] * count,
            f"notes {notes}")
    raw = os.path.join(driver.folder, "raw")
    address = min(segments)
    size = min(len(segments[address]), 1 << 20)
    await driver.run("pmemsave", val=address, size=size, filename=raw)
    with open(raw, "rb") as file:
        expect(file.read() == segments[address][:size], "pmemsave and the dump differ")
    await driver.run_with(
        "dump-guest-memory",
        {"paging": False, "protocol": f"file:{core}", "detach": True, "begin": address,
         "length": 8192})
    while (await driver.run("query-dump"))["status"] == "active":
        await asyncio.sleep(0.01)
    part, _ = read_core(core)
    expect(part == {address: segments[address][:8192]}, "the part is another one")
    await driver.refused(
        "dump-guest-memory", {"paging": False, "protocol": "x:y"}, "must start with 'file:'")
    await driver.refused(
        "dump-guest-memory", {"paging": False, "protocol": f"file:{core}", "begin": 0},
        "Parameter 'length' is missing")
    await driver.refused(
        "pmemsave", {"val": 1 << 50, "size": 1, "filename": raw}, "Invalid addr")
    await driver.run("cont")


async def measure(driver):
    """How fast memory is dirtied."""
    expect((await driver.run("query-dirty-rate"))["status"] == "unstarted", "already measured")
    await driver.refused("calc-dirty-rate", {"calc-time": 0}, "out of range")
    modes = 0
    for mode in ("page-sampling", "dirty-bitmap", "dirty-ring"):
        order = {"calc-time": 100, "calc-time-unit": "millisecond", "mode": mode}
        try:
            await driver.run_with("calc-dirty-rate", order)
        except ExecuteError as error:
            expect("dirty ring" in str(error), f"{mode}: {error}")
            continue
        modes += 1
        account = {"status": "measuring"}
        while account["status"] == "measuring":
            await asyncio.sleep(0.02)
            account = await driver.run_with("query-dirty-rate", {"calc-time-unit": "millisecond"})
        expect(account["status"] == "measured", f"{mode}: {account}")
        expect(account["mode"] == mode and account["calc-time"] == 100, f"{mode}: {account}")
        print(f"  {mode}: {account['dirty-rate']} MiB/s")
    expect(modes >= 2, "neither bitmap nor ring")


async def configure(driver):
    """Migration capabilities and parameters."""
    capabilities = await driver.run("query-migrate-capabilities")
    expect(not any(entry["state"] for entry in capabilities), "capabilities are on")
    change = {"capabilities": [{"capability": "xbzrle", "state": True}]}
    await driver.refused("migrate-set-capabilities", change, "xbzrle")
    change["capabilities"][0]["capability"] = "nonsense"
    await driver.refused("migrate-set-capabilities", change, "does not accept value 'nonsense'")
    change["capabilities"][0] = {"capability": "xbzrle", "state": False}
    await driver.run_with("migrate-set-capabilities", change)
    before = await driver.run("query-migrate-parameters")
    await driver.run_with(
        "migrate-set-parameters", {"max-bandwidth": 1 << 20, "downtime-limit": 77})
    after = await driver.run("query-migrate-parameters")
    expect(after["max-bandwidth"] == 1 << 20 and after["downtime-limit"] == 77, f"{after}")
    await driver.run_with(
        "migrate-set-parameters",
        {name: before[name] for name in ("max-bandwidth", "downtime-limit")})
    expect(await driver.run("query-migrate-parameters") == before, "not put back")
    await driver.refused("migrate-set-parameters", {"tls-creds": "x"}, "tls-creds")
    await driver.refused(
        "migrate-set-parameters", {"multifd-channels": 300}, "expects uint8_t")


async def pass_descriptors(driver):
    """Descriptors beside the bytes."""
    await driver.refused("getfd", {"fdname": "a"}, "No file descriptor supplied")
    with open(os.devnull, "rb") as file:
        driver.client.send_fd_scm(file.fileno())
        await driver.run("getfd", fdname="a")
    await driver.run("closefd", fdname="a")
    await driver.refused("closefd", {"fdname": "a"}, "File descriptor named 'a' not found")


async def refuse_moves(driver):
    """What cannot be done with a machine that runs here and has not moved."""
    await driver.refused("migrate", {"uri": "nonsense:x"}, "unknown migration protocol")
    await driver.refused("migrate", {"uri": "fd:nope"}, "File descriptor named 'nope'")
    await driver.refused("migrate", {}, "need either 'uri' or 'channels'")
    await driver.refused(
        "migrate-incoming", {"uri": "exec:true"}, "'-incoming' was not specified")
    await driver.refused("migrate-recover", {"uri": "exec:true"}, "postcopy is paused")
    await driver.refused("migrate-pause", {}, "only supported during postcopy-active")
    await driver.refused(
        "migrate-continue", {"state": "pre-switchover"}, "not in expected state")
    await driver.refused("migrate-start-postcopy", {}, "Enable postcopy")
    await driver.run("migrate_cancel")


async def move(driver):
    """Sends the machine into a file."""
    await driver.run("stop")
    stream = os.path.join(driver.folder, "stream")
    await driver.run("migrate", uri=f"exec:cat > {stream}")
    while True:
        account = await driver.run("query-migrate")
        if account["status"] in ("completed", "failed", "cancelled"):
            break
        await asyncio.sleep(0.02)
    expect(account["status"] == "completed", f"migration {account}")
    with open(stream, "rb") as file:
        expect(file.read(4) == b"QEVM", "no migration stream")
    print(f"  {os.path.getsize(stream)} bytes, {account.get('total-time')} ms")


async def status_event(driver, listener, status):
    """Waits for a migration's state."""
    while True:
        data = await driver.event(listener, "MIGRATION")
        if data["status"] == status:
            return
        expect(data["status"] != "failed", f"failed, and not {status}")


async def set_capabilities(driver, names):
    """Switches exactly these capabilities on, of those that matter here."""
    known = ("events", "return-path", "postcopy-ram", "pause-before-switchover")
    await driver.run_with(
        "migrate-set-capabilities",
        {"capabilities": [{"capability": name, "state": name in names} for name in known]})


async def cancel_and_stay(source, address):
    """A move that is cancelled before the switchover, where the machine stands and waits."""
    await set_capabilities(source, ("events", "pause-before-switchover"))
    listener = EventListener()
    with source.client.listen(listener):
        await source.run("migrate", uri=address)
        await status_event(source, listener, "pre-switchover")
        expect(not (await source.run("query-status"))["running"], "it runs in pre-switchover")
        await source.refused("migrate", {"uri": address}, "in progress")
        await source.refused(
            "migrate-continue", {"state": "device"}, "not in expected state")
        await source.run("migrate_cancel")
        await status_event(source, listener, "cancelled")
    expect((await source.run("query-status"))["running"], "it does not run on after the cancel")


async def go_ahead(source, target, address, recovery):
    """Postcopy: started, broken from both ends, carried on, and completed."""
    await set_capabilities(
        source, ("events", "return-path", "postcopy-ram", "pause-before-switchover"))
    await source.run_with(
        "migrate-set-parameters", {"max-bandwidth": 1, "max-postcopy-bandwidth": 1 << 20})
    here, there = EventListener(), EventListener()
    with source.client.listen(here), target.client.listen(there):
        await source.run("migrate", uri=address)
        await status_event(source, here, "active")
        await source.run("migrate-start-postcopy")
        await status_event(source, here, "pre-switchover")
        await source.run("migrate-continue", state="pre-switchover")
        for side in (source, target):
            await status_event(side, here if side is source else there, "postcopy-active")
        while not (await target.run("query-status"))["running"]:
            await asyncio.sleep(0.02)
        for number, side in enumerate((source, target)):
            await side.run("migrate-pause")
            await status_event(source, here, "postcopy-paused")
            await status_event(target, there, "postcopy-paused")
            expect((await target.run("query-status"))["running"], "it does not run meanwhile")
            again = f"{recovery}-{number}"
            await target.run("migrate-recover", uri=again)
            if number:
                await source.run_with("migrate-set-parameters", {"max-postcopy-bandwidth": 0})
            await source.run("migrate", uri=again, resume=True)
            if not number:
                await status_event(source, here, "postcopy-active")
                await status_event(target, there, "postcopy-active")
        await status_event(source, here, "completed")
        await status_event(target, there, "completed")


async def move_live(source, path):
    """Moves the machine to another one while it runs."""
    target = Driver(path, source.folder)
    await target.connect()
    address = "unix:" + os.path.join(source.folder, "link")
    await set_capabilities(target, ("events", "return-path", "postcopy-ram"))
    print(cancel_and_stay.__doc__)
    await cancel_and_stay(source, "exec:cat >/dev/null")
    print(go_ahead.__doc__)
    await target.run_with("migrate-incoming", {"uri": address, "exit-on-error": False})
    await go_ahead(source, target, address, address + "-again")
    expect((await source.run("query-status"))["status"] == "postmigrate", "the source's state")
    expect((await target.run("query-status"))["running"], "it does not run there")
    account = await source.run("query-migrate")
    expect(account["downtime"] >= 0 and account["ram"]["transferred"] > 0, f"{account}")
    # It goes on: whoever started it hears from its guest how it fares.
    await target.client.disconnect()


async def talk(driver):
    """What people type."""
    help_text = await driver.human("help")
    for line in help_text.splitlines():
        subject = line.split()[1]
        text = await driver.human(f"info {subject}")
        expect("unknown command" not in text, f"info {subject}: {text}")
    for subject in ("status", "version", "registers", "mtree", "ramblock", "balloon", "block",
                    "kvm", "migrate", "migrate_capabilities", "migrate_parameters", "cpus"):
        expect(f"info {subject}" in help_text, f"help does not list {subject}")
    expect("VM status:" in await driver.human("info status"), "info status")
    expect("unknown command" in await driver.human("nonsense"), "nonsense is understood")


async def end(driver):
    """Quits, and is told so."""
    listener = EventListener()
    with driver.client.listen(listener):
        await driver.run("quit")
        data = await driver.event(listener, "SHUTDOWN")
    expect(data == {"guest": False, "reason": "host-qmp-quit"}, f"SHUTDOWN {data}")
    try:
        await driver.client.disconnect()
    except EOFError:
        pass  # The machine was faster.


async def main():
    """Drives everything in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("socket")
    parser.add_argument("folder")
    parser.add_argument("--moves", action="store_true")
    parser.add_argument("--to")
    options = parser.parse_args()
    driver = Driver(options.socket, options.folder)
    await driver.connect()
    if options.to:
        await move_live(driver, options.to)
        await end(driver)
        return
    names = await introspect(driver)
    steps = [describe, run_and_stop, inflate, dump, measure, configure, pass_descriptors,
             refuse_moves, talk]
    if options.moves:
        steps.append(move)
    await driver.run("query-migrate")
    for step in steps:
        print(step.__doc__.split("\n")[0])
        await step(driver)
    print(end.__doc__)
    await end(driver)
    expect(names <= driver.used, f"never used: {sorted(names - driver.used)}")
    print(f"{len(names)} commands, all as they should be")


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except Surprise as surprise:
        sys.exit(f"drive.py: {surprise}")
    except ExecuteError as error:
        sys.exit(f"drive.py: {error.sent['execute']}: refused: {error}")
