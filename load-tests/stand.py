"""Starts storage and Lockgate, runs the scripts one after another, and says which of them held. See `run`."""

import argparse
import array
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from control import Control
from garage import ID, REGION, SECRET, Garage
from gateway import Gateway, media_path
from processes import Failed, Servers

HERE = Path(__file__).parent
SCRIPTS = ("range-streaming", "seek", "gallery", "redirect", "revocation")
BUCKET = "load.media"  # with a dot, as many have
ANNA = "anna@example.com"
IMAGES = 60
IMAGE_SIZE = 100_000
# Not a multiple of a window, so that there is a last range that is shorter.
VIDEO_SIZE = (24 << 20) + 4_321
STORAGE = """
[[storage]]
id = "{id}"
kind = "s3"
bucket = "{bucket}"
prefix = "{id}/"
region = "{region}"
endpoint = "{endpoint}"
access_key_id = "{key}"
secret_access_key = {{ file = "{secret}" }}
delivery = "{delivery}"
"""


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    begun = time.monotonic()
    options.target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="load-", dir=options.target) as made:
        directory = Path(made)
        servers = Servers(directory)
        try:
            environment = start(options, directory, servers)
            broken = [script for script in options.scripts if not run(options.k6, script, environment)]
        except Failed as failed:
            print(f"load-tests/run: {failed}", file=sys.stderr)
            return 1
        finally:
            servers.stop()
    print(f"load-tests/run: {time.monotonic() - begun:.0f} s; broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load-tests/run", epilog="What scripts read is taken from the environment.")
    parser.add_argument("scripts", nargs="*", default=SCRIPTS, metavar="SCRIPT", help=f"of {', '.join(SCRIPTS)}")
    for hidden in ("--k6", "--garage", "--lockgate", "--target"):
        parser.add_argument(hidden, type=Path, required=True, help=argparse.SUPPRESS)
    return parser.parse_args()


def start(options: argparse.Namespace, directory: Path, servers: Servers) -> dict:
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(directory)}
    print("load-tests/run: Garage, with media", flush=True)
    garage = Garage(options.garage, directory / "garage", servers, environment)
    images = [f"proxied/image-{number:03}.jpg" for number in range(IMAGES)]
    fill(garage.client(), images)
    (directory / "storage.secret").write_text(SECRET)
    print("load-tests/run: Lockgate", flush=True)
    storages = "".join(
        STORAGE.format(id=id, bucket=BUCKET, region=REGION, endpoint=garage.endpoint, key=ID,
                       secret=directory / "storage.secret", delivery=delivery)
        for id, delivery in (("proxied", "proxy"), ("redirected", "redirect"))
    )
    permitted, revoked = (access_list(images, members) for members in ([ANNA], []))
    gateway = Gateway(options.lockgate, directory / "lockgate", servers, storages, permitted)
    control = Control(lambda allow: gateway.replace_access_list(permitted if allow else revoked))
    path = lambda key: media_path("/tasks/1", f"s3://{BUCKET}/{key}")
    shown = directory / "images.txt"
    shown.write_text("".join(f"{path(key)}\n" for key in images))
    return {
        **environment, "BASE_URL": gateway.base, "TOKEN": gateway.token(ANNA), "CONTROL_URL": control.url,
        "VIDEO": path("proxied/video.mp4"), "IMAGE": path(images[0]), "IMAGES": str(shown),
        "REDIRECTED": path("redirected/video.mp4"), "OFFSETS": "true",
        **{name: os.environ[name] for name in ("DURATION", "PHASE", "PLAYERS", "P95_MS", "BOUND_MS") if name in os.environ},
    }


def fill(client, images: list[str]) -> None:
    """Each aligned eight bytes are their own offset (big-endian), so that a script sees which bytes it got."""
    offsets = array.array("Q", range(0, VIDEO_SIZE + 8, 8))
    offsets.byteswap()
    video = offsets.tobytes()[:VIDEO_SIZE]
    client.create_bucket(Bucket=BUCKET)
    for key in ("proxied/video.mp4", "redirected/video.mp4"):
        client.put_object(Bucket=BUCKET, Key=key, Body=video, ContentType="video/mp4")
    for key in images:
        client.put_object(Bucket=BUCKET, Key=key, Body=video[:IMAGE_SIZE], ContentType="image/jpeg")


def access_list(images: list[str], members: list[str]) -> str:
    media = [f"s3://{BUCKET}/{key}" for key in ("proxied/video.mp4", "redirected/video.mp4", *images)]
    return (
        f'[[project]]\nid = "1"\nstorages = ["proxied", "redirected"]\nmembers = {members}\n'
        f'[[project.task]]\nid = "1"\nmedia = {media}\n'
    )


def run(k6: Path, script: str, environment: dict) -> bool:
    """One script. Its own server, on a port that could be taken, is not wanted."""
    command = [k6, "run", "--quiet", "--no-usage-report", "--address", "", HERE / f"{script}.js"]
    print(f"\n== {script}", flush=True)
    return subprocess.run(command, env=environment).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
