"""The ids of delivered posts: those that the converter looks up, and those that only the ledger in Kafka holds."""

import asyncio
from itertools import islice

from connector.coverage.ledger import YOUNG_IDS, Ledger
from connector.records.snowflake import first_id
from connector.task.ports import Sink

BEYOND_ALL_IDS = 2**64


class KnownIds:
    """Loads ids of *connector* from the ledger in Kafka, which *sink* reads, into *ledger*, which is in memory."""

    def __init__(self, connector: str, ledger: Ledger, sink: Sink) -> None:
        self._connector, self._ledger, self._sink = connector, ledger, sink

    async def load(self, from_ms: int, to_ms: int | None, *, late: bool = False) -> None:
        """
        Load the ids of posts that were made from *from_ms* to *to_ms* (UNIX ms; None: to the newest).

        With *late* also those that a repair delivered long after the posts were made.

        Raises:
            DeliveryFailed: Kafka does not answer, or refuses.
            FatalError: a record of the ledger cannot be read.
        """
        ids = await self._sink.read_ledger(self._connector, from_ms, to_ms, late=late)
        beyond = BEYOND_ALL_IDS if to_ms is None else first_id(to_ms)
        coming = (post_id for post_id in ids if post_id < beyond)
        while some := list(islice(coming, YOUNG_IDS)):
            self._ledger.update(some)
            await asyncio.sleep(0)  # millions of ids take seconds
