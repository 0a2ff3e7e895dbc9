"""Label Studio itself, as its Docker image runs it: under uwsgi with two processes; SQLite, a data directory of its own."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from processes import Failed, Servers, answers, free_ports

PROCESSES = 2


class LabelStudio:
    """The application: where it is installed, and where it runs."""

    def __init__(self, target: Path, directory: Path, media_root: Path):
        self.version = version("label-studio")
        self._package = Path(find_spec("label_studio").origin).parent
        self._template = target / f"template-{self.version}"
        self._directory = directory
        self._media_root = media_root
        self.base = ""

    def is_prepared(self) -> bool:
        """Whether the database is there already."""
        return (self._template / "users.json").exists()

    def prepare(self) -> dict:
        """Copies the migrated database, which is made where it is missing; its users by name."""
        if not self.is_prepared():
            self._make_template()
        shutil.copytree(self._template, self._directory)
        return json.loads((self._directory / "users.json").read_text())

    def _make_template(self) -> None:
        # Made beside its place and renamed, so that neither a half-made nor a twice-made one is ever used.
        new = self._template.with_name(f"{self._template.name}.{os.getpid()}")
        new.mkdir(parents=True)
        script = Path(__file__).with_name("template.py")
        done = subprocess.run(
            [sys.executable, script], cwd=self._package, env=self.environment(new), capture_output=True, text=True
        )
        if done.returncode != 0:
            shutil.rmtree(new)
            raise Failed(f"Label Studio's database cannot be made:\n{done.stderr[-2000:]}")
        (new / "users.json").write_text(done.stdout[done.stdout.index('{"admin"'):])
        try:
            new.rename(self._template)
        except OSError:  # another one was faster
            shutil.rmtree(new)

    def start(self, servers: Servers) -> subprocess.Popen:
        """Starts it and returns its first process once it answers."""
        [port] = free_ports(1)
        self.base = f"http://127.0.0.1:{port}"
        command = [
            Path(sys.executable).with_name("uwsgi"), "--http", f"127.0.0.1:{port}", "--module", "core.wsgi:application",
            "--chdir", self._package, "--virtualenv", Path(sys.executable).parent.parent, "--master", "--no-orphans",
            "--die-on-term", "--need-app", "--processes", PROCESSES, "--threads", 1, "--buffer-size", 65535,
            "--http-timeout", 300, "--post-buffering", 4096, "--enable-threads", "--thunder-lock", "--lazy-apps",
            "--single-interpreter", "--ignore-sigpipe", "--ignore-write-errors", "--disable-write-exception",
            "--disable-logging",
        ]
        process = servers.start("label-studio", command, self.environment(self._directory), self._directory)
        servers.wait_for("label-studio", lambda: answers(f"{self.base}/health", 200))
        return process

    def environment(self, data: Path) -> dict:
        """Its settings. Nothing of the caller's but the path; nothing is sent to anybody."""
        return {
            "PATH": os.environ.get("PATH", ""), "LANG": "C.UTF-8", "HOME": str(data),
            "DJANGO_SETTINGS_MODULE": "core.settings.label_studio", "DJANGO_DB": "sqlite",
            "LABEL_STUDIO_BASE_DATA_DIR": str(data), "SSRF_PROTECTION_ENABLED": "false",
            "COLLECT_ANALYTICS": "false", "LATEST_VERSION_CHECK": "false", "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "", "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LOCAL_FILES_SERVING_ENABLED": "true", "LOCAL_FILES_DOCUMENT_ROOT": str(self._media_root),
            "PYTHONDONTWRITEBYTECODE": "1", "APP_WEBSERVER": "uwsgi",
        }
