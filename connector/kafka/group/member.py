"""
Keeps this worker in the consumer group while Kafka refuses it.

aiokafka raises an error of the group in the consumer's next poll, and stops until then.  Faust polls in another way,
and there aiokafka 0.14 fails over a name of its own, so the worker would be silent for ever.  A person can grant a
missing right, so this module reports the reason and makes the request again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aiokafka.consumer.fetcher import FetchError
from aiokafka.errors import InconsistentGroupProtocolError, InvalidSessionTimeoutError, KafkaError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer
from faust.transport.drivers.aiokafka import logger as driver_logger

from connector.config.names import Names
from connector.kafka import internals
from connector.kafka.rights import READ, REFUSALS, refused
from connector.telemetry.obstacles import Obstacles

RETRY_SECS = 3.0
QUIET_SECS = 5.0
"""After this time without a refused fetch, fetches count as allowed (seconds)."""

GROUP_PART, TOPIC_PART = "group membership", "task assignment"

T = TypeVar("T")


def group_refusal(exc: BaseException, user: str | None, group_id: str) -> str:
    """Return a sentence that says why the group *group_id* refuses this worker, with the cure where there is one."""
    if missing := refused(exc, user, READ, topic=Names(group_id).tasks, group_id=group_id):
        return str(missing)
    if isinstance(exc, InvalidSessionTimeoutError):
        return (
            f"Kafka does not take this worker's session timeout in the group {group_id}: set"
            " CONNECTOR_BROKER_SESSION_TIMEOUT to what group.min.session.timeout.ms and group.max.session.timeout.ms of"
            " the brokers allow."
        )
    if isinstance(exc, InconsistentGroupProtocolError):
        return (
            f"The members of the group {group_id} are other programs than this connector: set CONNECTOR_GROUP_ID to a"
            " name that only the connector's workers use."
        )
    return f"The group {group_id} refuses this worker: {type(exc).__name__}: {exc}"


def keep_trying(
    coordinator: Any, obstacles: Obstacles, sentence: Callable[[BaseException], str], *, retry_secs: float
) -> None:
    """Let *coordinator*, aiokafka's for the group, tell *obstacles* why Kafka refuses it, and retry after a pause."""
    heartbeat, closing = internals.heartbeat(coordinator), internals.closing(coordinator)

    async def wait(exc: BaseException) -> None:
        obstacles.meet(GROUP_PART, sentence(exc))
        await asyncio.wait([closing], timeout=retry_secs)
        _revive(coordinator)

    async def beat() -> bool:
        alive = await heartbeat()
        if alive:
            obstacles.pass_(GROUP_PART)
        return alive

    internals.take_over(coordinator, wait, beat)


def _revive(coordinator: Any) -> None:
    """Start those tasks of *coordinator* again that an error has ended."""
    if _has_failed(internals.heartbeat_task(coordinator)):
        internals.beat_again(coordinator)
    if _has_failed(internals.refresh_task(coordinator)):
        internals.refresh_again(coordinator)


def _has_failed(task: "asyncio.Task[Any] | None") -> bool:
    return task is not None and task.done() and not task.cancelled() and task.exception() is not None


class MemberThread(AIOKafkaConsumerThread):
    """Faust's thread of the group's consumer; while Kafka refuses its requests, it waits and tries again."""

    mundane_level = "debug"  # our events say what an operator wants to know
    obstacles: Obstacles
    user: str | None
    _refused_at = 0.0

    def _reason(self, exc: BaseException) -> str:
        return group_refusal(exc, self.user, str(self.app.conf.id))

    async def on_start(self) -> None:
        await super().on_start()
        coordinator = internals.coordinator_of(self._ensure_consumer())
        keep_trying(coordinator, self.obstacles, self._reason, retry_secs=RETRY_SECS)

    async def seek_to_committed(self) -> Mapping[Any, int]:
        """Seek to the committed offsets; wait while Kafka refuses to tell them."""
        return await self._patiently(super().seek_to_committed)

    async def _fetch_records(self, *args: Any, **kwargs: Any) -> Any:
        try:
            records = await super()._fetch_records(*args, **kwargs)
        except KafkaError as exc:
            self._drop_errors(type(exc))
            await self._wait(exc)
            return {}
        if self._refused_at and time.monotonic() - self._refused_at > QUIET_SECS:
            self._refused_at = 0.0
            self.obstacles.pass_(TOPIC_PART)
        return records

    def _drop_errors(self, kind: type[KafkaError]) -> None:
        """Forget the errors of this *kind* that other partitions have: each poll would raise one of them."""
        fetched = internals.fetched(self._ensure_consumer())
        for partition in [tp for tp, records in fetched.items() if _is(kind, records)]:
            del fetched[partition]

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await ask()
            except KafkaError as exc:
                await self._wait(exc)

    async def _wait(self, exc: KafkaError) -> None:
        """Wait, so that the caller can try again; raise *exc* if it is no missing right, or if this thread stops."""
        if self.should_stop or not isinstance(exc, REFUSALS):
            raise exc
        self._refused_at = time.monotonic()
        self.obstacles.meet(TOPIC_PART, self._reason(exc))
        await asyncio.sleep(RETRY_SECS)


def _is(kind: type[KafkaError], fetched: object) -> bool:
    return isinstance(fetched, FetchError) and isinstance(internals.error_of(fetched), kind)


def member(obstacles: Obstacles, user: str | None) -> type[Consumer]:
    """Return Faust's consumer with a `MemberThread` that tells *obstacles* what Kafka does not let *user* do."""

    class Thread(MemberThread):
        pass

    Thread.obstacles, Thread.user = obstacles, user

    class Member(Consumer):
        mundane_level = "debug"

        def _new_consumer_thread(self) -> MemberThread:
            return Thread(self, loop=self.loop, beacon=self.beacon)

    Member.logger = Thread.logger = driver_logger  # mode names a class's logger after its module
    return Member
