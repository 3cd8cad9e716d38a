import io
import json

import pytest
from rich.console import Console

from connector.cli.coverage import BAR_CELLS, MISSING, Outages, bar, show
from connector.records.snowflake import from_iso

NOW = "2026-11-24T16:34:49.000Z"
GAP = {
    "from": "2026-11-24T04:34:18.683Z",
    "to": "2026-11-24T15:52:31.118Z",
    "reason": "connection_lost",
    "state": "repairing",
    "posts": 1234567,
    "cost_usd": 6172.835,
    "detail": "X answers 503 since 16:33; the next try is in 40 s",
}
COVERAGE = {
    "name": "posts",
    "covered_from": "2026-11-23T00:00:00.000Z",
    "covered_to": "2026-11-24T16:34:18.200Z",
    "gaps": [GAP, {**GAP, "state": "pending", "detail": None}],
    "repaired": [{**GAP, "state": "repaired"}],
}


def shown(width, coverage=COVERAGE):
    out = io.StringIO()
    show(coverage, Console(file=out, width=width, highlight=False), from_iso(NOW))
    return out.getvalue()


@pytest.mark.parametrize("width", [76, 80, 100, 120, 160])
def test_it_fits(width):
    """Each line fits into the terminal, and nothing of a gap is cut off."""
    text = shown(width)
    joined = " ".join(text.split())

    assert [] == [line for line in text.splitlines() if len(line.rstrip()) > width]
    assert "…" not in text
    assert "(30.8 s ago)" in joined
    for word in (GAP["from"], GAP["to"], "11.3 h", "connection_lost", "repairing", "1,234,567", "6172.835", "pending"):
        assert word in joined


def test_a_narrow_terminal_gets_whole_lines():
    """What is copied out of it, as the begin of a gap for --retry, stands in one line."""
    assert f"  {GAP['from']} to {GAP['to']}  (11.3 h)\n" in shown(80)


@pytest.mark.parametrize("size", BAR_CELLS)
def test_a_bar_of_any_size_is_a_day(size):
    """The gap takes its share of the day, whatever the width."""
    share = (from_iso(GAP["to"]) - from_iso(GAP["from"])) / 86_400_000
    missing = bar({**COVERAGE, "gaps": [{**GAP, "state": "pending"}]}, from_iso(NOW), size).count(MISSING)

    assert abs(missing - share * size) <= 2


def status(state, outages):
    fields = {"state": state, "trace": None, "worker_id": "w:1", "generation": 0, "version": "0.1.0"}
    return json.dumps({**fields, "detail": None, "connections": [], "outages": outages, "process": "p"}).encode()


def test_an_outage_that_is_over_is_not_shown():
    """A connector that was paused for its budget and runs again has a connection: its last status counts."""
    outages = Outages("posts", 2)
    for key, value in (
        (b"status-task-posts-0", status("PAUSED", [["", "budget"]])),
        (b"status-task-posts-1", status("RUNNING", [["2", "connection_lost"]])),
        (b"status-task-others-0", status("RUNNING", [["5", "connection_lost"]])),
        (b"status-task-posts-0", status("RUNNING", [])),
    ):
        outages.apply(key, value)
    assert {"2": "connection_lost"} == outages.now

    outages.apply(b"status-task-posts-1", None)
    assert {} == outages.now
