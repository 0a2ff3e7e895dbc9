"""The loads, and the order in which they are put on both sides: round by round, one side after the other."""

import base64
import http.client
import statistics
import time
import urllib.parse
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from load import Seen, Target, load
from origin import MIB, VIDEO_SIZE, Origin
from processes import Failed

import seed

LABEL_STUDIO, LOCKGATE, WITHOUT_CACHE = "Label Studio", "Lockgate", "Lockgate without a cache"
ALBUM = 4  # images of the task of several
THUMBNAILS = 64  # tasks of one image, as a page of the data manager shows them
GALLERY = 640  # images of a task of many: for each of wrk's threads more than the 256 that Lockgate keeps joinable
LOOKS = 1500  # tasks that nobody has opened yet
VIDEOS = 500  # names in the task of videos
WINDOW = 8 * MIB
WINDOWS = VIDEO_SIZE // WINDOW


def image(number: int) -> str:
    return f"s3://{seed.BUCKET}/{seed.PREFIX}/image-{number}.png"


def video(number: int) -> str:
    return f"s3://{seed.BUCKET}/{seed.PREFIX}/video-{number}.mp4"


@dataclass
class Side:
    """A server, the tasks that its loads name, and the processes whose CPU they cost."""

    base: str
    tasks: dict[str, list[int]]
    roots: dict[str, int]
    is_lockgate: bool = True
    used: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def fresh(self, kind: str, count: int, of: int) -> range:
        """Numbers that no load has had yet."""
        begin = self.used[kind]
        self.used[kind] += count
        if begin + count > of:
            raise Failed(f"there are too few {kind} for so many rounds")
        return range(begin, begin + count)


@dataclass
class Stand:
    """Everything that runs."""

    sides: dict[str, Side]
    tokens: list[str]
    origin: Origin
    directory: Path
    versions: list[str]


@dataclass
class Length:
    """How long it is measured: rounds, seconds of a load that is warm, and of one that is cold."""

    rounds: int
    warm: int
    cold: int


# A warm load lasts longer than `access.max_age` (5 s), so that Label Studio is asked again within each.
WHOLE = Length(5, 6, 3)
QUICK = Length(1, 3, 3)


@dataclass
class Row:
    """A load: what it asks, by how many connections, and between which sizes its answers must be."""

    name: str
    targets: Callable[[Side], list[Target]]
    connections: int
    sizes: tuple[int, int]
    gateway: str = LOCKGATE
    warm: bool = True
    conditional: bool = False


@dataclass
class Measured:
    """The medians' material: by row and side every round; the first look and the second in seconds."""

    loads: dict[str, dict[str, list[Seen]]]
    looks: dict[str, list[float]]


def target(task: int, uri: str, headers: dict | None = None) -> Target:
    encoded = urllib.parse.quote(base64.urlsafe_b64encode(uri.encode()).decode())
    return Target(f"/tasks/{task}/resolve/?fileuri={encoded}", headers or {})


def windows(side: Side, numbers) -> list[Target]:
    return [
        target(side.tasks["video"][0], video(number), {"Range": f"bytes={at * WINDOW}-{(at + 1) * WINDOW - 1}"})
        for number in numbers for at in range(WINDOWS)
    ]


def unseen_windows(side: Side) -> list[Target]:
    return windows(side, [1 + number for number in side.fresh("videos", 60, VIDEOS - 1)])


def album(side: Side) -> list[Target]:
    return [target(side.tasks["album"][0], image(number)) for number in range(ALBUM)]


def gallery(side: Side) -> list[Target]:
    return [target(side.tasks["gallery"][0], image(100 + number)) for number in range(GALLERY)]


def thumbnails(side: Side) -> list[Target]:
    return [target(task, image(1000 + number)) for number, task in enumerate(side.tasks["thumbnails"])]


