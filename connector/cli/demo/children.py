"""Starts the processes of the demo, reads their output, and stops all of them at the end."""

import asyncio
import contextlib
import ctypes
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TAIL_LINES = 12
LINE_BYTES_MAX = 4 * 1024 * 1024
KILL_SECS = 5.0
"""How long `Children.close` waits for a process after SIGTERM, before it sends SIGKILL."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

OnLine = Callable[[str], None]


class ChildEnded(Exception):
    """A process of the demo ended by itself; *tail* are its last lines."""

    def __init__(self, name: str, code: int, tail: Sequence[str]) -> None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        super().__init__(f"The {name} {how}.")
        self.tail = tuple(tail)


class Child:
    """One process, in a session of its own: Ctrl-C reaches only the demo, which then stops its processes in order."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, ears: Mapping[int, OnLine]) -> None:
        self.name = name
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._process = process
        self._killed = False
        pipes = {1: process.stdout, 2: process.stderr}
        self._readers = [
            asyncio.create_task(self._read(pipe, ears.get(number))) for number, pipe in pipes.items() if pipe
        ]

    @property
    def running(self) -> bool:
        """Whether it runs; one that is killed does not, though its end may still be under way."""
        return self._process.returncode is None and not self._killed

    async def ended(self) -> ChildEnded:
        """Wait until the process has ended and its output is read."""
        code = await self._process.wait()
        await asyncio.wait(self._readers, timeout=1)
        return ChildEnded(self.name, code, self.tail)

    async def stop(self, secs: float) -> int:
        """Send SIGTERM, and SIGKILL if the process still runs after *secs*; return the exit code."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(secs):
                    return await self._process.wait()
            self.kill()
        return await self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL if the process still runs."""
        with contextlib.suppress(ProcessLookupError):
            if self.running:
                self._killed = True
                self._process.kill()

    async def _read(self, pipe: asyncio.StreamReader, on_line: OnLine | None) -> None:
        async for raw in pipe:
            line = raw.decode(errors="replace").rstrip()
            if on_line is None:
                self.tail.append(line)
            else:
                on_line(line)


class Children:
    """All processes of one demo, in *folder*; `failed` is set when the first process ends by itself."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Child] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._stopping: set[Child] = set()
        self.failed: asyncio.Future[ChildEnded] = asyncio.get_running_loop().create_future()

    async def start(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        *,
        on_out: OnLine | None = None,
        on_err: OnLine | None = None,
    ) -> Child:
        """Start *command*; lines of an output without a callback (*on_out*, *on_err*) are kept as the tail."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._folder,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_BYTES_MAX,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        ears = {number: ear for number, ear in ((1, on_out), (2, on_err)) if ear is not None}
        child = Child(name, process, ears)
        self._all.append(child)
        self._watchers.add(asyncio.create_task(self._watch(child)))
        return child

    async def _watch(self, child: Child) -> None:
        end = await child.ended()
        if child not in self._stopping and not self.failed.done():
            self.failed.set_result(end)

    async def stop(self, child: Child, secs: float) -> int:
        """Stop *child*; its end does not count as a failure."""
        self._stopping.add(child)
        return await child.stop(secs)

    async def strike(self, child: Child) -> None:
        """End *child* by SIGKILL; its end does not count as a failure."""
        self._stopping.add(child)
        child.kill()
        await child.ended()

    async def close(self, secs: float = KILL_SECS) -> None:
        """Stop all processes that still run, the last started first."""
        for child in reversed(self._all):
            await self.stop(child, secs)
        for watcher in self._watchers:
            watcher.cancel()

    def kill(self) -> None:
        """Send SIGKILL to all processes."""
        for child in self._all:
            self._stopping.add(child)
            child.kill()


def _end_with_parent() -> None:
    """Let Linux send SIGTERM to this child when the demo dies, even by SIGKILL; runs in the child at its start."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
