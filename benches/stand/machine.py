"""On what it was measured, without which a figure is worth nothing."""

import hashlib
import os
import platform
import re
import subprocess
import time
from pathlib import Path


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 20 else f"{value:.1f}" if abs(value) >= 2 else f"{value:.3f}"


def hardware() -> str:
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{os.cpu_count()} cores of {model[1] if model else platform.machine()}, {memory:.0f} GB"


def system() -> str:
    congestion = Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return f"Linux {platform.release()}, {congestion}, loopback"


def lockgate(program: Path) -> str:
    """Its version, and which source it is: the commit where it was built from here, else the program's own digest."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    here = program.is_relative_to(Path(__file__).parents[2] / "target" / "release")
    source = f"commit {done.stdout.strip()}" if here and done.returncode == 0 else \
        f"sha256 {hashlib.sha256(program.read_bytes()).hexdigest()[:12]}"
    return f"{said(program, '--version')} ({source})"


def said(*command) -> str:
    """The first line that a program says."""
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout + done.stderr).strip().splitlines()[0]


def lines(program: Path, command: str, seconds: float) -> list[str]:
    load = "load average at the end {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg())
    return [
        f"{time.strftime('%d %B %Y', time.gmtime())}; {hardware()}; {system()}; {load}",
        f"{lockgate(program)}; `{command}`, {seconds:.0f} s",
    ]
