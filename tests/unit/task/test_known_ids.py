"""The ids that only the ledger in Kafka holds are loaded into the one in memory."""

import asyncio

from connector.coverage.ledger import YOUNG_IDS, Ledger
from connector.records.snowflake import first_id
from connector.task.known_ids import KnownIds
from tests.unit.fakes import MADE_MS


class Reading:
    """A sink whose ledger holds *ids*, and what was asked of it."""

    def __init__(self, ids):
        self.ids, self.asked = ids, []

    async def read_ledger(self, connector, from_ms, to_ms, *, late=False):
        self.asked.append((from_ms, to_ms, late))
        return self.ids


async def test_only_ids_up_to_the_end():
    """Kafka's records hold younger ids beside those of the interval; they would only take memory."""
    ledger, inside, beyond = Ledger(), first_id(MADE_MS) - 1, first_id(MADE_MS)
    sink = Reading([inside, beyond])
    await KnownIds("posts", ledger, sink).load(5, MADE_MS, late=True)

    assert [(5, MADE_MS, True)] == sink.asked
    assert (True, False) == (inside in ledger, beyond in ledger)


async def test_to_the_newest():
    """Without an end all are loaded."""
    ledger, sink = Ledger(), Reading([7, 2**63 - 1])
    await KnownIds("posts", ledger, sink).load(5, None)

    assert [(5, None, False)] == sink.asked
    assert 7 in ledger
    assert 2**63 - 1 in ledger


async def test_loading_millions_lets_others_run():
    """The event loop takes turns between the pieces, so that heartbeats go out."""
    ledger, turns = Ledger(), 0
    loading = asyncio.create_task(KnownIds("posts", ledger, Reading(range(1, 5 * YOUNG_IDS))).load(0, None))
    while not loading.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns >= 5
    assert 5 * YOUNG_IDS - 1 == len(ledger)
