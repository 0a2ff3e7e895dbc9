"""One load at a server, by wrk, and the CPU that it cost which process."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from origin import Origin
from processes import Failed

TICK = os.sysconf("SC_CLK_TCK")
THREADS = 2  # of wrk
SETTLE = 0.3  # seconds: what the clients let go of at the end, the servers let go of, too


@dataclass
class Target:
    """A request: its path, and fields beside the credential."""

    path: str
    headers: dict[str, str]


@dataclass
class Seen:
    """What one load showed: of CPU seconds of user and system time, by server.

    `closed` counts connections that ended, which uwsgi's do after each answer: it keeps none alive.
    """

    requests: int
    bytes: int
    seconds: float
    median: float
    errors: int
    closed: int
    cpu: dict[str, float]
    client_cpu: float
    storage: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def cpu(root: int) -> float:
    """Seconds that a process and all below it have used (proc(5), fields 14 and 15 of `stat`)."""
    parents, used = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            parents[int(entry.name)], used[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    tree = {root}
    while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return sum(used.get(pid, 0) for pid in tree) / TICK


def load(
    base: str, token: str, targets: list[Target], connections: int, seconds: float,
    roots: dict[str, int], origin: Origin, directory: Path,
) -> Seen:
    """Sends them over and over for so long. `roots` names the process of each server whose CPU is counted."""
    listed = directory / "targets"
    listed.write_text("".join(
        "\t".join([one.path, *(f"{name}: {value}" for name, value in one.headers.items())]) + "\n" for one in targets
    ))
    environment = {
        **os.environ, "TARGETS": str(listed), "AUTHORIZATION": f"Token {token}", "THREADS": str(THREADS),
    }
    command = [
        "wrk", f"-t{THREADS}", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s",
        "-s", Path(__file__).with_name("load.lua"), base,
    ]
    origin.requests()
    before = {name: cpu(pid) for name, pid in roots.items()}
    children = os.times()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    after = os.times()
    time.sleep(SETTLE)
    used = {name: cpu(pid) - before[name] for name, pid in roots.items()}
    said = done.stdout.strip().rpartition("\n")[2]
    if done.returncode != 0 or not said.startswith("{"):
        raise Failed(f"wrk failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    client = after.children_user + after.children_system - children.children_user - children.children_system
    return Seen(**json.loads(said), cpu=used, client_cpu=client, storage=origin.requests())
