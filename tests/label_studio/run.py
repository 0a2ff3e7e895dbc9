"""Starts Garage, Label Studio and Lockgate, fills them, and keeps them until it is told to end.

Everything lies in a directory of its own, which goes with it; no port is fixed. See `tests/label-studio`, which starts this.
"""

import argparse
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import media
import seed
from garage import Garage
from processes import Failed, Servers, answers
from studio import LabelStudio

MAX_AGE = 2  # seconds; `access.max_age` in the tests, so that they need not wait for long


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=options.target))
    servers = Servers(directory)
    try:
        instance = start(options, directory, servers)
        (say_json if options.json else say)(instance)
        wait(servers, options.json)
    except Failed as failed:
        print(f"tests/label-studio: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        servers.stop()
        keep_logs(directory, options.target / "logs")
        shutil.rmtree(directory, ignore_errors=True)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/label-studio")
    parser.add_argument("--json", action="store_true", help="say everything as one JSON line; end with standard input")
    parser.add_argument("--direct", action="store_true", help="without Lockgate")
    parser.add_argument("--listen", default="127.0.0.1:0", help="Lockgate's address (default: a free port of 127.0.0.1)")
    parser.add_argument("--garage", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--lockgate", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--target", type=Path, required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.target.mkdir(parents=True, exist_ok=True)
    return options


def start(options: argparse.Namespace, directory: Path, servers: Servers) -> dict:
    files = media.make(options.target / "media")
    local_root = directory / "files"
    (local_root / "shared").mkdir(parents=True)
    shutil.copy(files["small.png"], local_root / "shared" / "small.png")
    (local_root / "private.png").write_bytes(files["other.png"].read_bytes())
    environment = {"PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8"}

    studio = LabelStudio(options.target, directory / "label-studio", local_root)
    say_step(options, "Label Studio's database" + ("" if studio.is_prepared() else ", for the first time"))
    users = studio.prepare()
    say_step(options, "Garage, an S3 server")
    garage = Garage(options.garage, directory / "garage", servers, environment)
    say_step(options, f"Label Studio {studio.version}")
    studio.start(servers)
    say_step(options, "projects and media")
    seeded = seed.fill(studio.base, users["admin"]["token"], garage, files, local_root, not options.direct)
    instance = {
        "label_studio": studio.base, "lockgate": studio.base, "garage": garage.endpoint, "admin": None,
        "directory": str(directory), "media": str(options.target / "media"), "access_log": None,
        "max_age": MAX_AGE, "users": users, **seeded,
    }
    if not options.direct:
        say_step(options, "Lockgate")
        instance.update(start_lockgate(options, directory, servers, studio.base, local_root))
    return instance


def start_lockgate(options, directory: Path, servers: Servers, upstream: str, local_root: Path) -> dict:
    """One flag makes it a front of Label Studio; the rest is the environment, as an operator would set it."""
    home = directory / "lockgate"
    home.mkdir()
    environment = {
        "PATH": os.environ.get("PATH", ""), "LOCKGATE_LOG": "info",
        "LOCKGATE__SERVER__ADMIN_LISTEN": "127.0.0.1:0", "LOCKGATE__LOG__ACCESS": str(home / "access.log"),
        "RESOLVER_PROXY_MAX_RANGE_SIZE": str(media.WINDOW),
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(local_root),
    }
    if options.json:
        environment["LOCKGATE__ACCESS__MAX_AGE"] = f"{MAX_AGE}s"
    command = [options.lockgate, "serve", "--label-studio", upstream, "--listen", options.listen]
    servers.start("lockgate", command, environment, home)
    log = directory / "lockgate.log"
    servers.wait_for("lockgate", lambda: addresses(log) is not None)
    listen, admin = addresses(log)
    servers.wait_for("lockgate", lambda: answers(f"http://{admin}/readyz", 200))
    return {"lockgate": f"http://{listen}", "admin": f"http://{admin}", "access_log": str(home / "access.log")}


def addresses(log: Path) -> tuple[str, str] | None:
    """Where Lockgate listens, as its log says once it does: the system chose the ports."""
    for line in log.read_text(errors="replace").splitlines():
        if "lockgate serves" in line and line.endswith("}"):
            said = json.loads(line)
            said = {**said, **said.get("fields", {})}
            return said["listen"], said["admin"]
    return None


def keep_logs(directory: Path, logs: Path) -> None:
    """What the servers of the last run said, for whoever wonders why it failed."""
    logs.mkdir(exist_ok=True)
    for log in [*directory.glob("*.log"), *directory.glob("lockgate/*.log")]:
        shutil.copy(log, logs / log.name)


def say_step(options: argparse.Namespace, what: str) -> None:
    print(f"tests/label-studio: {what}", file=sys.stderr if options.json else sys.stdout, flush=True)


def say_json(instance: dict) -> None:
    print(json.dumps(instance), flush=True)


def say(instance: dict) -> None:
    user = instance["users"]["anna"]
    print(
        f"\n  Open   {instance['lockgate']}/projects/\n  Login  {user['email']}\n"
        f"  Password  {user['password']}\n\n"
        f"  Label Studio itself: {instance['label_studio']}   (administrator: {instance['users']['admin']['email']})\n"
        f"  Logs: {instance['directory']}\n\n  Ctrl-C ends everything.",
        flush=True,
    )


def wait(servers: Servers, until_standard_input_ends: bool) -> None:
    """Until a signal, the end of standard input where that is asked for, or the end of a server, which is a failure."""
    while True:
        if (ended := servers.ended()) is not None:
            raise Failed(f"{ended} ended:\n{servers.last_words(ended)}")
        if not until_standard_input_ends:
            time.sleep(0.5)
        elif select.select([sys.stdin], [], [], 0.5)[0] and not os.read(sys.stdin.fileno(), 1024):
            return


if __name__ == "__main__":
    sys.exit(main())
