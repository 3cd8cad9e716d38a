"""
Watches whether the topics that a worker uses still exist.

Without it nobody would report a deleted topic: a client expects the topic's metadata at any moment, so deliveries wait.
The watch makes a deleted topic again if this worker had made it, or if it is one of the group's own, and reports that
its records are lost.  It waits for an output topic that somebody else had made, as it cannot know its settings.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError
from mode import Service

from connector.config.names import Names
from connector.errors import BrokerUnsuitable, RightMissing
from connector.kafka.brokers import KafkaCluster
from connector.kafka.internals import ask
from connector.kafka.metadata import metadata_of
from connector.kafka.topics import TopicSpec, declare
from connector.telemetry.events.event import Event
from connector.telemetry.events.kafka import TopicBack, TopicMissing

WATCH_SECS = 3.0
CONFIRM_SECS = 1.0
"""Wait before an absent topic is asked for again (seconds): a broker may hear of a new topic later than the others."""
REQUEST_TIMEOUT_MS = 10_000
_NOT_MADE = ". It cannot be made again: "


class TopicWatch(Service):
    """
    Watches the topics of *specs*, and makes deleted ones in `made` and in *own* again; without *create* it makes none.

    *own* has a sentence on each of the group's own topics: what was in it, and so what its loss means.  *on_made* is
    called with the name of each topic that was made again.
    """

    mundane_level = "debug"  # our events say what an operator wants to know

    def __init__(
        self,
        cluster: KafkaCluster,
        specs: Sequence[TopicSpec],
        own: Mapping[str, str],
        emit: Callable[[Event], None],
        *,
        on_made: Callable[[str], None],
        create: bool = True,
    ) -> None:
        super().__init__()
        self.made: set[str] = set()
        """The topics that this worker has made."""
        self.troubles: dict[str, str] = {}
        """A sentence on each topic that is missing, by topic."""
        self._cluster, self._own, self._emit, self._on_made = cluster, own, emit, on_made
        self._create = create
        self._specs = {spec.name: spec for spec in specs}

    def watch(self, specs: Iterable[TopicSpec]) -> None:
        """Watch the topics of *specs*, too."""
        self._specs |= {spec.name: spec for spec in specs}

    @Service.task
    async def _watch(self) -> None:
        while not self.should_stop:
            admin = AIOKafkaAdminClient(**self._cluster.options(), request_timeout_ms=REQUEST_TIMEOUT_MS)
            try:
                await admin.start()
                while not self.should_stop:
                    await self.sleep(WATCH_SECS)
                    await self.look(admin)
            except (KafkaError, OSError, TimeoutError):
                await self.sleep(WATCH_SECS)  # Kafka is away: other services report that
            finally:
                await admin.close()

    async def look(self, admin: AIOKafkaAdminClient) -> None:
        """Look once for deleted topics, report them, and make again those that the worker may make."""
        absent = await self._absent(admin, self._specs)
        for name in self.troubles.keys() - absent:
            del self.troubles[name]
            self._emit(TopicBack(topic=name))
        fresh = absent - self.troubles.keys()
        if fresh:
            await self.sleep(CONFIRM_SECS)
            fresh = await self._absent(admin, fresh)
        for name in sorted(fresh):
            self._lose(name)
        for name in sorted(name for name in self.troubles if name in self._own or name in self.made):
            await self._make(admin, name)

    async def _absent(self, admin: AIOKafkaAdminClient, names: Collection[str]) -> set[str]:
        answer = await ask(admin, metadata_of(list(names)))  # the admin client's own request would create them
        unknown = UnknownTopicOrPartitionError.errno
        return {topic["topic"] for topic in answer.to_object()["topics"] if topic["error_code"] == unknown}

    def _lose(self, name: str) -> None:
        spec = self._specs[name]
        if meaning := self._own.get(name):
            self.troubles[name] = f"The topic {name} was deleted: {meaning}"
        elif name in self.made:
            self.troubles[name] = f"The topic {name} was deleted, and what was in it is gone; it is made again"
        else:
            self.troubles[name] = (
                f"The topic {name} was deleted, and what was in it is gone. Deliveries wait until it is there again: "
                f"create it (it was not this worker that made it), or restart the worker, which makes it with "
                f"{spec.partitions} partitions"
            )
        self._emit(TopicMissing(topic=name, reason=self.troubles[name]))

    async def _make(self, admin: AIOKafkaAdminClient, name: str) -> None:
        try:
            await declare(admin, [self._specs[name]], self._emit, create=self._create)
        except (BrokerUnsuitable, RightMissing) as exc:  # the broker refuses it, or it exists with other settings
            self.troubles[name] = (
                f"{self.troubles[name].split('. It cannot be made again')[0]}. It cannot be made again: {exc}"
            )
            return
        del self.troubles[name]
        self._on_made(name)


def meanings(group_id: str) -> dict[str, str]:
    """Return a sentence for each of a group's own topics: what was in it, and so what its loss means."""
    names = Names(group_id)
    return {
        names.offsets: (
            "what each task has covered was in it. Tasks that run write it again, from memory, and go on; a task that "
            "does not run at the moment has lost its past and begins anew, without a gap before"
        ),
        names.ledger: (
            "the ids of delivered posts were in it. Tasks that run know theirs; after a restart, what X repeats of the "
            "last minutes, or a repair finds at the edges of a gap, may be delivered twice"
        ),
        names.statuses: "the tasks' states were in it, and are told again when they change",
        names.configs: (
            "the connectors were in it, and requests about gaps. Workers that run write the connectors again, from "
            "memory; make requests about gaps again that are not carried out"
        ),
        names.history: (
            "what had happened until now was in it, for the page and for nothing else: posts, offsets and gaps are not "
            "concerned"
        ),
        names.tasks: "nothing was in it, but the group spreads its tasks by it and stops them until it is back",
    }
