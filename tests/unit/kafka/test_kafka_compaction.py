"""Topics from which posts are withdrawn: do they forget the text in the time that X allows?"""

import pytest

from connector.kafka.compaction import doubts

NEVER = str(2**63 - 1)  # Kafka's default


@pytest.mark.parametrize(
    "settings",
    [
        {"cleanup.policy": "compact", "max.compaction.lag.ms": "86400000", "retention.ms": "-1"},
        {"cleanup.policy": "compact,delete", "max.compaction.lag.ms": "1", "retention.ms": "604800000"},
        {"cleanup.policy": "delete", "retention.ms": "86400000"},
        {"cleanup.policy": "delete,compact", "max.compaction.lag.ms": NEVER, "retention.ms": "3600000"},
        {},
        {"cleanup.policy": "compact"},
    ],
)
def test_what_forgets_in_time(settings):
    """By compaction, or because all posts are deleted by then; what a broker does not tell is no doubt."""
    assert [] == list(doubts("posts", settings))


@pytest.mark.parametrize(
    ("settings", "why", "cure"),
    [
        (
            {"cleanup.policy": "delete", "retention.ms": "604800000"},
            "cleanup.policy=delete: it keeps the text of withdrawn posts for 7 days, and X allows 24 hours.",
            "--add-config cleanup.policy=[compact,delete],max.compaction.lag.ms=43200000",
        ),
        (
            {"cleanup.policy": "delete", "retention.ms": "-1"},
            "cleanup.policy=delete: it keeps the text of withdrawn posts for ever",
            "cleanup.policy=[compact,delete]",
        ),
        (
            {"cleanup.policy": "compact", "max.compaction.lag.ms": NEVER},
            f"max.compaction.lag.ms={NEVER}",
            "kafka-configs.sh --alter --topic posts --add-config max.compaction.lag.ms=43200000",
        ),
        (
            {"cleanup.policy": "compact", "max.compaction.lag.ms": "9000", "min.compaction.lag.ms": "90000000"},
            "min.compaction.lag.ms=90000000",
            "min.compaction.lag.ms=0",
        ),
    ],
)
def test_what_keeps_posts_too_long(settings, why, cure):
    """One sentence says why, the next one what to do."""
    (doubt,) = doubts("posts", settings)

    assert doubt.why.startswith("The topic posts has ")
    assert why in doubt.why
    assert cure in doubt.cure
