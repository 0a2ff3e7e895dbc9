"""nginx as somebody who knows it would set it up: static files by sendfile; slices of a storage in a cache, without a
check and with one in Lua. Two workers, no access log (as for every server here)."""

import os
from pathlib import Path

from processes import Servers, free_ports

MODULES = Path("/usr/lib/nginx/modules")
PROGRAM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
# Started by root, its workers would be nobody, who may not look into the directory.
USER = "user root;" if os.geteuid() == 0 else ""
HEAD = """
{modules}
{user} daemon off; worker_processes 2; pid {directory}/pid; error_log stderr warn; worker_rlimit_nofile 65536;
events {{ worker_connections 16384; }}
http {{
  access_log off; server_tokens off; default_type application/octet-stream;
  sendfile on; sendfile_max_chunk 2m; tcp_nopush off; tcp_nodelay on;
  keepalive_timeout 300; keepalive_requests 1000000000; reset_timedout_connection on;
  open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s; open_file_cache_min_uses 1;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.3; ssl_buffer_size 16k;
  ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; ssl_session_cache shared:tls:10m;
"""
STATIC = """
  server {{ listen 127.0.0.1:{plain} backlog=4096; listen 127.0.0.1:{tls} ssl backlog=4096; output_buffers 2 256k;
    location /media/ {{ alias {files}/; }} }}
}}
"""
CACHE = """
  proxy_cache_path {directory}/cache levels=1:2 keys_zone=media:64m max_size={cache} inactive=24h use_temp_path=off;
  upstream storage {{ server {storage}; keepalive 128; keepalive_requests 1000000000; }}
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host storage;
  proxy_buffer_size 16k; proxy_buffers 8 256k; proxy_busy_buffers_size 512k; proxy_max_temp_file_size 0;
  proxy_cache media; proxy_cache_lock on; proxy_cache_lock_timeout 60s; proxy_cache_lock_age 60s;
  proxy_cache_valid 200 206 24h;
  {lua}
"""
SLICES = """
  server {{ listen 127.0.0.1:{port} {tls} backlog=4096; {check}
    location ~ ^/media/image- {{ proxy_cache_key $uri; proxy_pass http://storage; }}
    location /media/ {{ slice 8m; proxy_set_header Range $slice_range; proxy_cache_key $uri|$slice_range;
      proxy_pass http://storage; }} }}
"""
LUA = """
  lua_package_path "{here}/?.lua;;";
  init_by_lua_block {{ check = require("check"); check.init("{secret}", "{members}") }}
"""


class Nginx:
    """A running server; `ports` by what it serves there."""

    def __init__(self, directory: Path, servers: Servers, tls: tuple[Path, Path], names: list[str], parts, modules=()):
        directory.mkdir()
        self.name = directory.name
        self.ports = dict(zip(names, free_ports(len(names))))
        loaded = "".join(f"load_module {MODULES / module};" for module in modules)
        head = HEAD.format(user=USER, modules=loaded, directory=directory, certificate=tls[0], key=tls[1])
        configuration = directory / "nginx.conf"
        configuration.write_text(head + parts(self.ports))
        command = ["nginx", "-p", directory, "-e", "stderr", "-c", configuration]
        self.process = servers.start(directory.name, command, {"PATH": PROGRAM_PATH}, directory)


def static(directory: Path, servers: Servers, tls, files: Path) -> Nginx:
    names = ["plain", "tls"]
    return Nginx(directory, servers, tls, names, lambda ports: STATIC.format(**ports, files=files))


def has_lua() -> bool:
    return (MODULES / "ngx_http_lua_module.so").exists()


def slices(directory: Path, servers: Servers, tls, storage: str, secret: Path, members: Path, cache: str) -> Nginx:
    """Without a check, over TLS, and where nginx has it with a check in Lua."""
    names = ["open", "tls", *(["lua"] if has_lua() else [])]

    def parts(ports: dict[str, int]) -> str:
        lua = LUA.format(here=Path(__file__).parent, secret=secret, members=members) if has_lua() else ""
        text = CACHE.format(directory=directory, storage=storage, lua=lua, cache=cache)
        for name, port in ports.items():
            check = "access_by_lua_block { check.check() }" if name == "lua" else ""
            text += SLICES.format(port=port, tls="ssl" if name == "tls" else "", check=check)
        return text + "}\n"

    modules = ("ndk_http_module.so", "ngx_http_lua_module.so") if has_lua() else ()
    return Nginx(directory, servers, tls, names, parts, modules)
