"""The loads, as rows of the table: which servers take part, what is asked, and what comes out of a round."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from load import tcp_memory
from processes import Failed
from servers import DISK, HYPER, LOCKGATE, LUA, OPEN, PASSED, STATIC, STORAGE, Stand

MIB = 1 << 20
WINDOW = 8 * MIB
GB = 1e9
# As an object store in the same region: first byte, and bytes a second of one stream.
DELAY_MS, RATE = 20, 200e6


@dataclass(frozen=True)
class Length:
    """How much is done."""

    rounds: int
    seconds: float
    video: str
    image: str
    images: int
    windows: int  # cold ones in a round
    stampede: int  # clients
    seeks: int
    slow: int  # clients
    slow_seconds: float
    compare: bool  # bodies in every round, and not only while warming up


def whole(rounds: int) -> Length:
    return Length(rounds, 2, f"video.{512 * MIB}.mp4", "image-{n}.100000.jpg", 2000, 64, 50, 60, 1000, 10, False)


QUICK = Length(1, 0.3, f"video.{40 * MIB}.mp4", "image-{n}.100000.jpg", 50, 4, 10, 6, 20, 1, True)


@dataclass(frozen=True)
class Work:
    """A row, or several: `run` gives their values for one round."""

    columns: tuple[str, ...]
    rows: dict[str, str]  # title, unit
    run: Callable
    tls: bool = False


def warm_up(stand: Stand, length: Length, works) -> None:
    """Everything is read twice by every server, and each byte compared."""
    columns = {(column, WORKS[name].tls) for name in works for column in WORKS[name].columns if set(WORKS[name].columns) <= set(WARM)}
    for server in filter(None, map(stand.servers.get, sorted(columns))):
        for compare in (True, False):
            videos = {**video(server, length), "in_order": True}
            stand.client.measure(server, connections=4, **videos, count=int(length.video.split(".")[1]) // WINDOW, compare=compare)
            images = {**pictures(server, length), "in_order": True}
            stand.client.measure(server, connections=16, **images, count=length.images, compare=compare)


def check(stand: Stand, length: Length) -> None:
    """Who says that it checks refuses a forged token, and a stranger's that is well signed."""
    for column in (LUA, LOCKGATE):
        server = stand.servers.get((column, False))
        for status, tokens in stand.refused.items() if server else ():
            asked = {**pictures(server, length), "status": status, "tokens": str(tokens)}
            stand.client.measure(server, connections=1, **asked, count=1)


def measure(stand: Stand, length: Length, works: list[str], say) -> dict:
    """Interleaved: each round takes the servers in another order. {row: {"unit": …, column: [value, …]}}"""
    for name in stand.missing:
        say(f"left out: {name}")
    say("warming up, and comparing every byte")
    warm_up(stand, length, works)
    check(stand, length)
    rows: dict[str, dict] = {}
    for name in works:
        work, begun = WORKS[name], time.monotonic()
        for turn in range(1 if name == "w6" else length.rounds):
            columns = [column for column in work.columns if (column, work.tls) in stand.servers]
            random.Random(turn).shuffle(columns)
            for column in columns:
                try:
                    values = work.run(stand, stand.servers[column, work.tls], length, turn)
                except Failed as failed:
                    # The others' rounds are worth having; the command says that it failed all the same.
                    say(f"{name}: {failed}")
                    stand.failures.append(f"{column}, {name}: a round failed")
                    stand.set_storage(delay_ms=0, rate=0)
                    continue
                for (title, unit), value in zip(work.rows.items(), values):
                    if value is not None:
                        rows.setdefault(title, {"unit": unit, "values": {}})["values"].setdefault(column, []).append(value)
        say(f"{name}: {time.monotonic() - begun:.0f} s")
    return rows


def object_of(server, name: str) -> dict:
    return {"object": f"s3://media/{name}" if server.base64 else name, "objects": 1}


def video(server, length: Length) -> dict:
    return {**object_of(server, length.video), "range": WINDOW, "status": 206}


def pictures(server, length: Length) -> dict:
    return {**object_of(server, length.image), "objects": length.images, "status": 200}


def cold(server, stand: Stand, size: int) -> dict:
    """An object that nobody has asked for yet."""
    of = object_of(server, f"cold-{stand.fresh()}.{size}.mp4")
    return {**of, "route": server.route.replace("/warm/", "/cold/"), "status": 206, "range": WINDOW}


def ranges(stand, server, length, turn):
    asked = video(server, length)
    done = stand.client.measure(server, connections=8, **asked, seconds=length.seconds, seed=turn + 1, compare=length.compare)
    return [done.per_gb]


def images(stand, server, length, turn):
    asked = pictures(server, length)
    done = stand.client.measure(server, connections=64, **asked, seconds=length.seconds, seed=turn + 1, compare=length.compare)
    return [done.per_request]


