"""
Between a client and a broker: a proxy that knows Kafka's frames and harms single requests, chosen by API key.

The broker advertises the proxy's port, so clients never meet the broker itself:

    client ──▶ KafkaProxy.port ──▶ the broker's listener

A `Fault` says what becomes of a request: it reaches the broker late, twice or never, and its answer is lost or the
client's connection is reset before.  The proxy runs in a thread of its own; every method may be called from any thread.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

from tests.brokers import free_port

LIMIT_BYTES = 4 * 1024 * 1024
PATIENCE_SECS = 60.0
"""How long the proxy waits for the broker's answer to a request whose client is gone, or for a release."""

_LENGTH = struct.Struct(">i")
_HEAD = struct.Struct(">hh")
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing the socket resets the connection."""


class Api(IntEnum):
    """Kafka's numbers of the requests that tests harm."""

    PRODUCE = 0
    FIND_COORDINATOR = 10
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS = 24
    END_TXN = 26


@dataclass(kw_only=True)
class Fault:
    """
    What becomes of one request.

    *reset* resets the client's connection when the request comes; then the request waits until *delay_secs* are over
    and *gate* is set, and is sent to the broker *copies* times.  Unless it is *answered*, the client's connection is
    reset instead of passing the answer on.  The first copy's answer, if it came, is in *answers*.
    """

    reset: bool = False
    delay_secs: float = 0.0
    gate: threading.Event | None = None
    copies: int = 1
    answered: bool = True
    begun: threading.Event = field(default_factory=threading.Event)
    """The request has come."""
    over: threading.Event = field(default_factory=threading.Event)
    """The broker has answered it, or never will."""
    answers: list[bytes] = field(default_factory=list)


def late(delay_secs: float = 0.0, gate: threading.Event | None = None) -> Fault:
    """The client's connection is reset at once; the request reaches the broker afterwards."""
    return Fault(reset=True, delay_secs=delay_secs, gate=gate)


def slow(delay_secs: float = 0.0, gate: threading.Event | None = None) -> Fault:
    """The request is held back, and the connection stays."""
    return Fault(delay_secs=delay_secs, gate=gate)


def answer_lost() -> Fault:
    """The broker acts, and the client's connection is reset before it hears of it."""
    return Fault(answered=False)


def dropped() -> Fault:
    """The client's connection is reset, and the request never arrives."""
    return Fault(reset=True, copies=0)


def twice() -> Fault:
    """The broker gets the request twice, one right after the other; the second answer is not passed on."""
    return Fault(copies=2)


class KafkaProxy:
    """
    A proxy before the broker's listener at *target*; as a context manager it runs.

    What is planned at one of several that are *beside* each other happens to the first such request at any of them.
    """

    def __init__(self, target: int, *, beside: "KafkaProxy | None" = None) -> None:
        self.port, self.target = free_port(), target
        self.counts: Counter[int] = Counter()
        """Requests that came, by API key."""
        self._plans: list[tuple[int, bytes, Fault]] = [] if beside is None else beside._plans
        self._lock = threading.Lock() if beside is None else beside._lock
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka proxy", daemon=True)
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"kafka://{self.address}"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def plan(self, api: Api, fault: Fault, *, containing: bytes = b"") -> Fault:
        """Let *fault* happen to the next request of *api* that contains these bytes; return it."""
        with self._lock:
            self._plans.append((api, containing, fault))
        return fault

    def forget(self) -> None:
        """Let no fault happen that has not."""
        with self._lock:
            self._plans.clear()

    def _fault_of(self, api: int, frame: bytes) -> Fault | None:
        if not self._plans:
            return None
        with self._lock:
            for number, (key, containing, fault) in enumerate(self._plans):
                if key == api and containing in frame:
                    del self._plans[number]
                    return fault
        return None

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=LIMIT_BYTES)

    async def _stop(self) -> None:
        self._server.close()
        for serving in self._serving:
            serving.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.current_task()
        self._serving.add(serving)
        try:
            await _Connection(self, reader, writer).run(self.target)
        except (OSError, EOFError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._serving.discard(serving)


class _Connection:
    """One connection of a client, and one to the broker for it."""

    def __init__(self, proxy: KafkaProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._waiting: deque[tuple[Fault | None, bool]] = deque()
        """For each request that the broker has not answered: its fault, and whether the answer is passed on."""
        self._answered = asyncio.Event()

    async def run(self, target: int) -> None:
        broker_reader, self._broker = await asyncio.open_connection("127.0.0.1", target, limit=LIMIT_BYTES)
        answers = asyncio.create_task(self._pass_answers(broker_reader))
        try:
            with contextlib.suppress(OSError, EOFError):
                while True:
                    await self._pass_request(await _frame(self._reader))
            async with asyncio.timeout(PATIENCE_SECS):  # what is on its way arrives, also when the client is gone
                while self._waiting and not answers.done():
                    self._answered.clear()
                    await self._answered.wait()
        finally:
            answers.cancel()
            for fault, _ in self._waiting:
                if fault is not None:
                    fault.over.set()
            self._broker.transport.abort()
            self._writer.transport.abort()

    async def _pass_request(self, frame: bytes) -> None:
        api, _ = _HEAD.unpack_from(frame, _LENGTH.size)
        self._proxy.counts[api] += 1
        fault = self._proxy._fault_of(api, frame)
        copies = 1
        if fault is None:
            self._waiting.append((None, True))
        else:
            fault.begun.set()
            if fault.reset:
                self._reset_client()
            await asyncio.sleep(fault.delay_secs)
            await _opened(fault.gate)
            copies = fault.copies
            self._waiting += [(fault if not number else None, not number) for number in range(copies)]
            if not copies:
                fault.over.set()
        self._broker.write(frame * copies)
        await self._broker.drain()

    async def _pass_answers(self, broker: asyncio.StreamReader) -> None:
        try:
            while True:
                frame = await _frame(broker)
                fault, passed = self._waiting.popleft()
                if fault is not None:
                    fault.answers.append(frame[_LENGTH.size :])
                    fault.over.set()
                    if not fault.answered:
                        self._reset_client()
                if passed and not self._writer.is_closing():
                    self._writer.write(frame)
                self._answered.set()
        except (OSError, EOFError):
            self._writer.transport.abort()
        finally:
            self._answered.set()

    def _reset_client(self) -> None:
        connection = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    length = await reader.readexactly(_LENGTH.size)
    return length + await reader.readexactly(*_LENGTH.unpack(length))


async def _opened(gate: threading.Event | None) -> None:
    async with asyncio.timeout(PATIENCE_SECS):
        while gate is not None and not gate.is_set():  # noqa: ASYNC110  # another thread opens it
            await asyncio.sleep(0.002)
