"""A Lockgate to be loaded: configuration and access list in a directory of its own, on ports that the system chose.

Used by `load-tests/run`, `benches/peers/run` and `benches/growth/run`. Speaks to it as anybody does: by files, the
command line and HTTP. Tokens are minted here (RFC 7515, HS256) because a hundred thousand of them are wanted.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path

from processes import Servers, answers

ISSUER, AUDIENCE = "https://load.test", "lockgate"
LIFE = 12 * 3600  # seconds that a token is good: longer than any run


class Gateway:
    """A running server. `storages` and `projects` are the sections of its two files, as TOML; `files` what these name;
    settings are keys of the configuration, like `cache.memory`."""

    def __init__(
        self, program: Path, directory: Path, servers: Servers, storages: str, projects: str,
        files: dict[str, str] | None = None, **settings,
    ):
        self.name = directory.name
        directory.mkdir()
        for name, text in (files or {}).items():
            (directory / name).write_text(text)
        self._secret = secrets.token_hex(32)
        self.access_list = directory / "projects.toml"
        self.replace_access_list(projects)
        self.secret_file = directory / "token.secret"
        self.secret_file.write_text(self._secret)
        config = directory / "lockgate.toml"
        config.write_text(
            f'auth.secure_cookie = false\n[auth.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\n'
            f'algorithms = ["HS256"]\nhmac_secret = {{ file = "{self.secret_file}" }}\n'
            f'[access]\nfile = "projects.toml"\n{storages}'
        )
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "LOCKGATE__SERVER__LISTEN": "127.0.0.1:0",
            "LOCKGATE__SERVER__ADMIN_LISTEN": "127.0.0.1:0",
            "LOCKGATE__SERVER__DRAIN": "1s",
            # As anybody runs it; to a file, as these figures are about serving and not about who reads the log.
            "LOCKGATE__LOG__ACCESS": str(directory / "access.log"),
            **{f"LOCKGATE__{key.upper().replace('.', '__')}": str(value) for key, value in settings.items()},
        }
        self.process = servers.start(self.name, [program, "serve", "--config", config], environment, directory)
        log = directory.parent / f"{self.name}.log"
        servers.wait_for(self.name, lambda: addresses(log) is not None)
        listen, self.admin = addresses(log)
        self.port = int(listen.rsplit(":", 1)[1])
        self.base = f"{'https' if 'server.tls.certificate' in settings else 'http'}://{listen}"
        servers.wait_for(self.name, lambda: answers(f"http://{self.admin}/readyz", 200))

    def replace_access_list(self, projects: str) -> None:
        """In one step, as a careful operator does: no reader sees half of it."""
        new = self.access_list.with_suffix(".new")
        new.write_text(projects)
        new.replace(self.access_list)

    def token(self, subject: str) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + LIFE}
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
        signature = hmac.digest(self._secret.encode(), signed.encode(), hashlib.sha256)
        return f"{signed}.{encoded(signature)}"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def media_path(route: str, uri: str) -> str:
    """Where a media URI is resolved; `route` is `/tasks/7` or `/projects/1`."""
    return f"{route}/resolve/?fileuri={encoded(uri.encode())}"


def addresses(log: Path) -> tuple[str, str] | None:
    """Where Lockgate listens, as its log says once it does."""
    for line in log.read_text(errors="replace").splitlines():
        if "lockgate serves" in line and line.endswith("}"):
            said = json.loads(line)
            said = {**said, **said.get("fields", {})}
            return said["listen"], said["admin"]
    return None
