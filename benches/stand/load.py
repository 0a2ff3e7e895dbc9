"""The client of `benches/peers` (its program `load`), and what a server costs meanwhile, as the kernel counts it."""

import json
import os
import re
import selectors
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from processes import Failed

PATIENCE = 120  # seconds that a load may take beyond its own time, on a busy machine
GB = 1e9


@dataclass
class Server:
    """A running server, and how its objects are asked for."""

    name: str
    pid: int
    port: int
    route: str
    base64: bool = False
    tokens: Path | None = None
    certificate: Path | None = None

    def cpu(self) -> float:
        """Seconds of user and system time of all its processes so far, to the nanosecond: clock_getcpuclockid(3)."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in family(self.pid))

    def memory(self) -> float:
        """MB of heap and stacks, and of the cache, which is memory like any other."""
        own = 0
        for pid in family(self.pid):
            status = Path(f"/proc/{pid}/status").read_text()
            own += int(re.search(r"^RssAnon:\s+(\d+)", status, re.M)[1]) * 1024
        return own / 1e6


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(grandchild for child in children for grandchild in family(int(child)))]


def tcp_memory() -> float:
    """MB that the kernel holds for TCP, of the whole machine."""
    pages = re.search(r"^TCP:.* mem (\d+)", Path("/proc/net/sockstat").read_text(), re.M)[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass
class Measured:
    """What the client saw, and what the server paid for it (seconds)."""

    client: dict
    cpu: float
    memory: float = 0

    @property
    def per_request(self) -> float:
        """Microseconds."""
        return self.cpu / max(self.client["requests"], 1) * 1e6

    @property
    def per_gb(self) -> float:
        """Seconds for 10⁹ bytes."""
        return self.cpu / max(self.client["bytes"], 1) * GB


class Client:
    """Starts a load for each measurement; it ends before the measurement does."""

    def __init__(self, program: Path):
        self._program = program

    def measure(self, server: Server, watch=None, **plan) -> Measured:
        """Puts a load on a server. `watch()` is called four times a second while it lasts."""
        with self.loading(server, **plan) as running:
            return running.go(watch)

    @contextmanager
    def loading(self, server: Server, **plan):
        """A load whose connections stay open until the block ends."""
        whole = {
            "address": f"127.0.0.1:{server.port}", "route": server.route, "base64": server.base64, "seconds": 60,
            "tokens": server.tokens and str(server.tokens), "tls": server.certificate and str(server.certificate),
            **plan,
        }
        process = subprocess.Popen([self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   text=True)
        try:
            running = Running(server, process, whole)
            yield running
            process.stdin.close()
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


class Running:
    """A load that is connected."""

    def __init__(self, server: Server, process: subprocess.Popen, plan: dict):
        self._server, self._process, self._plan = server, process, plan
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.flush()
        self._line()

    def go(self, watch=None) -> Measured:
        before = self._server.cpu()
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        line = self._line(self._plan["seconds"], watch)
        measured = Measured(json.loads(line), self._server.cpu() - before, self._server.memory())
        seen = measured.client
        if seen["errors"] or seen["wrong"]:
            said = {key: seen[key] for key in ("errors", "wrong", "statuses")}
            raise Failed(f"{self._server.name} did not answer as it should: {said} for {self._plan}")
        return measured

    def _line(self, seconds: float = 0, watch=None) -> str:
        """The next one that the client says; it may take so long, and as much more as a busy machine needs."""
        end = time.monotonic() + seconds + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not selector.select(0.25):
                if watch:
                    watch()
                if time.monotonic() > end:
                    raise Failed(f"{self._server.name} does not come to an end of {self._plan}")
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"{self._server.name}: the client ended: {self._process.stderr.read()[-500:]}")
        return line
