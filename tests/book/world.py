"""Where one page's blocks run: a directory, ports of its own, an S3 server if the page wants one.

The pages name the ports that a person would see (8080, 9090, …) and programs by their plain names. Here each port is
exchanged for a free one, and small programs stand before the true ones in PATH:

- `lockgate serve` and `lockgate demo` return as soon as they are ready, so that the next line can ask them
- `cargo install` and `cargo build` check the path and take the program that is built already; `cargo run` runs it
- `git clone` clones this repository, whatever the URL
- `curl` fails where the answer is a failure (with `-i`, which shows it, it does not), and waits for a server that is starting
- YOUR_KEY_ID and YOUR_SECRET_KEY are those of the page's S3 server
- `node FILE.ts` runs what the compiler made of it: Node runs TypeScript by itself from 22.18 on
"""

import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/label_studio"))

from processes import Servers, free_ports  # noqa: E402  (Label Studio's set-up has them)

# Pages about what only a clone has: their blocks begin in this one.
IN_A_CLONE = (Path("deploy/README.md"), Path("load-tests/README.md"))
PORTS = (8080, 9090, 8000, 8081, 3900)
PATIENCE = 180  # seconds that one block may take, on a busy machine
MEDIA_URI = re.compile(r"s3://([a-z0-9.-]+)/([A-Za-z0-9._/-]+\.[a-z0-9]+)")

BEFORE = """set -euo pipefail
[ ! -e "$BOOK/exports" ] || source "$BOOK/exports"
cd "$(cat "$BOOK/cwd" 2>/dev/null || echo "$HOME")"
"""
SHIMS = {
    "lockgate": """
# A storage that names no server of its own is asked for where the page's own one is.
while read -r id variable; do
    ! grep -qs "id = \\"$id\\"" lockgate.toml || export "$variable"
done < "$BOOK/endpoints"
case "${1:-} $*" in *--help*) exec "$BOOK_LOCKGATE" "$@" ;; serve* | demo*) ;; *) exec "$BOOK_LOCKGATE" "$@" ;; esac
verb=$1; shift
arguments=()
while [ $# -gt 0 ]; do
    case $1 in --listen | --admin-listen) shift ;; *) arguments+=("$1") ;; esac
    shift
done
if [ -e "$BOOK/pid" ]; then kill "$(cat "$BOOK/pid")" 2>/dev/null || true; while kill -0 "$(cat "$BOOK/pid")" 2>/dev/null; do sleep 0.05; done; fi
[ "$verb" = demo ] || arguments+=(--admin-listen "127.0.0.1:$BOOK_PORT_9090")
"$BOOK_LOCKGATE" "$verb" "${arguments[@]}" --listen "127.0.0.1:$BOOK_PORT_8080" >"$BOOK/lockgate.log" 2>&1 &
pid=$!
echo "$pid" > "$BOOK/pid"
url=http://127.0.0.1:$BOOK_PORT_9090/readyz
[ "$verb" = serve ] || url=http://127.0.0.1:$BOOK_PORT_8080/
until "$BOOK_CURL" -sf -o /dev/null "$url"; do
    kill -0 "$pid" 2>/dev/null || { cat "$BOOK/lockgate.log" >&2; exit 1; }
    sleep 0.1
done
""",
    "cargo": """
case "$1" in
    install) [ -f "${3:-.}/Cargo.toml" ] || { echo "no Cargo.toml in ${3:-.}" >&2; exit 1; } ;;
    build) [ -f Cargo.toml ] || { echo "no Cargo.toml here" >&2; exit 1; } ;;
    run) while [ "$1" != -- ]; do shift; done; shift; exec lockgate "$@" ;;
    *) echo "the book's cargo has no $1" >&2; exit 1 ;;
esac
""",
    "git": """
[ "$1" = clone ] || { echo "the book's git has no $1" >&2; exit 1; }
exec "$BOOK_GIT" clone --quiet --no-hardlinks "$BOOK_ROOT" "${3:-lockgate}"
""",
    "curl": """
fail=--fail-with-body
for argument; do [ "$argument" != -i ] || fail=--no-fail-with-body; done
exec "$BOOK_CURL" "$fail" --silent --show-error --max-time 60 --retry 20 --retry-connrefused --retry-delay 1 "$@"
""",
    "node": """
case "${1:-}" in *.ts) script=${1%.ts}.mjs; shift; exec "$BOOK_NODE" "$script" "$@" ;; esac
exec "$BOOK_NODE" "$@"
""",
}


