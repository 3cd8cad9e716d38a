"""Debian's package `prometheus` for tests: `promtool`, and a server that scrapes."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests import ROOT
from tests.absent import skip
from tests.brokers import free_port

PACKAGE = "prometheus"
SETTINGS = ROOT / "docker" / "prometheus"


def require(program: str) -> str:
    """Return the path of *program*; skip the test where it is not installed, which with CI=true is a failure."""
    path = shutil.which(program)
    if path is None:
        reason = f"no `{program}` on the PATH (Debian's package `{PACKAGE}` has it)"
        skip(reason)
    return path


def promtool(*arguments: object, given: bytes = b"") -> str:
    """Run promtool with *arguments* and *given* as its input, and return what it says; it must find nothing wrong."""
    command = [require("promtool"), *map(str, arguments)]
    done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=False)  # noqa: S603  # ours
    said = (done.stdout + done.stderr).decode()
    assert 0 == done.returncode, said
    return said


class Prometheus:
    """A server of its own that scrapes *targets* (`host:port`), with the rules and settings of docker/prometheus/."""

    def __init__(self, folder: Path, targets: Sequence[str], *, login: str) -> None:
        """Start it with its data in *folder*; *login* is `name:password` at the targets."""
        self.folder, self.port = folder, free_port()
        config = yaml.safe_load((SETTINGS / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(SETTINGS / "rules.yaml")]
        (job,) = config["scrape_configs"]
        name, _, password = login.partition(":")
        assert name == job["basic_auth"]["username"]
        (folder / "password").write_text(f"{password}\n")
        job["basic_auth"]["password_file"] = str(folder / "password")
        job["static_configs"] = [{"targets": list(targets)}]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        options = ("--config.file=prometheus.yaml", "--storage.tsdb.path=data", "--log.level=warn")
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # ours
                [require("prometheus"), *options, f"--web.listen-address=127.0.0.1:{self.port}"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def ask(self, path: str, **query: str) -> Any:
        """Return `data` of Prometheus' answer; None while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urlencode(query)}"
        try:
            with urlopen(url, timeout=5) as response:  # http, see above
                answer = json.load(response)
        except HTTPError as error:
            with error:
                if error.code == HTTPStatus.SERVICE_UNAVAILABLE:  # it reads its data
                    return None
                raise AssertionError(f"{query}: {error.read().decode()}") from error
        except (URLError, OSError):
            assert self._process.poll() is None, self.log
            return None
        assert "success" == answer["status"]
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples of *expression* at this moment."""
        data = self.ask("query", query=expression)
        return [] if data is None else data["result"]

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
