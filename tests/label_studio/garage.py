"""Garage, a real S3 server: one node, one key, one bucket, and the media in it."""

import subprocess
import time
from pathlib import Path

import boto3
from botocore.config import Config

from processes import PATIENCE, Failed, Servers, free_ports

ID = "GK4ab1e57d1000000000000001"
SECRET = "6a2c19f0b3d84e5f9071a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7"
REGION = "garage-east"


class Garage:
    """A running server."""

    def __init__(self, program: Path, directory: Path, servers: Servers, environment: dict):
        directory.mkdir()
        self._program, self._config = program, directory / "garage.toml"
        s3, rpc = free_ports(2)
        self.endpoint = f"http://127.0.0.1:{s3}"
        self._config.write_text(
            f"metadata_dir = '{directory}/meta'\ndata_dir = '{directory}/data'\ndb_engine = 'sqlite'\n"
            f"replication_factor = 1\nrpc_bind_addr = '127.0.0.1:{rpc}'\nrpc_public_addr = '127.0.0.1:{rpc}'\n"
            f"rpc_secret = '{SECRET}'\nmetadata_fsync = false\ndata_fsync = false\n"
            f"[s3_api]\ns3_region = '{REGION}'\napi_bind_addr = '127.0.0.1:{s3}'\nroot_domain = '.s3.localhost'\n"
        )
        servers.start("garage", [program, "-c", self._config, "server"], environment, directory)
        self._lay_out(servers)

    def _lay_out(self, servers: Servers) -> None:
        node = self._once_it_answers(servers, "node", "id", "-q")
        self._once_it_answers(servers, "layout", "assign", "-z", "dc1", "-c", "2G", node[:16])
        for command in (
            ("layout", "apply", "--version", "1"),
            ("key", "import", "--yes", "-n", "label-studio", ID, SECRET),
            ("key", "allow", "--create-bucket", ID),
        ):
            if self._command(*command) is None:
                raise Failed(f"garage refused: {' '.join(command[:2])}")

    def _once_it_answers(self, servers: Servers, *arguments: str) -> str:
        end = time.monotonic() + PATIENCE
        while (said := self._command(*arguments)) is None:
            if servers.ended() or time.monotonic() > end:
                raise Failed(f"garage does not answer:\n{servers.last_words('garage')}")
            time.sleep(0.05)
        return said

    def _command(self, *arguments: str) -> str | None:
        done = subprocess.run([self._program, "-c", self._config, *arguments], capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None

    def client(self):
        """A client of its API."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=ID,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}, proxies={}, request_checksum_calculation="when_required"),
        )
