import pytest

from connector.history.records import Counts, Minute, TenMinutes, Told, decode, encode

ONE = Counts(
    received=3, delivered=2, mills=10, dropped={"duplicate": 1}, timed=2, age=(1000, 4000), delivery=(20, 30),
    rules={"birds": (2, 1)},
)  # fmt: skip
OTHER = Counts(
    received=6, delivered=6, repaired=1, letters={"BadRecord": 2}, timed=6, age=(2000, 3000), delivery=(40, 90),
    rules={"birds": (1, 1), "flocks": (5, 0)},
)  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        Minute(process="p", number=1, at=60, worker="w:1", tasks=("posts-0",), connectors={"posts": ONE}),
        TenMinutes(process="p", at=600, minutes=10, connectors={"posts": ONE}),
        Told(process="p", number=1, at=1, kind="gap.opened", level="warning", worker="w:1", fields={"seconds": 1.5}),
    ],
)
def test_reads_what_it_writes(record):
    """Each kind of record comes back as it was."""
    assert record == decode(encode(record))


@pytest.mark.parametrize("value", [b"", b"{}", b'{"type":"hour"}', b'{"type":"minute","at":"noon"}', b"[" * 9999])
def test_refuses_other_records(value):
    """What is no record of ours is one kind of error."""
    with pytest.raises(ValueError, match="is no record of a history"):
        decode(value)


def test_sums():
    """Counts add up; the median is the mean by posts, the 99th percentile the highest; the order does not matter."""
    both = ONE.plus(OTHER)

    assert (9, 8, 1, 10, 8) == (both.received, both.delivered, both.repaired, both.mills, both.timed)
    assert ((1750, 4000), (35, 90)) == (both.age, both.delivery)
    assert {"birds": (3, 2), "flocks": (5, 0)} == both.rules
    assert ({"duplicate": 1}, {"BadRecord": 2}) == (both.dropped, both.letters)
    assert both == OTHER.plus(ONE)
    assert ONE == ONE.plus(Counts())