class World:
    """One page's."""

    def __init__(self, directory: Path, lockgate: Path, tools: Path):
        self.home, self.own = directory / "home", directory / "own"
        self.home.mkdir(parents=True)
        self.own.mkdir()
        self.tools, self.lockgate = tools, lockgate
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.servers = Servers(self.own)
        self.garage = None
        self.placeholders: dict[str, str] = {}
        self.python = sys.executable
        self.environment = self._environment()
        self._shims()
        # Blocks leave servers behind. They end with the world, and should this process be killed, by this one.
        subprocess.Popen(
            ["bash", "-c", 'while kill -0 "$1" 2>/dev/null && [ -d "$2" ]; do sleep 1; done\n'
             'for one in /proc/[0-9]*; do ! grep -qzxF "BOOK=$2" "$one/environ" || kill -KILL "${one#/proc/}"; done',
             "watch", str(os.getpid()), str(self.own)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def _environment(self) -> dict:
        own = {
            "HOME": str(self.home), "LANG": "C.UTF-8", "BOOK": str(self.own), "BOOK_ROOT": str(ROOT),
            "BOOK_LOCKGATE": str(self.lockgate), "BOOK_CURL": shutil.which("curl"), "BOOK_GIT": shutil.which("git"),
            "BOOK_NODE": shutil.which("node") or "node", "AWS_EC2_METADATA_DISABLED": "true",
            "LOCKGATE": str(self.lockgate), "LOCKGATE_TOOLS": str(self.tools), "CI": os.environ.get("CI", ""),
            "PATH": f"{self.own / 'bin'}:{Path(self.python).parent}:{os.environ['PATH']}", "NO_PROXY": "*", "no_proxy": "*",
        }
        return own | {f"BOOK_PORT_{port}": str(free) for port, free in self.ports.items()}

    def _shims(self) -> None:
        (self.own / "bin").mkdir()
        (self.own / "endpoints").touch()
        for name, script in SHIMS.items():
            path = self.own / "bin" / name
            path.write_text(f"#!/usr/bin/env bash\nset -euo pipefail\n{script}")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def here(self, text: str) -> str:
        """The text with this world's ports."""
        for port, free in self.ports.items():
            text = re.sub(rf'\b(?:127\.0\.0\.1|localhost|0\.0\.0\.0)(:|", |\', ){port}\b', rf"127.0.0.1\g<1>{free}", text)
            text = re.sub(rf"\bhttp\.server {port}\b", f"http.server {free}", text)
        for placeholder, value in self.placeholders.items():
            text = text.replace(placeholder, value)
        return text

    def begin_in(self, directory: Path) -> None:
        """Where the first block begins, instead of the page's own directory."""
        (self.own / "cwd").write_text(str(directory))

    def write(self, name: str, text: str) -> Path:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.here(text))
        return path

    def sh(self, text: str) -> tuple[int, str]:
        """Runs a block; what it exports and where it goes to hold for the next one."""
        return self.run(["bash", "-c", f'{BEFORE}{self.here(text)}\nexport -p > "$BOOK/exports"; pwd > "$BOOK/cwd"\n'])

    def program(self, command: list) -> tuple[int, str]:
        """Runs a program where the blocks before it have come to."""
        return self.run(["bash", "-c", f'{BEFORE}exec "$@"', "program", *command])

    def run(self, command: list, directory: Path | None = None, environment: dict | None = None) -> tuple[int, str]:
        """To its end; what it leaves behind ends with the world."""
        output = self.own / "output"
        with open(output, "wb") as out:
            process = subprocess.Popen(
                [str(part) for part in command], cwd=directory or self.home, env=self.environment | (environment or {}),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )
            try:
                status = process.wait(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = process.wait()
                out.write(b"\nit did not end\n")
        return status, output.read_text(errors="replace")

    def want_storages(self, page: str) -> None:
        """S3 storages of the page's configuration that name no server of their own are given a real one, with
        every object that the page names."""
        storages = storages_of(page)
        named = [storage for storage in storages if storage.get("kind") == "s3"]
        if not named or not (self.tools / "bin/garage").exists():
            return
        self._start_garage()
        client = self.garage.client()
        objects = set(MEDIA_URI.findall(page))
        samples = self._samples()
        for storage in named:
            bucket = storage["bucket"]
            client.create_bucket(Bucket=bucket)
            if "endpoint" not in storage:
                name = re.sub(r"[^A-Za-z0-9]", "_", storage["id"]).upper()
                with open(self.own / "endpoints", "a") as endpoints:
                    endpoints.write(f"{storage['id']} LOCKGATE__STORAGE__{name}__ENDPOINT={self.garage.endpoint}\n")
            keys = {key for named_bucket, key in objects if named_bucket == bucket}
            for key in keys or {f"{storage.get('prefix', '')}{name}" for name in samples}:
                name = next((name for name in samples if key.endswith(Path(name).suffix)), next(iter(samples)))
                kind = {".png": "image/png", ".mp4": "video/mp4"}[Path(name).suffix]
                client.put_object(Bucket=bucket, Key=key, Body=samples[name], ContentType=kind)

    def _start_garage(self) -> None:
        import garage

        port = self.ports[3900]
        garage.free_ports = lambda count: [port, *free_ports(count - 1)]
        self.garage = garage.Garage(self.tools / "bin/garage", self.own / "garage", self.servers, self.environment)
        self.environment |= {"AWS_ACCESS_KEY_ID": garage.ID, "AWS_SECRET_ACCESS_KEY": garage.SECRET}
        self.placeholders = {"YOUR_KEY_ID": garage.ID, "YOUR_SECRET_KEY": garage.SECRET}

    def _samples(self) -> dict[str, bytes]:
        samples = {"a.png": png(320, 200)}
        found = sorted(self.tools.glob("label-studio/lib/python3*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*"))
        if found:
            video = self.own / "a.mp4"
            subprocess.run(
                [found[0], "-y", "-nostdin", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15:duration=6",
                 "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-movflags", "+faststart", video], check=True)
            samples["a.mp4"] = video.read_bytes()
        return samples

    def end(self) -> None:
        """Ends whatever was started here, which its environment tells."""
        self.servers.stop()
        own = f"BOOK={self.own}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if own in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                pass  # it has ended, or is not ours


def storages_of(page: str) -> list[dict]:
    """Those of every block of the page that is a whole file of TOML."""
    found = []
    for text in re.findall(r"^```toml\n(.*?)^```", page, re.S | re.M):
        try:
            found += tomllib.loads(text).get("storage", [])
        except tomllib.TOMLDecodeError:
            pass  # said where the block itself is checked
    return found


def png(width: int, height: int) -> bytes:
    """A picture, by the format's rules: a head, rows, an end."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + bytes(v for x in range(width) for v in (x & 255, y & 255, 96)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
