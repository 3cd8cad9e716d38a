"""
Writes to the topic `<group>-configs`: one worker at a time, each change decided on all that was written before it.

Kafka has no write with a condition.  Its transactions give one: all workers write with the same transactional id, so a
worker that begins to write fences the one before, and a fenced worker's records are never read.

    fast:  decide ─▶ records and a mark ─▶ commit        while nobody else has written since our last change
    else:  a new producer (fences the others) ─▶ a mark ─▶ wait until we have read it ─▶ decide ─▶ …

A commit that succeeds so proves that *decide* knew everything.  Of a commit that was not answered, or was refused, the
outcome is not known: it may have taken effect just before another worker began.  Then the mark tells: it is another
with each change, and after the next worker's mark nothing of it can follow.  Brokers without transactions prove
nothing: of two changes at the same moment on two workers the later one wins.
"""

import asyncio
from collections.abc import Callable, Sequence
from secrets import token_hex

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from mode import Service

from connector.cluster.configs import Record
from connector.cluster.refused import Refused, Unavailable
from connector.kafka.brokers import KafkaCluster
from connector.kafka.delivery.once import Unanswered
from connector.kafka.delivery.record_writer import FENCED, RecordWriter
from connector.kafka.rights import REFUSALS, WRITE, refused
from connector.kafka.state.compacted_log import CompactedLog
from connector.kafka.topics import LARGE_RECORD_BYTES
from connector.task.endings import to_the_end

Decide = Callable[[], Sequence[Record]]

WRITE_SECS = 20.0
"""The most seconds for one change: Connect's clients wait 30 s and more, some of them 5 s."""

FRESH_SECS = 5.0
"""The most seconds until it is known what others have written, before a change is decided."""

ATTEMPTS = 8
"""So often another worker may come between before the change is given up."""

MARK = b"writer"
"""The key of the marks."""


class ConfigWriter(Service):
    """
    Writes changes of the connectors; *log* follows the topic, and has to be applied to what *decide* looks at.

    `take_mark` has to be called with each value of the key `MARK`.  *transactional_id* is the same for all workers of
    the group; *transactions* says whether the broker has them.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        cluster: KafkaCluster,
        log: CompactedLog,
        *,
        transactional_id: str,
        transactions: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._cluster, self._log, self._transactional_id = cluster, log, transactional_id
        self._transactions = transactions
        self._lock = asyncio.Lock()
        self._writer: RecordWriter | None = None
        self._doubtful: bytes | None = None
        """The mark of a change whose outcome is not known."""
        self._took_effect = False

    def take_mark(self, mark: bytes | None) -> None:
        """Take note of a *mark* that was read."""
        if mark is not None and mark == self._doubtful:
            self._took_effect = True

    async def fresh(self) -> None:
        """
        Wait until this worker knows every change that was confirmed to anybody before this call.

        Raises:
            Unavailable: Kafka does not answer; nothing was changed.
        """
        try:
            async with asyncio.timeout(FRESH_SECS):
                await self._log.fresh()
        except (KafkaError, OSError, TimeoutError) as exc:
            raise Unavailable(f"Kafka does not answer: nothing was changed ({_words(exc)})") from exc

    async def write(self, decide: Decide) -> None:
        """
        Write what *decide* returns, and return when it is durable and this worker has read it.

        *decide* looks at what is known, and may be asked again when another worker came between; what it raises is
        raised, and nothing is written.

        Raises:
            Unavailable: Kafka does not answer; whether the change is in the topic is not known.
            Refused: the change is larger than the topic takes.
        """
        try:
            async with asyncio.timeout(WRITE_SECS), self._lock:
                await self._write_or_close(decide)
        except TimeoutError as exc:
            sentence = f"Kafka has not confirmed within {WRITE_SECS:g} s: look whether the change is there"
            raise Unavailable(sentence) from exc
        except MessageSizeTooLargeError as exc:
            raise Refused(
                f"The configuration is larger than a record of the topic {self._log.topic} may be: change it with"
                f" kafka-configs.sh --alter --topic {self._log.topic} --add-config"
                f" segment.bytes={LARGE_RECORD_BYTES},max.message.bytes={LARGE_RECORD_BYTES}"
            ) from exc
        except (KafkaError, OSError) as exc:
            topic, transactional_id = self._log.topic, self._transactional_id
            missing = refused(exc, self._cluster.user, WRITE, topic=topic, transactional_id=transactional_id)
            reason = str(missing) if missing else f"Kafka has not confirmed the change: {_words(exc)}"
            raise Unavailable(reason) from exc

    async def on_stop(self) -> None:
        """Let go of the producer."""
        await self._close()

    async def _write_or_close(self, decide: Decide) -> None:
        self._doubtful, self._took_effect = None, False
        try:
            await self._write(decide)
        except Refused:  # decided against: the producer is as good as before
            raise
        except BaseException:
            await to_the_end(self._close())
            raise

    async def _write(self, decide: Decide) -> None:
        for attempt in range(ATTEMPTS):
            used = self._writer is not None
            try:
                writer = self._writer or await self._begin_anew()
                if self._took_effect:
                    return
                if records := decide():
                    await self._read(await self._send(writer, records))
            except KafkaError as exc:
                await self._close()
                if not _may_pass(exc, used=used, marked=self._transactions()) or attempt + 1 == ATTEMPTS:
                    raise
            else:
                return

    async def _begin_anew(self) -> RecordWriter:
        """Fence the other workers, and read all that they have written."""
        writer = RecordWriter(self._cluster, self._transactional_id if self._transactions() else None)
        try:
            await writer.open()
            await self._read(await writer.write(self._log.topic, 0, [_mark()]))
        except BaseException:
            await to_the_end(writer.close())
            raise
        self._writer = writer  # only now: whoever finds it here has read what came before
        return writer

    async def _send(self, writer: RecordWriter, records: Sequence[Record]) -> int:
        mark = _mark()
        self._doubtful = mark[1]
        written = [(name.encode(), value) for name, value in records]
        return await writer.write(self._log.topic, 0, [*written, mark] if self._transactions() else written)

    async def _read(self, offset: int) -> None:
        await self._log.reach(0, offset)

    async def _close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.close()


def _mark() -> tuple[bytes, bytes]:
    return MARK, token_hex(8).encode()


def _may_pass(exc: KafkaError, *, used: bool, marked: bool) -> bool:
    """
    Return whether to begin anew after *exc*.

    If changes are *marked*, whoever begins anew finds out whether this one is in the topic.  Kafka 4.1 may answer the
    end of a transaction with UNKNOWN_SERVER_ERROR while another worker fences this one (seen), and aiokafka fails the
    records with an error that names no cause.  Else only a writer that had been *used* is tried once more.
    """
    if isinstance(exc, (*REFUSALS, MessageSizeTooLargeError)):
        return False
    return marked or used or isinstance(exc, (*FENCED, Unanswered))


def _words(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
