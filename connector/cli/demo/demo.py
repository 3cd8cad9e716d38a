"""One run of the demo: its processes, the faults, and what the topic has in the end."""

import asyncio
import contextlib
import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from connector.cli.demo.children import Child, ChildEnded, Children
from connector.cli.demo.failed import BrokerRefuses, DemoFailed
from connector.cli.demo.kafka.broker import prepare
from connector.cli.demo.plan import EMBEDDED, FAULTS, GIVEN, KILLS, NAME, REAL, Fault, Plan
from connector.cli.demo.proof import Proof, compare, forget, keys_of
from connector.cli.demo.screen import Figures, Screen, sentence
from connector.cli.demo.surroundings import (
    BROKER_PORT,
    CONTROLLER_PORT,
    REAL_START_SECS,
    SIMULATOR_PORT,
    START_SECS,
    WEB_PORT,
    broker_command,
    free_port,
    listening,
    surroundings,
)
from connector.cli.exits import EX_FAILED, EX_OK
from connector.config.load import Loaded, load
from connector.kafka.brokers import KafkaCluster, cluster_of
from connector.kafka.gate.gate import REQUEST_TIMEOUT_MS
from connector.kafka.login.refusals import words_of
from connector.simulator import SimulatorSettings

HASHTAGS = ("murmuration", "starling")

FIRST_FAULT_SECS = 10.0
NEXT_FAULT_SECS = 20.0
"""X's search has a post when it is 30 s old: a gap is closed about 35 s after its fault, while the next one is open."""

CLOSED_SECS = 90.0
"""How long the demo waits for the repair of its gaps before it goes on."""

SETTLE_SECS = 2
"""`settle.secs` of the demo: the simulator delivers in order, and so the gaps of two faults do not touch."""

WARNING_SECS = 2.0
"""Time between the announcement of a fault and the fault."""

METRICS_SECS = 0.5
DRAIN_SECS = 3.0
WORKER_STOP_SECS = 25.0  # more than the worker's stop timeout of 20 s


