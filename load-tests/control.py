"""Takes access away and gives it back for `revocation.js`: POST /revoke, POST /restore, GET /state.

`load-tests/run` uses it as a module. Beside a Lockgate of one's own, whose access list is a file, it is a program:

    python3 load-tests/control.py ACCESS_LIST WITHOUT

`WITHOUT` is the list without the annotator; /revoke puts it in the list's place, /restore what was there at first.
Listens on loopback, at a port of the system's choice, which it prints.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Control:
    """Listens until the process ends; `change` makes the access list allow the annotator, or not."""

    def __init__(self, change: Callable[[bool], None]):
        self._change = change
        self._lock = threading.Lock()
        self._permitted, self._changes, self._revocations = True, 0, 0
        self._changed_at = time.monotonic()
        control = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer(self.path == "/state")

            def do_POST(self) -> None:
                known = self.path in ("/revoke", "/restore")
                if known:
                    control.set(self.path == "/restore")
                self._answer(known)

            def _answer(self, known: bool) -> None:
                body = json.dumps(control.state()).encode()
                self.send_response(200 if known else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def set(self, permitted: bool) -> None:
        """Said before it is given and after it is taken: nobody who holds us to `state` is wronged by the moment between."""
        if not permitted:
            self._change(False)
        with self._lock:
            self._changes += 1
            self._revocations += not permitted
            self._permitted, self._changed_at = permitted, time.monotonic()
        if permitted:
            self._change(True)

    def state(self) -> dict:
        with self._lock:
            age = int((time.monotonic() - self._changed_at) * 1000)
            return {
                "permitted": self._permitted, "age_ms": age, "changes": self._changes, "revocations": self._revocations,
            }


def main() -> None:
    access_list, without = map(Path, sys.argv[1:])
    first, without = access_list.read_bytes(), without.read_bytes()

    def change(permitted: bool) -> None:
        new = access_list.with_suffix(".new")
        new.write_bytes(first if permitted else without)
        new.replace(access_list)

    print(Control(change).url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
