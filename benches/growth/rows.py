"""What is varied, and what is looked at: a fresh Lockgate for each point, but for the number of objects."""

import argparse
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from gateway import Gateway
from load import Client, Server, tcp_memory
from processes import Failed, Servers

KB, MB, GB = 10**3, 10**6, 10**9
MIB = 1 << 20
STORAGES = """
[[storage]]
id = "origin"
kind = "s3"
bucket = "media"
region = "us-east-1"
endpoint = "http://{storage}"
access_key_id = "BENCH"
secret_access_key = {{ file = "{secret}" }}
"""
PROJECTS = """
[[project]]
id = "1"
storages = ["origin"]
media = "storage"
members = {members}
"""
ROUTE = "/projects/1/resolve/?fileuri="
SMALL = 100 * KB
# What an object of 1 KB takes on disk, at most.
RECORD = 10_000


class Missing(Failed):
    """What this Lockgate does not have cannot be measured."""


class Bench:
    """Storage without end, and a Lockgate in front whenever one is wanted."""

    def __init__(self, options: argparse.Namespace, directory: Path, running: Servers):
        self.client = Client(options.programs / "load")
        self.length = "quick" if options.quick else "full" if options.full else "usual"
        self.seconds = 0.3 if options.quick else 2
        self._lockgate, self.directory, self._running = options.lockgate, directory, running
        self.programs = options.programs
        running.start("storage", [options.programs / "server", "--workers", "2"], {}, directory)
        log = directory / "storage.log"
        running.wait_for("storage", lambda: log.read_text().endswith("\n"))
        self._storage = log.read_text().strip()
        self._secret = directory / "storage.secret"
        self._secret.write_text("a secret that this storage does not look at")
        self._names, self._last = count(1), ""
        # What `objects` goes on with: its Lockgate, and how many objects that was asked for.
        self.kept: Server | None = None
        self.asked = 0
        # How many objects `on_disk` has had laid on the disk.
        self.laid = 0

    def gateway(self, annotators: int = 1, **settings) -> Server:
        """A fresh one; the one before ends."""
        if self._last:
            self._running.forget(self._last)
        self._last = f"lockgate-{next(self._names)}"
        home = self.directory / self._last
        members = [f"annotator-{number}@example.com" for number in range(annotators)]
        gateway = Gateway(
            self._lockgate, home, self._running, STORAGES.format(storage=self._storage, secret=self._secret),
            PROJECTS.format(members=members), **{"log.access": "off", "cache.memory": "256MiB", **settings},
        )
        tokens = home / "tokens"
        tokens.write_text("".join(f"{gateway.token(member)}\n" for member in members))
        return Server("lockgate", gateway.process.pid, gateway.port, ROUTE, True, tokens)

    def rest(self) -> None:
        """Until the allocator has given back what was free, which takes it ten seconds."""
        time.sleep(1 if self.length == "quick" else 15)

    def log(self) -> Path:
        """What the last one says."""
        return self.directory / f"{self._last}.log"


def media(name: str, **plan) -> dict:
    return {"object": f"s3://media/{name}", "objects": 1, "status": 206, **plan}


