"""Every server that is measured, in the order in which they need one another: storage, nginx, hyper, Lockgate."""

import argparse
import json
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import nginx
from gateway import Gateway
from load import Client, Server
from processes import Failed, Servers

# The columns of the table.
STORAGE = "storage itself"
STATIC = "nginx, static files, no check"
OPEN = "nginx slice + cache, no check"
LUA = "nginx slice + cache, check in Lua"
HYPER = "hyper, no check"
PASSED = "hyper that keeps nothing"
LOCKGATE = "Lockgate"
DISK = "Lockgate with a disk cache"

ANNOTATORS = 64
BUCKET = "media"
# What nobody may miss: the check of Lockgate is the default one (the task names the media) for what is warm. Cold
# objects are new each time, and no task can name them.
PROJECTS = """
[[project]]
id = "warm"
storages = ["origin"]
members = {members}
tasks = "tasks.jsonl"
[[project]]
id = "cold"
storages = ["origin"]
members = {members}
media = "storage"
"""
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


@dataclass
class Stand:
    """All servers, by column and by whether TLS is spoken."""

    client: Client
    storage: str
    servers: dict[tuple[str, bool], Server] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    # Tokens that must get this status from whoever checks.
    refused: dict[int, Path] = field(default_factory=dict)
    _fresh: count = field(default_factory=lambda: count(1))

    def fresh(self) -> int:
        """The number of an object that nobody has asked for yet."""
        return next(self._fresh)

    def set_storage(self, **settings: float) -> dict:
        """How slow storage is, and what it was asked for so far."""
        query = "&".join(f"{key}={int(value)}" for key, value in settings.items())
        with urllib.request.urlopen(f"http://{self.storage}/_/set?{query}", timeout=10) as response:
            return json.load(response)


def start(options: argparse.Namespace, directory: Path, running: Servers, length) -> Stand:
    names = [length.video, *(length.image.replace("{n}", str(n)) for n in range(length.images))]
    listed = directory / "names"
    listed.write_text("".join(f"{name}\n" for name in names))
    files = directory / "files"
    files.mkdir()
    server = options.programs / "server"
    subprocess.run([server, "--write", files, listed], check=True)
    tls = self_signed(directory)

    storage, storage_at = hyper("storage", server, [], directory, running)
    stand = Stand(Client(options.programs / "load"), storage_at)
    stand.servers[STORAGE, False] = plain(STORAGE, storage.pid, storage_at)
    for name, column, arguments in (
        ("hyper", HYPER, ["--keep", listed]),
        ("hyper-tls", HYPER, ["--keep", listed, "--tls", *tls]),
        ("hyper-passes", PASSED, ["--proxy", storage_at]),
    ):
        process, at = hyper(name, server, arguments, directory, running)
        certificate = tls[0] if "--tls" in arguments else None
        stand.servers[column, certificate is not None] = plain(column, process.pid, at, certificate)
    start_nginx(stand, directory, running, tls, files, start_lockgates(stand, options, directory, running, tls, names))
    return stand


def self_signed(directory: Path) -> tuple[Path, Path]:
    made = directory / "certificate.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE",
         "-out", made[0], "-keyout", made[1]],
        check=True, capture_output=True,
    )
    return made


def plain(name: str, pid: int, at: str, tls: Path | None = None) -> Server:
    return Server(name, pid, int(at.rsplit(":", 1)[1]), f"/{BUCKET}/", certificate=tls)


def hyper(name: str, program: Path, arguments: list, directory: Path, running: Servers):
    """It says where it listens once it does."""
    process = running.start(name, [program, "--workers", "2", *arguments], {}, directory)
    log = directory / f"{name}.log"
    running.wait_for(name, lambda: log.read_text().endswith("\n"))
    return process, log.read_text().strip()


def start_lockgates(stand: Stand, options, directory: Path, running: Servers, tls, names: list[str]) -> Gateway:
    secret = directory / "storage.secret"
    secret.write_text("a secret that this storage does not look at")
    storages = STORAGES.format(storage=stand.storage, secret=secret)
    members = [f"annotator-{number}@example.com" for number in range(ANNOTATORS)]
    media = [f"s3://{BUCKET}/{name}" for name in names]
    projects = PROJECTS.format(members=members)
    cache = directory / "disk"
    variants = {
        "plain": (LOCKGATE, {}),
        "tls": (LOCKGATE, {"server.tls.certificate": tls[0], "server.tls.private_key": tls[1]}),
        "disk": (DISK, {"cache.disk.path": cache, "cache.disk.capacity": "8GiB", "cache.memory": "256MiB"}),
    }
    for variant, (column, settings) in variants.items():
        home = f"lockgate-{variant}"
        try:
            gateway = Gateway(
                options.lockgate, directory / home, running, storages, projects,
                files={"tasks.jsonl": "".join(json.dumps({"id": n, "data": {"media": uri}}) + "\n" for n, uri in enumerate(media))},
                **{"cache.memory": "1GiB", "log.access": "off", **settings},
            )
        except Failed as failed:
            if variant != "disk":
                raise
            stand.missing.append(f"{DISK}: it does not start")
            print(failed)
            running.forget(home)
            continue
        tokens = directory / f"{home}.tokens"
        tokens.write_text("".join(f"{gateway.token(member)}\n" for member in members))
        server = Server(
            column, gateway.process.pid, gateway.port, "/projects/warm/resolve/?fileuri=", True, tokens,
            tls[0] if variant == "tls" else None,
        )
        if variant == "disk" and not writes(stand.client, server, cache):
            stand.missing.append(f"{DISK}: nothing comes to lie on it")
            running.forget(home)
            continue
        stand.servers[column, variant == "tls"] = server
        if variant == "plain":
            (directory / "members").write_text("\n".join(members))
            stand.refused = {401: directory / "forged", 403: directory / "stranger"}
            stand.refused[401].write_text(gateway.token(members[0])[:-8] + "AAAAAAAA\n")
            stand.refused[403].write_text(gateway.token("eve@example.com") + "\n")
            first = gateway
    return first


def writes(client: Client, server: Server, cache: Path) -> bool:
    """Whether what is read twice comes to lie below `cache`: a Lockgate may take the setting and have no disk cache."""
    for _ in range(2):
        client.measure(server, object=f"s3://{BUCKET}/cold-0.{8 << 20}.mp4", objects=1, status=200, connections=1, count=1,
                       route=server.route.replace("/warm/", "/cold/"))
    for _ in range(50):
        if any(path.is_file() for path in cache.rglob("*")):
            return True
        time.sleep(0.1)
    return False


def start_nginx(stand: Stand, directory: Path, running: Servers, tls, files: Path, lockgate: Gateway) -> None:
    static = nginx.static(directory / "nginx-static", running, tls, files)
    slices = nginx.slices(
        directory / "nginx-slices", running, tls, stand.storage, lockgate.secret_file, directory / "members", "8g",
    )
    for server, name, column in (
        (static, "plain", STATIC), (static, "tls", STATIC), (slices, "open", OPEN), (slices, "tls", OPEN), (slices, "lua", LUA),
    ):
        if name not in server.ports:
            stand.missing.append(f"{column}: no libnginx-mod-http-lua")
            continue
        at = f"127.0.0.1:{server.ports[name]}"
        made = plain(column, server.process.pid, at, tls[0] if name == "tls" else None)
        made.tokens = stand.servers[LOCKGATE, False].tokens if name == "lua" else None
        stand.servers[column, name == "tls"] = made
        running.wait_for(server.name, lambda: listens(server.ports[name]))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