def conditional(stand, server, length, turn):
    # Every entity tag is learned first, which takes longer than asking; a quarter of the images is enough for that.
    asked = {**pictures(server, length), "objects": max(1, length.images // 4), "if_none_match": True, "status": 304}
    return [stand.client.measure(server, connections=64, **asked, seconds=length.seconds, seed=turn + 1).per_request]


def cold_windows(stand, server, length, _turn):
    asked = {**cold(server, stand, length.windows * WINDOW), "in_order": True, "count": length.windows}
    quiet(stand)
    return [stand.client.measure(server, connections=8, **asked, compare=length.compare).per_gb]


def cold_first_bytes(stand, server, length, _turn):
    asked = {**cold(server, stand, length.windows * WINDOW), "in_order": True, "count": length.windows}
    with_delay(stand)
    done = stand.client.measure(server, connections=8, **asked).client
    stand.set_storage(delay_ms=0, rate=0)
    return [done["first_byte_ms"]["p50"], done["first_byte_ms"]["p99"]]


def stampede(stand, server, length, _turn):
    asked = {**cold(server, stand, WINDOW), "in_order": True, "count": length.stampede}
    before = with_delay(stand)
    done = stand.client.measure(server, connections=length.stampede, **asked, compare=length.compare).client
    after = stand.set_storage(delay_ms=0, rate=0)
    asked_for = after["requests"] - before["requests"]
    own = server.name == STORAGE
    return [None if own else asked_for, done["first_byte_ms"]["p50"], done["first_byte_ms"]["p99"]]


def seeks(stand, server, length, turn):
    asked = {**cold(server, stand, 512 * MIB), "open": True, "align": MIB, "drop_after": MIB // 2, "seed": turn + 7}
    before = with_delay(stand)
    done = stand.client.measure(server, connections=8, **asked, count=length.seeks).client
    # What goes on after the client has left counts as well.
    pulled = (quiet(stand)["bytes"] - before["bytes"]) / done["bytes"]
    stand.set_storage(delay_ms=0, rate=0)
    return [done["first_byte_ms"]["p50"], done["first_byte_ms"]["p99"], pulled]


def slow(stand, server, length, _turn):
    before, kernel = server.memory(), tcp_memory()
    most = [before, kernel]

    def watch():
        most[:] = map(max, most, (server.memory(), tcp_memory()))

    asked = video(server, length)
    done = stand.client.measure(
        server, watch, connections=length.slow, **asked, seconds=length.slow_seconds, rate=1e6, receive_buffer=128 << 10,
    )
    served = done.client["bytes"] / (length.slow * 1e6 * length.slow_seconds)
    return [(most[0] - before) * 1e3 / length.slow, most[1] - kernel, done.per_gb, 100 * served]


def with_delay(stand: Stand) -> dict:
    quiet(stand)
    return stand.set_storage(delay_ms=DELAY_MS, rate=RATE)


def quiet(stand: Stand) -> dict:
    """Waits until nothing is fetched any more, 15 s at most; what storage was asked for."""
    last = stand.set_storage()
    for _ in range(30):
        time.sleep(0.5)
        now = stand.set_storage()
        if now == last:
            break
        last = now
    return now


WARM = (STATIC, OPEN, LUA, HYPER, LOCKGATE)
COLD = (LUA, PASSED, LOCKGATE, DISK)
WORKS = {
    "w1": Work(WARM, {"W1 warm ranges of 8 MiB": "s/GB"}, ranges),
    "w2": Work(WARM, {"W2 warm images of 100 KB": "µs"}, images),
    "w5": Work(WARM, {"W5 conditional requests, 304": "µs"}, conditional),
    "w1t": Work(WARM, {"W1 over TLS 1.3": "s/GB"}, ranges, tls=True),
    "w2t": Work(WARM, {"W2 over TLS 1.3": "µs"}, images, tls=True),
    "w6": Work((STATIC, LUA, HYPER, LOCKGATE), {
        "W6 slow clients: memory of each": "KB", "W6 kernel's TCP memory, all": "MB", "W6 CPU": "s/GB",
        "W6 of the asked rate": "%",
    }, slow),
    "w3": Work(COLD, {"W3 cold windows of 8 MiB": "s/GB"}, cold_windows),
    "w3f": Work((STORAGE, *COLD), {
        "W3 first byte, storage of 20 ms, p50": "ms", "W3 first byte, p99": "ms",
    }, cold_first_bytes),
    "w3s": Work((STORAGE, *COLD), {
        "W3s stampede on a cold window: storage requests": "", "W3s first byte, p50": "ms", "W3s first byte, p99": "ms",
    }, stampede),
    "w4": Work((STORAGE, *COLD), {
        "W4 seek, 512 KiB read: first byte, p50": "ms", "W4 first byte, p99": "ms", "W4 bytes pulled for a byte delivered": "",
    }, seeks),
}
