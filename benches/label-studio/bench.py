"""Starts Label Studio, storage and Lockgate, puts the same loads on both in turn, and prints medians as Markdown.

See `run`, which starts this.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import seed
from origin import Origin
from processes import Failed, Servers, answers
from run import addresses
from studio import LabelStudio

import rows
import table



def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    directory = Path(tempfile.mkdtemp(prefix="bench-", dir=options.target))
    servers = Servers(directory)
    try:
        stand = start(options, directory, servers)
        length = rows.QUICK if options.quick else replace(rows.WHOLE, rounds=options.rounds)
        measured = rows.measure(stand, length, say)
        print(table.whole(measured, stand))
    except Failed as failed:
        print(f"benches/label-studio: {failed}", file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        servers.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/label-studio/run")
    parser.add_argument("--quick", action="store_true", help="one short round: shows that it works, measures little")
    parser.add_argument("--rounds", type=int, default=rows.WHOLE.rounds, help="how many (default: %(default)s)")
    parser.add_argument("--lockgate", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.target.mkdir(parents=True, exist_ok=True)
    return options


def start(options: argparse.Namespace, directory: Path, servers: Servers) -> rows.Stand:
    studio = LabelStudio(options.target, directory / "label-studio", directory)
    say("Label Studio's database")
    users = studio.prepare()
    say("nginx as storage, and Label Studio")
    origin = Origin(directory / "origin", servers)
    label_studio = studio.start(servers)
    tokens = [users[name]["token"] for name in ("anna", "admin", "removed", "reset", "leaving")]
    say("projects and tasks")
    api = seed.Api(studio.base, users["admin"]["token"])
    streamed, signed = (fill(api, origin, presign) for presign in (False, True))
    say("Lockgate")
    cached, cached_at = lockgate(options, directory, servers, studio.base, "lockgate", {})
    # What bytes cost without what a decision costs: no bytes are kept, and decisions for longer than a load lasts.
    without = {"LOCKGATE__CACHE__MEMORY": "0B", "LOCKGATE__ACCESS__MAX_AGE": "60s"}
    bare, bare_at = lockgate(options, directory, servers, studio.base, "lockgate-without-cache", without)
    sides = {
        rows.LABEL_STUDIO: rows.Side(studio.base, streamed, {"label-studio": label_studio.pid}, False),
        rows.LOCKGATE: rows.Side(cached_at, signed, {"lockgate": cached.pid, "label-studio": label_studio.pid}),
        rows.WITHOUT_CACHE: rows.Side(bare_at, signed, {"lockgate": bare.pid, "label-studio": label_studio.pid}),
    }
    return rows.Stand(sides, tokens, origin, directory, table.versions(studio.version, options.lockgate))


def fill(api: seed.Api, origin: Origin, presign: bool) -> dict[str, list[int]]:
    """A project of every kind of load; its tasks. Without presigned URLs Label Studio's own proxy streams."""
    project = api.project("Signed" if presign else "Streamed", seed.EVERYTHING)
    api.s3_storage(project, origin, seed.PREFIX, presign)
    data = [
        [rows.video(number) for number in range(rows.VIDEOS)],
        [rows.image(number) for number in range(rows.ALBUM)],
        [rows.image(100 + number) for number in range(rows.GALLERY)],
        *([rows.image(1000 + number)] for number in range(rows.THUMBNAILS + rows.LOOKS)),
    ]
    tasks = []
    for begin in range(0, len(data), 250):  # Label Studio refuses an import that is too large
        body = [{"title": "Media", "media": media} for media in data[begin:begin + 250]]
        path = f"/api/projects/{project}/import?return_task_ids=true"
        tasks += api.call("POST", path, body)["task_ids"]
    rest = tasks[3:]
    return {
        "video": tasks[:1], "album": tasks[1:2], "gallery": tasks[2:3],
        "thumbnails": rest[:rows.THUMBNAILS], "looks": rest[rows.THUMBNAILS:],
    }


def lockgate(options, directory: Path, servers: Servers, upstream: str, name: str, more: dict):
    """One flag, as an operator starts it; the access log goes to a file."""
    home = directory / f"{name}-home"
    home.mkdir()
    environment = {
        "PATH": os.environ.get("PATH", ""), "LOCKGATE__SERVER__ADMIN_LISTEN": "127.0.0.1:0",
        "LOCKGATE__LOG__ACCESS": str(home / "access.log"), **more,
    }
    command = [options.lockgate, "serve", "--label-studio", upstream, "--listen", "127.0.0.1:0"]
    process = servers.start(name, command, environment, home)
    log = directory / f"{name}.log"
    servers.wait_for(name, lambda: addresses(log) is not None)
    listen, admin = addresses(log)
    servers.wait_for(name, lambda: answers(f"http://{admin}/readyz", 200))
    return process, f"http://{listen}"


def say(what: str) -> None:
    print(f"benches/label-studio: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
