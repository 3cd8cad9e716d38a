"""What of a batch can be encoded?  A topic that cannot be used stops its connector, and leaves the others alone."""

from typing import Any

from connector.errors import BrokerUnsuitable
from connector.records.record import Batch
from connector.task.ports import Sink


async def encode_fit(sink: Sink, batch: Batch) -> tuple[Any, dict[str, BrokerUnsuitable]]:
    """
    Encode *batch* without the shares of connectors whose topics cannot be used; return why not, by connector.

    Raises:
        BrokerUnsuitable: it is none of the shares by itself.
        DeliveryFailed: Kafka does not answer.
    """
    unfit: dict[str, BrokerUnsuitable] = {}
    try:
        return await sink.encode(batch), unfit
    except BrokerUnsuitable:
        for share in batch.shares:
            try:
                await sink.encode(Batch((share,)))
            except BrokerUnsuitable as error:
                unfit[share.to.connector] = error
        if not unfit:
            raise
    fit = Batch(tuple(share for share in batch.shares if share.to.connector not in unfit))
    return await sink.encode(fit), unfit
