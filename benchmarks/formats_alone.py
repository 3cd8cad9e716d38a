"""
Measures what each value format with a schema costs alone: `python -m benchmarks.formats_alone FILE`, with lines of X.

The lines are made into posts, and the posts are written by each format: CPU time of the least of several passes.
Where the compiled form writes a line at once, that stands beside, and so does Confluent's serializer for Avro, with a
registry in memory.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from confluent_kafka.schema_registry._async.mock_schema_registry_client import AsyncMockSchemaRegistryClient
from confluent_kafka.schema_registry.avro import AsyncAvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from benchmarks.tables import Text, grid
from connector.formats.post.resolving import post_of
from connector.formats.schemas.form import writer_of

FORMATS = ("avro", "json_schema", "protobuf")
PASSES = 7


def measured(lines: Sequence[bytes]) -> Text:
    """Return what it costs to write the posts of *lines* in each format, as a table."""
    posts = list(map(post_of, lines))
    rows: list[Sequence[str]] = [("", "CPU µs a post", "bytes a post")]
    rows.append(("a line of the feed", "", f"{_mean(lines):,.0f}"))
    rows.append(("line to post", f"{_least(lambda: list(map(post_of, lines)), len(lines)):.1f}", ""))
    for name in FORMATS:
        writer = writer_of(name)
        cost = _least(lambda body=writer.body: list(map(body, posts)), len(posts))
        rows.append((f"post to {name}", f"{cost:.1f}", f"{_mean([writer.body(post) for post in posts]):,.0f}"))
        at_once = writer.at_once(with_raw=False)
        if at_once is not None:
            cost = _least(lambda at_once=at_once: list(map(at_once, lines)), len(lines))
            left = sum(at_once(line) is None for line in lines)
            rows.append((f"line to {name} at once, {left} of {len(lines):,} left to Python", f"{cost:.1f}", ""))
    rows.append(("post to avro, Confluent's serializer", f"{asyncio.run(_confluent(posts)):.1f}", ""))
    return grid(rows)


async def _confluent(posts: Sequence[object]) -> float:
    client = AsyncMockSchemaRegistryClient({"url": "mock://"})
    conf = {"subject.name.strategy.type": "TOPIC"}
    serializer = await AsyncAvroSerializer(client, writer_of("avro").schema.text, conf=conf)
    context = SerializationContext("posts", MessageField.VALUE)
    costs = []
    for _ in range(PASSES):
        begin = time.process_time()
        for post in posts:
            await serializer(post, context)
        costs.append(time.process_time() - begin)
    return min(costs) / len(posts) * 1e6


def _least(work: Callable[[], object], count: int) -> float:
    costs = []
    for _ in range(PASSES):
        begin = time.process_time()
        work()
        costs.append(time.process_time() - begin)
    return min(costs) / count * 1e6


def _mean(values: Sequence[bytes]) -> float:
    return sum(map(len, values)) / len(values)


if __name__ == "__main__":
    print(measured(Path(sys.argv[1]).read_bytes().splitlines()))
