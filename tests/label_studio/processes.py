"""Processes that end with the one that started them, and ports that were free a moment ago."""

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE = 90  # seconds that a server may take to answer, on a busy machine


class Failed(Exception):
    """What a person has to read; everything else is a mistake of these files."""


def free_ports(count: int) -> list[int]:
    """Held together, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Servers:
    """The servers that run; they end in the opposite order, and with this process however that ends."""

    def __init__(self, logs: Path):
        self._logs = logs
        self._running: list[tuple[str, subprocess.Popen]] = []

    def start(self, name: str, command: list, environment: dict, directory: Path) -> subprocess.Popen:
        """Starts one. `setpriv` (util-linux) makes the kernel end it with this process."""
        log = open(self._logs / f"{name}.log", "wb")
        with log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, command)], env=environment, cwd=directory,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )
        self._running.append((name, process))
        return process

    def wait_for(self, name: str, looks_well) -> None:
        """Looks again and again; a server that ended is said with its last words."""
        end = time.monotonic() + PATIENCE
        while not looks_well():
            if (ended := self.ended()) is not None:
                raise Failed(f"{ended} ended:\n{self.last_words(ended)}")
            if time.monotonic() > end:
                raise Failed(f"{name} does not answer:\n{self.last_words(name)}")
            time.sleep(0.05)

    def ended(self) -> str | None:
        """The name of one that has ended."""
        return next((name for name, process in self._running if process.poll() is not None), None)

    def forget(self, name: str) -> None:
        """Ends one, so that the others may go on without it."""
        for known, process in [one for one in self._running if one[0] == name]:
            process.kill()
            process.wait()
            self._running.remove((known, process))

    def last_words(self, name: str) -> str:
        lines = (self._logs / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-20:])

    def stop(self) -> None:
        for _name, process in reversed(self._running):
            process.send_signal(signal.SIGTERM)
        for _name, process in reversed(self._running):
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()


def answers(url: str, *statuses: int) -> bool:
    """Whether a GET is answered with one of these."""
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status in statuses
    except urllib.error.HTTPError as error:
        return error.code in statuses
    except OSError:
        return False
