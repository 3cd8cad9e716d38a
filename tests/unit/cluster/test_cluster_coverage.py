"""What is shown of the coverage of a connector."""

import pytest

from connector.cluster.coverage import coverage_of
from connector.coverage.offset import Coverage
from connector.kafka.state.offsets import OffsetTable


@pytest.mark.parametrize(("stream", "missing"), [("filtered", ["budget"]), ("recheck", [])])
def test_an_outage_is_time_that_is_missing(stream, missing):
    """Of a stream; what a recheck could not ask it asks later."""
    offsets = OffsetTable()
    value = Coverage(covered_from_ms=1_790_000_000_000, covered_to_ms=1_790_000_900_000, posts=3).encode()
    offsets.apply(b'["posts",{"stream":"%b"}]' % stream.encode(), value)

    shown = coverage_of("posts", offsets, {"": "budget"}, settle_ms=60_000)
    assert missing == [gap["reason"] for gap in shown["gaps"]]
    assert "2026-09-21T" in shown["covered_to"]