class Demo:
    """One run of the demo; its processes run in *folder*."""

    def __init__(self, plan: Plan, screen: Screen, folder: Path, http: aiohttp.ClientSession) -> None:
        self._plan, self._screen, self._http = plan, screen, http
        self._began = time.monotonic()
        self._folder = folder
        self._children = Children(folder)
        self._kind = plan.kind
        self._group = f"murmuration-{NAME}-{secrets.token_hex(3)}" if self._kind == GIVEN else NAME
        self._topic = f"{self._group}-posts"
        self._environ = surroundings(os.environ, keep_kafka=self._kind == GIVEN)
        self._settings: dict[str, str] = {}
        self._broker_command: Sequence[str] = ()
        self._broker_port = 0
        self._broker: Child | None = None
        self._worker: Child | None = None
        self._loaded: Loaded
        self._web = self._simulator = ""
        self._posts = 0
        self._figures: Figures | None = None
        self._before: Figures | None = None
        self._arrived, self._connected = asyncio.Event(), asyncio.Event()
        self._open_gaps, self._no_gap = 0, asyncio.Event()
        self._no_gap.set()
        self._kafka_away = False
        self._task_failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def run(self, stopping: asyncio.Future[str]) -> int:
        """Run until *stopping*, the duration, or a failure; return the exit code."""
        body = asyncio.create_task(self._play())
        meter = asyncio.create_task(self._measure())
        ends: set[asyncio.Future[Any]] = {body, stopping, self._children.failed, self._task_failed}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._children.failed.done():
                return self._mourn(self._children.failed.result())
            if self._task_failed.done():
                raise DemoFailed(f"The task failed: {self._task_failed.result()}")
            if body.done():
                body.result()
            self._screen.say(f"\n{stopping.result() if stopping.done() else 'The time is over'}: stopping.", "bold")
            body.cancel()
            await asyncio.wait([body])
            return await self._finish()
        finally:
            body.cancel()
            meter.cancel()
            await asyncio.gather(body, meter, return_exceptions=True)
            await self._children.close()

    def kill(self) -> None:
        """End all processes at once."""
        self._children.kill()

    # -- the start

    async def _play(self) -> None:
        await self._start()
        patience = REAL_START_SECS if self._kind == REAL else START_SECS
        try:
            async with asyncio.timeout(patience):
                await self._arrived.wait()
        except TimeoutError:
            raise DemoFailed(f"No post within {patience:g} s: {await self._reasons()}") from None
        self._screen.say(f"First post {time.monotonic() - self._began:.1f} s after the start.\n", "bold")
        story = self._tell()
        if self._plan.duration is None:
            await story
            return await asyncio.Event().wait() and None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._plan.duration):
                await story
                await asyncio.Event().wait()
        return None

    async def _start(self) -> None:
        self._broker_port = free_port(BROKER_PORT)
        broker = self._plan.broker or f"kafka://127.0.0.1:{self._broker_port}"
        if self._kind == EMBEDDED:
            self._broker_command = broker_command(self._broker_port)
        elif self._kind == REAL:
            self._broker_command = await self._real_kafka()
        if self._broker_command:
            await self._start_broker()
        web_port, simulator_port = free_port(WEB_PORT), free_port(SIMULATOR_PORT)
        self._web, self._simulator = f"http://127.0.0.1:{web_port}", f"http://127.0.0.1:{simulator_port}"
        self._settings = self._settings_of(broker, web_port)
        self._loaded = load(self._settings, self._folder)
        if self._kind == GIVEN:
            await self._knock()
        simulator = ["-m", "connector.simulator", "--port", str(simulator_port), "--rate", f"{self._plan.rate:g}"]
        await self._children.start("simulator", [sys.executable, *simulator], self._environ)
        self._introduce()
        await listening(simulator_port, "simulator")
        await self._start_worker()

    async def _real_kafka(self) -> Sequence[str]:
        if self._plan.kafka is None:
            self._screen.say(
                f"There is no embedded broker here ({platform.system()} {platform.machine()}): a real Kafka is used."
            )
        kafka = await prepare(
            self._folder / "kafka",
            self._broker_port,
            free_port(CONTROLLER_PORT),
            environ=os.environ,
            repository=self._plan.repository,
            say=self._screen.say,
        )
        self._screen.say(f"Apache Kafka {kafka.version} starts, with {kafka.java} ...\n")
        return kafka.command

    async def _start_broker(self) -> None:
        self._broker = await self._children.start("broker", self._broker_command, self._environ)
        await listening(self._broker_port, "broker", REAL_START_SECS)

    async def _start_worker(self) -> None:
        command = [sys.executable, "-m", "connector", "worker"]
        self._worker = await self._children.start(
            "worker", command, self._settings, on_out=self._on_output, on_err=self._on_log
        )

    async def _knock(self) -> None:
        """Check that the broker accepts our login, before anything else starts."""
        admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await admin.start()
        except (KafkaError, OSError, TimeoutError) as error:
            raise BrokerRefuses(words_of(error)) from None
        finally:
            await admin.close()

    def _settings_of(self, broker: str, web_port: int) -> dict[str, str]:
        own = {
            "broker_url": broker,
            "group_id": self._group,
            "web_port": web_port,
            "log_format": "json",
            "name": NAME,
            "topic": self._topic,
            "hashtags": ",".join(HASHTAGS),
            "expansions": "author_id",
            "user_fields": "username",
            "x_api_url": self._simulator,
            "x_bearer_token": SimulatorSettings().token,
            "print": "true",
            "settle_secs": SETTLE_SECS,
            "delivery": "exactly_once",
        }
        if self._kind == REAL:
            # A worker that was killed is missed this long after its last sign of life.
            own |= {"broker_session_timeout": 6, "broker_heartbeat_interval": 1}
        if self._kind == EMBEDDED:
            # Joining its group takes half a session timeout, and it has no transactions.
            own |= {
                "broker_session_timeout": 2,
                "broker_heartbeat_interval": 0.5,
                "delivery": "at_least_once",
            }
        return {**self._environ, **{f"CONNECTOR_{key.upper()}": str(value) for key, value in own.items()}}

    def _introduce(self) -> None:
        broker = self._loaded.worker.broker_url_redacted
        delivery = "exactly_once: posts and source offset in one transaction"
        if self._kind == REAL:
            broker += "  Apache Kafka, of this demo"
        if self._kind == EMBEDDED:
            broker += "  embedded, in memory"
            delivery = (
                "at_least_once, for the embedded broker has no transactions; with --kafka real it is exactly_once"
            )
        rules = " and ".join(f"#{tag}" for tag in HASHTAGS)
        self._screen.say("Murmuration: from a stream like X's into Kafka. Every post is synthetic.\n", "bold")
        self._screen.say(
            f"  broker    {broker}\n"
            f"  X API     {self._simulator}  simulated, {self._plan.rate:g} posts/s for {rules}\n"
            f"  topic     {self._topic}\n"
            f"  delivery  {delivery}\n"
            f"  look at   {self._web}/  the page, in a browser\n"
            f"            {self._web}/ready\n"
            f"            {self._web}/metrics\n"
            f"            {self._web}/connectors/{NAME}/status\n"
            "  lag       from the creation of a post to its acknowledgement by the broker\n"
            "\nCtrl-C ends it. The worker starts ...\n"
        )

    # -- the worker's output

    def _on_output(self, line: str) -> None:
        if line[:1].isdigit():  # a printed post begins with its time
            self._posts += 1
            self._arrived.set()
            self._screen.post(line)

    def _on_log(self, line: str) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = {}
        if self._worker is not None:
            self._worker.tail.append(line)
        if event.get("event") == "stream.connected":
            self._connected.set()
        elif event.get("event") == "task.failed" and not self._task_failed.done():
            self._task_failed.set_result(f"{event['error']}: {event['reason']}")
        if event.get("event") in {"gap.opened", "gap.repaired"}:
            self._note_gap(1 if event["event"] == "gap.opened" else -1)
        if self._kafka_away and "logger" in event:  # hundreds of lines on the killed broker
            return
        if said := sentence(event):
            self._screen.worker_says(said)

    def _note_gap(self, more: int) -> None:
        self._open_gaps = max(self._open_gaps + more, 0)
        if self._open_gaps:
            self._no_gap.clear()
        else:
            self._no_gap.set()

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(METRICS_SECS)
            await self._look()

    async def _look(self) -> None:
        if not self._posts:
            return
        before = self._before
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self._http.get(f"{self._web}/metrics") as answer:
                found = Figures.of(await answer.text(), time.monotonic()).after(before)
            if before is self._before:  # else this worker was killed meanwhile
                self._figures = found
                self._screen.figures(found)

    async def _reasons(self) -> str:
        try:
            async with self._http.get(f"{self._web}/ready") as answer:
                return "; ".join((await answer.json())["reasons"]) or "the worker is ready, and nothing comes."
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"the worker does not answer ({type(error).__name__})."

    # -- the faults

    async def _tell(self) -> None:
        if not self._plan.faults:
            return
        await asyncio.sleep(FIRST_FAULT_SECS)
        for fault in (*FAULTS, *(KILLS if self._kind == REAL else ())):
            if fault.kills:  # so that what it misses is seen, and is found before the next one
                await self._closed()
            await self._suffer(fault)
            await asyncio.sleep(NEXT_FAULT_SECS)
        await self._closed()
        self._screen.say("\nThat was the last fault. Posts go on until Ctrl-C.", "bold")

    async def _closed(self) -> None:
        """Wait until no gap is open, but not for ever."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSED_SECS):
                await self._no_gap.wait()

    async def _suffer(self, fault: Fault) -> None:
        self._screen.announce(f"A fault: in {WARNING_SECS:g} s {fault.story}.")
        await asyncio.sleep(WARNING_SECS)
        missed = (await self._state())["emissions"]["missed"]
        began = time.monotonic()
        if fault.kills == "broker":
            await self._kill_broker()
            self._arrived.clear()
            await self._arrived.wait()
            self._kafka_away = False
            self._screen.say(f"   Posts arrive again after {time.monotonic() - began:.1f} s.\n", "bold")
            return
        self._connected.clear()
        if fault.kills == "worker":
            await self._kill_worker()
        else:
            await self._ask("POST", "/control/faults", dict(fault.body or {}))
        await self._connected.wait()
        connected = time.monotonic()
        self._arrived.clear()
        await self._arrived.wait()
        missed = (await self._state())["emissions"]["missed"] - missed
        self._screen.say(
            f"   Connected again after {connected - began:.2f} s, and posts arrive;"
            f" {missed or 'no'} post{'' if missed == 1 else 's'} matched meanwhile.",
            "bold",
        )
        self._screen.say("   The page shows a gap, which closes once X's search has its posts: after about 35 s.\n")

    async def _mend(self) -> None:
        """Start what was killed and does not run again yet: the demo may end at any time."""
        if self._broker is not None and self._kind == REAL:
            if self._broker.running:
                await listening(self._broker_port, "broker", REAL_START_SECS)
            else:
                await self._broker.ended()  # its port is free then
                await self._start_broker()
        if self._worker is not None and not self._worker.running:
            await self._worker.ended()
            await self._start_worker()

    async def _kill_worker(self) -> None:
        if self._worker is not None:
            self._before = self._figures
            await self._children.strike(self._worker)
        await self._start_worker()

    async def _kill_broker(self) -> None:
        if self._broker is not None:
            self._kafka_away = True
            await self._children.strike(self._broker)
        await self._start_broker()

    # -- the simulator

    async def _ask(self, method: str, path: str, body: object = None) -> str:
        async with self._http.request(method, self._simulator + path, json=body) as answer:
            answer.raise_for_status()
            return await answer.text()

    async def _state(self) -> Any:
        return json.loads(await self._ask("GET", "/control/state"))

    async def _entries(self, path: str) -> list[Any]:
        return [json.loads(line) for line in (await self._ask("GET", path)).splitlines()]

    # -- the end

    async def _finish(self) -> int:
        if self._worker is None or not self._posts:
            await self._children.close()
            self._screen.say("Nothing was delivered yet.")
            return EX_OK
        await self._mend()
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            await self._ask("POST", "/control/rate", {"rate": 0})
            await self._drained()
        code = await self._children.stop(self._worker, WORKER_STOP_SECS)
        proof = await self._prove()
        kept = self._kind != GIVEN or self._plan.keep or await self._forget()
        await self._children.close()
        return self._sum_up(code, proof, kept=kept)

    async def _drained(self) -> None:
        end = time.monotonic() + DRAIN_SECS
        while time.monotonic() < end:
            await self._look()
            if self._figures and self._figures.delivered >= (await self._state())["emissions"]["written"]:
                return
            await asyncio.sleep(0.1)

    async def _prove(self) -> Proof | None:
        try:
            emissions = await self._entries("/control/emissions")
            connections = await self._entries("/control/connections")
            written = {entry["post_id"] for entry in emissions if entry["outcome"] == "written"}
            keys = await keys_of(self._cluster, self._topic, written)
        except (KafkaError, OSError, TimeoutError, aiohttp.ClientError) as error:
            self._screen.say(f"The topic could not be read back: {words_of(error)}")
            return None
        return compare(emissions, connections, keys)

    @property
    def _cluster(self) -> KafkaCluster:
        return cluster_of(self._loaded.worker)

    async def _forget(self) -> bool:
        topics = [self._topic, *self._loaded.worker.names.topics]
        if not await forget(self._cluster, topics):
            self._screen.say(f"The broker did not let the demo delete its topics: {self._group}-*")
            return True
        return False

    def _sum_up(self, code: int, proof: Proof | None, *, kept: bool) -> int:
        reconnects = f"{self._figures.reconnects:.0f}" if self._figures else "?"
        self._screen.say(f"The worker stopped with exit code {code}; reconnects: {reconnects}.")
        if proof:
            self._screen.say("Read back from the topic:", "bold")
            for said in proof.sentences():
                self._screen.say(f"  {said}", "bold green" if proof.holds else "bold red")
        if self._kind == GIVEN:
            self._screen.say(f"The topics {self._group}-* are {'kept' if kept else 'deleted again'}.")
        return EX_OK if code == EX_OK and proof is not None and proof.holds else EX_FAILED

    def _mourn(self, end: ChildEnded) -> int:
        self._screen.say(f"\n{end} Its last lines:", "bold red")
        for line in end.tail:
            self._screen.say(f"  {line}")
        return EX_FAILED
