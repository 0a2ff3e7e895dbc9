"""What was measured, as Markdown; and on what."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from rows import LABEL_STUDIO, LOCKGATE, ROWS, Measured, Row, Stand, median

GB = 1e9


def whole(measured: Measured, stand: Stand) -> str:
    lines = [
        "| | Label Studio, requests/s | CPU | Lockgate, requests/s | CPU of Lockgate | of Label Studio, asked"
        " | requests/s, times | CPU, times less | storage requests per 1,000: Label Studio, Lockgate |",
        "|---|---|---|---|---|---|---|---|---|",
        *(line(row, measured.loads[row.name]) for row in ROWS),
        "",
        "CPU is of user and system: ms a request for images and 304, seconds a GB (10⁹ bytes) for ranges. Medians of"
        f" {len(measured.loads[ROWS[0].name][LABEL_STUDIO])} interleaved rounds.",
        "",
        *first_looks(measured),
        "",
        *(f"- {one}" for one in [*machine(), *stand.versions]),
    ]
    return "\n".join(lines)


def line(row: Row, loads: dict) -> str:
    theirs, ours = loads[LABEL_STUDIO], loads[row.gateway]

    def cost(seen, server: str) -> float:
        if row.name.startswith("ranges"):
            return seen.cpu[server] / (seen.bytes / GB)
        return seen.cpu[server] / seen.requests * 1000

    def storage(rounds) -> str:
        return number(median(1000 * seen.storage / seen.requests for seen in rounds))

    unit = "s/GB" if row.name.startswith("ranges") else "ms"
    slow, fast = median(seen.rate for seen in theirs), median(seen.rate for seen in ours)
    dear = median(cost(seen, "label-studio") for seen in theirs)
    own, asked = (median(cost(seen, server) for seen in ours) for server in ("lockgate", "label-studio"))
    both = median(cost(seen, "lockgate") + cost(seen, "label-studio") for seen in ours)
    cells = [
        row.name, number(slow), f"{number(dear)} {unit}",
        number(fast), f"{number(own)} {unit}", f"{number(asked)} {unit}", number(fast / slow),
        number(dear / both), f"{storage(theirs)}, {storage(ours)}",
    ]
    return f"| {' | '.join(cells)} |"


def first_looks(measured: Measured) -> list[str]:
    def ms(name: str) -> str:
        return f"{number(1000 * median(measured.looks[name]))} ms"

    count = len(measured.looks[f"{LOCKGATE}, first"])
    return [
        f"One image by itself, nothing else asked, median of {count}: the first of a task"
        f" {ms(f'{LOCKGATE}, first')} through Lockgate, with no decision on the person, project, task or image"
        f" remembered; again {ms(f'{LOCKGATE}, again')}. Label Studio's own proxy:"
        f" {ms(f'{LABEL_STUDIO}, first')}, again {ms(f'{LABEL_STUDIO}, again')}."
    ]


def number(value: float) -> str:
    """Three digits, and no more than are known."""
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value >= 0.001 or value == 0 else f"{value:.1g}"


def machine() -> list[str]:
    models = [
        text.partition(":")[2].strip() for text in Path("/proc/cpuinfo").read_text().splitlines()
        if text.startswith("model name")
    ]
    return [
        f"{time.strftime('%-d %B %Y')}; {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
        f" ({models[0] if models else 'unknown'}), which clients, servers and storage share;"
        f" load at the end {os.getloadavg()[1]:.1f}"
    ]


def versions(label_studio: str, lockgate: Path) -> list[str]:
    def says(*command) -> str:
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).splitlines()[0]

    nginx, wrk = says("nginx", "-v").rpartition("/")[2], says("wrk", "-v").split()[1]
    return [
        f"Label Studio {label_studio}, SQLite, uwsgi {version('uwsgi')} with 2 processes;"
        f" {says(lockgate, '--version')}; nginx {nginx} as storage; wrk {wrk} (2 threads) as clients"
    ]
