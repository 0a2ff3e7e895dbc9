"""What was measured, as Markdown, and on what."""

import re
import time
from pathlib import Path
from statistics import median

import machine
from machine import number
from servers import DISK, HYPER, LOCKGATE, LUA, OPEN, PASSED, STATIC, STORAGE
from work import WORKS

COLUMNS = (STORAGE, STATIC, OPEN, LUA, HYPER, PASSED, LOCKGATE, DISK)


def markdown(measured: dict, about: dict) -> str:
    head = ["", *COLUMNS, "Lockgate / nginx that checks"]
    lines = ["# Beside others", "", "Written by `benches/peers/run`.", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for title, row in measured.items():
        middle = {column: median(values) for column, values in row["values"].items()}
        cells = [f"{title}{', ' + row['unit'] if row['unit'] else ''}"]
        cells += [spread(row["values"].get(column)) for column in COLUMNS]
        ratio = middle[LOCKGATE] / middle[LUA] if middle.get(LUA) and LOCKGATE in middle else None
        lines.append(f"| {' | '.join([*cells, '–' if ratio is None else f'{ratio:.2f}'])} |")
    return "\n".join([*lines, "", *(f"- {one}" for one in about["lines"]), ""])


def spread(values: list[float] | None) -> str:
    """The median, with the least and the greatest of several rounds."""
    if not values:
        return "–"
    if len(values) == 1:
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}–{number(max(values))})"


def about(options, length, stand, seconds: float) -> dict:
    """What a figure is worth nothing without."""
    everything = len(options.only) == len(WORKS)
    command = "benches/peers/run" + (" --quick" if options.quick else f" --rounds {options.rounds}")
    command += "" if everything else f" --only {' '.join(options.only)}"
    others = f"nginx {machine.said('/usr/sbin/nginx', '-v').rsplit('/', 1)[-1]}, hyper {locked('hyper')}, rustls {locked('rustls')}"
    measured_on, versions = machine.lines(options.lockgate, command, seconds)
    lines = [
        "CPU (s/GB, µs) is user and system time of the server's processes, GB is 10⁹ bytes, the client reads every body;"
        f" medians of {length.rounds} interleaved rounds, least and greatest in brackets. A token and the access list are"
        " checked on every request where it says so; Lockgate also checks that the task names the media (warm rows).",
        "W3 to W4: storage answers after 20 ms with 200 MB/s a stream, but where CPU is measured."
        f" W6: {length.slow} clients at 1 MB/s.",
        measured_on,
        f"{others}; {versions}",
        *(f"left out: {one}" for one in [*stand.missing, *sorted(set(stand.failures))]),
    ]
    return {
        "lines": lines, "machine": machine.hardware(), "system": machine.system(), "command": command,
        "versions": f"{machine.lockgate(options.lockgate)}, {others}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()), "rounds": length.rounds,
    }


def locked(crate: str) -> str:
    lock = Path(__file__).with_name("Cargo.lock").read_text()
    return re.search(rf'name = "{crate}"\nversion = "([^"]+)"', lock)[1]
