"""Closes clients of aiokafka."""

import asyncio

from aiokafka import AIOKafkaConsumer

from connector.kafka.internals import client_of, fetches


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """
    Close *consumer*, whatever its fetches do.

    While a broker is away, aiokafka 0.14.0 cancels its own fetches, and raises that cancellation at whoever closes the
    consumer, whose connections then stay open.  Nobody would hear of it: it looks as if the caller had been cancelled.

    Raises:
        asyncio.CancelledError: the caller was cancelled.
    """
    task = asyncio.current_task()
    asked = 0 if task is None else task.cancelling()
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        if task is None or task.cancelling() > asked:
            raise
        left = fetches(consumer)
        for fetch in left:
            fetch.cancel()
        if left:
            await asyncio.wait(left)
        await client_of(consumer).close()
