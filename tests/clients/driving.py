"""Clients at work: commands, and libraries behind a console.  Each call goes to the other worker than the last one."""

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.clients.cluster import Cluster
from tests.workers import Worker

COMMAND_SECS = 60
KEPT = ("PATH", "HOME", "JAVA_HOME", "LANG", "SYSTEMROOT")
ENVIRONMENT = {name: text for name, text in os.environ.items() if name in KEPT} | {"NO_PROXY": "127.0.0.1"}


class ClientError(AssertionError):
    """What a client raised: its class and its message."""


def address(worker: Worker) -> str:
    """Return the address of a worker without what to log in with."""
    return f"http://127.0.0.1:{worker.port}"


def address_with_login(worker: Worker) -> str:
    """Return the address for clients that have no other way to log in."""
    return address(worker).replace("//", f"//{worker.login}@") if worker.login else address(worker)


class Commands:
    """A command line.  *line* makes the words after the program from a worker and the words of a command."""

    def __init__(self, cluster: Cluster, program: Path, line: Callable[[Worker, list[str]], list[str]]) -> None:
        self._program, self._line = program, line
        self._workers = itertools.cycle(cluster.both)

    def __call__(self, *words: object, code: int = 0) -> str:
        """Run a command; return what it prints, on standard error too."""
        line = self._line(next(self._workers), [str(word) for word in words])
        done = subprocess.run(  # noqa: S603  # ours
            [self._program, *line],
            env=ENVIRONMENT | {"COLUMNS": "200"},  # for tables
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECS,
            check=False,
        )
        assert done.returncode == code, f"{' '.join(line)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def json(self, *words: object) -> Any:
        """Run a command that prints JSON."""
        text = self(*words)
        try:
            return json.loads(text)
        except ValueError:
            raise AssertionError(f"no JSON from {words}: {text!r}") from None


class Console:
    """A client's library in a process of its own; see `console.py` and `Console.java`."""

    def __init__(self, *command: object) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # ours
            [str(word) for word in command], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, line: str) -> Any:
        """
        Return what the client returns.

        Raises:
            ClientError: the client raised.
        """
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ClientError(f"{answer['error']}: {answer['message']}")
        return answer["value"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


class Consoles:
    """A console for each worker; as a context manager it leaves none behind."""

    def __init__(self, cluster: Cluster, command: Callable[[Worker], Sequence[object]]) -> None:
        self.all = [Console(*command(worker)) for worker in cluster.both]
        self._next = itertools.cycle(self.all)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for console in self.all:
            console.close()

    def __call__(self, line: str) -> Any:
        return next(self._next)(line)


def python_console(folder: Path, module: str, client: str) -> list[object]:
    """Return the command of a console in which `client` is what that expression makes with the names of *module*."""
    return [folder / "bin" / "python", Path(__file__).parent / "console.py", module, client]