def object_size(bench: Bench, size: int) -> dict[str, float]:
    server = bench.gateway()
    most = [server.memory()]

    def watch():
        most.append(server.memory())

    whole = bench.client.measure(server, watch, connections=1, **media(f"whole.{size}.mp4", count=1, status=200), seconds=120)
    watch()
    # Eight places that are cached, however large it is.
    small = media(f"parts.{size}.mp4", range=SMALL, align=max(size // 8, SMALL))
    bench.client.measure(server, connections=1, **small, in_order=True, count=9)
    parts = bench.client.measure(server, connections=16, **small, seconds=bench.seconds)
    return {
        "cached range of 100 KB, µs": parts.per_request, "whole object, cold, s/GB": whole.per_gb,
        "memory at most, MB": max(most),
    }


def cache_size(bench: Bench, size: int) -> dict[str, float]:
    server = bench.gateway(**{"cache.memory": f"{size}B"})
    # Three quarters: all of it stays.
    video = media(f"video.{size * 3 // 4}.mp4")
    for _ in range(2):
        bench.client.measure(server, connections=4, **video, range=8 * MIB, in_order=True, count=-(-size * 3 // 4 // (8 * MIB)))
    filled = server.memory()
    parts = bench.client.measure(server, connections=16, **video, range=SMALL, align=SMALL, seconds=bench.seconds)
    return {
        "cached range of 100 KB, µs": parts.per_request, "memory, MB": filled,
        "beyond the media that is cached, MB": filled - size * 0.75 / MB,
    }


def objects(bench: Bench, number: int) -> dict[str, float]:
    """One Lockgate goes on from point to point: what was asked for before counts."""
    server = bench.kept = bench.kept or bench.gateway()
    plan = {**media("object-{n}.1000.jpg"), "status": 200, "connections": 32}
    new = number - bench.asked
    first = bench.client.measure(
        server, **{**plan, "first": bench.asked, "objects": new}, in_order=True, count=new, seconds=7200,
    )
    bench.asked = number
    last = {"first": max(0, number - 500), "objects": 500}
    # A full cache lets in what is asked for more than once, and not at once: they are asked for a while before.
    bench.client.measure(server, **{**plan, **last}, seconds=bench.seconds)
    again = bench.client.measure(server, **{**plan, **last}, seconds=bench.seconds)
    return {
        "first request of each, µs": first.per_request, "the last 500 again, µs": again.per_request,
        "memory, MB": again.memory,
    }


def on_disk(bench: Bench, number: int) -> dict[str, float]:
    """Started again over what was read before, Lockgate holds the index of it and little else."""
    disk = bench.directory / "disk"
    if shutil.disk_usage(bench.directory).free < number * RECORD:
        raise Missing(f"{number} records have no room on this disk")
    settings = {"cache.disk.path": disk, "cache.disk.capacity": "200GiB", "cache.memory": "64MiB"}
    plan = {**media("object-{n}.1000.jpg"), "status": 200, "connections": 32, "seconds": 7200}
    bench.client.measure(
        bench.gateway(**settings), **{**plan, "first": bench.laid, "objects": number - bench.laid}, in_order=True,
        count=number - bench.laid,
    )
    bench.laid = number
    lies = stays(disk)
    begun = time.monotonic()
    server = bench.gateway(**settings)
    ready = time.monotonic() - begun
    bench.rest()
    memory = server.memory()
    again = bench.client.measure(server, **{**plan, "objects": number, "seconds": bench.seconds})
    return {
        "started again in, s": ready, "memory then, MB": memory, "any of them then, µs": again.per_request,
        "on disk, MB": lies / 1e6,
    }


def index(bench: Bench, number: int) -> dict[str, float]:
    """Started over the index of so many objects and none of their bytes, which ten million would need 80 GB for."""
    disk = bench.directory / "index"
    shutil.rmtree(disk, ignore_errors=True)
    subprocess.run([bench.programs / "disk-cache", "--lay", disk, str(number)], check=True)
    server = bench.gateway(**{"cache.disk.path": disk, "cache.disk.capacity": "200GiB", "cache.memory": "64MiB"})
    records, seconds = opened(bench)
    if records != number:
        raise Failed(f"{records} of {number} records were found")
    bench.rest()
    return {
        "index read in, s": seconds, "memory then, MB": server.memory(),
        "the index on disk, MB": stays(disk) / 1e6,
    }


def opened(bench: Bench) -> tuple[int, float]:
    """How many records the last Lockgate found on its disk, and how long it looked for them, as its log says."""
    for _ in range(600):
        for line in bench.log().read_text().splitlines():
            said = json.loads(line)["fields"] if line.startswith("{") else {}
            if "records" in said:
                number, unit = re.fullmatch(r"([\d.]+)(\D+)", said["elapsed"]).groups()
                return said["records"], float(number) * {"s": 1, "ms": 1e-3, "µs": 1e-6}[unit]
        time.sleep(0.1)
    raise Failed("the disk cache was not opened")


def stays(disk: Path) -> int:
    """Bytes of the files below, once they are no longer written to."""
    last = -1
    for _ in range(120):
        now = sum(path.stat().st_blocks * 512 for path in disk.rglob("*") if path.is_file())
        if now == last:
            break
        last = now
        time.sleep(1)
    if not now:
        raise Missing("this Lockgate has no disk cache")
    return now


def connections(bench: Bench, number: int) -> dict[str, float]:
    server = bench.gateway()
    image = media("image.100000.jpg", status=200)
    bench.client.measure(server, connections=16, **image, seconds=bench.seconds)
    before, kernel = server.memory(), tcp_memory()
    with bench.client.loading(server, connections=number, **image, count=number) as idle:
        # Each has asked once, and is kept alive.
        idle.go()
        # And has come to rest: within seconds a connection gives back what it needs between two requests only.
        bench.rest()
        held = server.memory()
        asked = bench.client.measure(server, connections=16, **image, seconds=bench.seconds)
        kernel = tcp_memory() - kernel
    return {
        "image of 100 KB meanwhile, µs": asked.per_request, "memory beyond none, MB": held - before,
        "kernel's TCP memory, MB": kernel,
    }


def slow_readers(bench: Bench, number: int) -> dict[str, float]:
    server = bench.gateway(**{"cache.memory": "512MiB"})
    video = media(f"video.{256 * MIB}.mp4", range=8 * MIB)
    bench.client.measure(server, connections=4, **video, in_order=True, count=32)
    before, kernel = server.memory(), tcp_memory()
    most = [before, kernel]

    def watch():
        most[:] = map(max, most, (server.memory(), tcp_memory()))

    seconds = 1 if bench.length == "quick" else 8
    done = bench.client.measure(
        server, watch, connections=number, **video, seconds=seconds, rate=1e6, receive_buffer=128 << 10,
    )
    return {
        "ranges at 1 MB/s each, s/GB": done.per_gb, "of the asked rate, %": 100 * done.client["bytes"] / (number * MB * seconds),
        "memory beyond none, MB": most[0] - before, "kernel's TCP memory, MB": most[1] - kernel,
    }


def annotators(bench: Bench, number: int) -> dict[str, float]:
    server = bench.gateway(annotators=number)
    image = media("image.1000.jpg", status=200)
    # Each token in turn: once, and then on and on.
    first = bench.client.measure(server, connections=32, **image, count=max(number, 1000), seconds=600)
    again = bench.client.measure(server, connections=32, **image, seconds=bench.seconds * 2)
    return {
        "first request of each, µs": first.per_request, "request of 1 KB, each in turn, µs": again.per_request,
        "memory, MB": again.memory,
    }


@dataclass(frozen=True)
class Row:
    """What is varied, and its points by the length of the run."""

    against: str
    run: Callable[[Bench, int], dict[str, float]]
    points: dict[str, list[int]]
    told: Callable[[int], str]
    one: str = "each"  # what memory is told for one more of


def decimal(size: int) -> str:
    for unit, name in ((GB, "GB"), (MB, "MB"), (KB, "KB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return binary(size)


def binary(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"


def points(quick: list[int], usual: list[int], full: list[int] | None = None) -> dict[str, list[int]]:
    return {"quick": quick, "usual": usual, "full": full or usual}


ROWS = {
    "size": Row("size of an object", object_size, points(
        [100 * KB, 20 * MB], [100 * KB, MB, 10 * MB, 100 * MB, GB, 5 << 30]), decimal, "a byte"),
    "cache": Row("size of the cache", cache_size, points([32 * MIB, 64 * MIB], [64 * MIB, 256 * MIB, 1 << 30, 2 << 30]), binary,
                 "a byte"),
    "objects": Row("distinct objects of 1 KB, asked for one after another", objects, points(
        [500, 1000], [10**3, 10**4, 10**5, 3 * 10**5, 10**6], [10**3, 10**4, 10**5, 10**6, 3 * 10**6, 10**7]), "{:,}".format),
    "disk": Row("distinct objects of 1 KB on disk", on_disk, points(
        [500, 1000], [10_000, 100_000, 300_000], [10**5, 10**6, 10**7]), "{:,}".format),
    "index": Row("objects in the index of the disk cache", index, points(
        [1000, 2000], [10**5, 10**6, 3 * 10**6, 10**7]), "{:,}".format),
    "connections": Row("idle connections", connections, points([10, 50], [10, 1000, 3000, 10_000]), "{:,}".format),
    "slow": Row("readers at 1 MB/s", slow_readers, points([5, 20], [100, 300, 1000]), "{:,}".format),
    "annotators": Row("annotators, each with a token, all members", annotators, points(
        [10, 1000], [10, 1000, 10_000, 100_000]), "{:,}".format),
}