def looks(side: Side, count: int) -> list[Target]:
    first = 1000 + len(side.tasks["thumbnails"])
    tasks = side.tasks["looks"]
    return [target(tasks[number], image(first + number)) for number in side.fresh("tasks", count, len(tasks))]


IMAGE = (99_000, 110_000)
RANGE = (WINDOW - 1, WINDOW * 2)  # wrk counts what it has read of the last ones, too
ROWS = [
    Row("image of 100 KB, warm", album, 16, IMAGE),
    Row(f"image of 100 KB, warm, {THUMBNAILS} tasks in turn", thumbnails, 16, IMAGE),
    Row("image of 100 KB, cold, the decision remembered", gallery, 16, IMAGE, gateway=WITHOUT_CACHE),
    Row("image of 100 KB, cold: a task nobody has opened", lambda side: looks(side, 270), 16, IMAGE, warm=False),
    Row("304 for an image", album, 16, (100, 2000), conditional=True),
    Row("ranges of 8 MiB, warm", lambda side: windows(side, [0]), 8, RANGE),
    Row("ranges of 8 MiB, cold", unseen_windows, 8, RANGE, warm=False),
]


def measure(stand: Stand, length: Length, say: Callable[[str], None]) -> Measured:
    measured = Measured({row.name: defaultdict(list) for row in ROWS}, defaultdict(list))
    for number in range(length.rounds):
        say(f"round {number + 1} of {length.rounds}")
        look(stand, measured)
        for row in ROWS:
            for name in (LABEL_STUDIO, row.gateway):
                seen = once(stand, row, stand.sides[name], length)
                measured.loads[row.name][name].append(seen)
                say(f"  {row.name}, {name}: {seen.rate:.0f}/s, CPU {seen.cpu}, wrk {seen.client_cpu:.1f} s")
    return measured


def once(stand: Stand, row: Row, side: Side, length: Length) -> Seen:
    """One load, which fails where it was not answered as it has to be."""
    targets = row.targets(side)
    token = stand.tokens[0]
    if row.warm:
        # Label Studio keeps nothing that could be warm, but for its connection to storage.
        for one in targets if side.is_lockgate or row.conditional else targets[:4]:
            tag = ask(side, token, one)
            if row.conditional:
                one.headers["If-None-Match"] = tag
    seconds = length.warm if row.warm else length.cold
    seen = load(side.base, token, targets, row.connections, seconds, side.roots, stand.origin, stand.directory)
    least, most = row.sizes
    if side.is_lockgate and seen.closed:
        raise Failed(f"{row.name}, {side.base}: connections broke: {seen}")
    if seen.errors or not seen.requests or not least <= seen.bytes / seen.requests <= most:
        raise Failed(f"{row.name}, {side.base}: not what was asked for: {seen}")
    if side.is_lockgate and not row.warm and seen.requests + row.connections > len(targets):
        raise Failed(f"{row.name}: {seen.requests} answers, and only {len(targets)} that are cold")
    return seen


def ask(side: Side, token: str, one: Target) -> str:
    """A request by itself, read to its end; its entity tag."""
    connection = http.client.HTTPConnection(side.base.removeprefix("http://"), timeout=120)
    try:
        connection.request("GET", one.path, headers={"Authorization": f"Token {token}", **one.headers})
        answer = connection.getresponse()
        answer.read()
        if answer.status not in (200, 206):
            raise Failed(f"{one.path}: {answer.status}")
        return answer.headers["ETag"]
    finally:
        connection.close()


def look(stand: Stand, measured: Measured) -> None:
    """The first image of a task that nobody has opened, by people of whom nothing is remembered; and the same again."""
    for token in stand.tokens:
        for name in (LABEL_STUDIO, LOCKGATE):
            side = stand.sides[name]
            [one] = looks(side, 1)
            for which in ("first", "again"):
                begin = time.perf_counter()
                ask(side, token, one)
                measured.looks[f"{name}, {which}"].append(time.perf_counter() - begin)


def median(values) -> float:
    return statistics.median(values)
