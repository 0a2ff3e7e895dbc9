"""Storage that is not the bottleneck: nginx with files, as an S3 server in path style that checks no signature.

The files are few and their names without end, so that there is always an object that nobody has seen yet: the image of
a name is chosen by its last digit, and every video is the same one.
"""

import os
import random
from pathlib import Path

from PIL import Image
from processes import Servers, answers, free_ports

MIB = 1 << 20
VIDEO_SIZE = 128 * MIB
IMAGES = 10
IMAGE_SIDE = 183  # pixels of noise, which no PNG makes smaller: 100 KB

# What Label Studio asks when a storage is created: whether anything lies below its prefix.
LISTING = (
    "<ListBucketResult><Name>media</Name><Prefix>studio</Prefix><KeyCount>1</KeyCount><MaxKeys>1</MaxKeys>"
    "<IsTruncated>false</IsTruncated><Contents><Key>studio/image-0.png</Key><Size>1</Size>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
)
# Started by root, its workers would be nobody, who may not look into the directory.
USER = "user root;" if os.geteuid() == 0 else ""
CONFIGURATION = """
{user} daemon off; master_process on; worker_processes 2; pid {directory}/pid; error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
  types {{ image/png png; video/mp4 mp4; }}
  log_format request '$status $request_method $body_bytes_sent';
  access_log {directory}/requests.log request;
  sendfile on; sendfile_max_chunk 2m; tcp_nodelay on; keepalive_requests 100000000;
  open_file_cache max=100; open_file_cache_valid 600s;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /media {{ default_type application/xml; return 200 '{listing}'; }}
    location ~ ^/media/studio/image-[0-9]*([0-9])\\.png$ {{ alias {files}/image-$1.png; }}
    location ~ ^/media/studio/video-[0-9]+\\.mp4$ {{ alias {files}/video.mp4; }}
  }}
}}
"""


class Origin:
    """A running server."""

    def __init__(self, directory: Path, servers: Servers):
        directory.mkdir()
        files = directory / "files"
        files.mkdir()
        make(files)
        [port] = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{port}"
        self._log = directory / "requests.log"
        configuration = directory / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(user=USER, directory=directory, port=port, listing=LISTING, files=files)
        )
        command = ["nginx", "-p", directory, "-e", "stderr", "-c", configuration]
        self.process = servers.start("nginx", command, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, directory)
        servers.wait_for("nginx", lambda: answers(f"{self.endpoint}/media", 200))

    def requests(self) -> int:
        """How many it has answered since it was asked this last; the log is emptied."""
        with self._log.open("r+b") as log:
            count = sum(1 for _ in log)
            log.truncate(0)
        return count


def make(files: Path) -> None:
    """The same bytes each time."""
    chance = random.Random(1)
    for number in range(IMAGES):
        size = (IMAGE_SIDE, IMAGE_SIDE)
        Image.frombytes("RGB", size, chance.randbytes(3 * IMAGE_SIDE**2)).save(files / f"image-{number}.png")
    with (files / "video.mp4").open("wb") as video:
        for _ in range(VIDEO_SIZE // MIB):
            video.write(chance.randbytes(MIB))
