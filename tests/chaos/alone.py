"""
The connector that has a stream to itself: its rules, and the settings of its workers.

Six rules overlap: most posts match one, many two or three.  Search can find by them exactly what the stream sends,
which is not so of any rule: they ask for no retweets by words (search has none of these), nor for quotes (the stream
also reads the quoted post), and no word in them changes when accents go.  Retweets and quotes come by their authors.
One rule is longer than the 512 characters that search takes, so it has to be split.
"""

import json

from tests.brokers import Broker
from tests.chaos.times import Times
from tests.workers import environment

CONNECTOR = "posts"
WORKERS = 3

_NEITHER = " -is:retweet -is:quote"
RULES = (
    {"value": f"#murmuration{_NEITHER}", "tag": "hashtag"},
    {"value": f"#starling{_NEITHER}", "tag": "bird"},
    {"value": f"(#murmuration OR #starling) lang:en{_NEITHER}", "tag": "english"},
    {"value": f"lantern{_NEITHER}", "tag": "keyword"},
    {"value": "from:synthetic_user_00007", "tag": "author"},
    {"value": " OR ".join(f"from:synthetic_user_{number:05d}" for number in range(20)), "tag": "authors"},
)


def worker_settings(times: Times, broker: Broker, url: str, name: str, **others: object) -> dict[str, str]:
    """Return the environment of a worker that follows RULES."""
    settings = environment(
        broker,
        url,
        name,
        rules=json.dumps(RULES),
        settle_secs=times.settle,
        silence_timeout_secs=times.silence,
        broker_session_timeout=times.session,
        **others,
    )
    del settings["CONNECTOR_HASHTAGS"]  # their rules would ask for retweets and quotes too
    return settings
