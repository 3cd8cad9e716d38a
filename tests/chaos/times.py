"""
How long things last on the stage, and the simulator's settings that go with it.

Times are compressed, unless CONNECTOR_CHAOS_REAL_TIMES=1 asks for those of X:

                              X      here
    lag of a post, median   4.8 s   0.8 s   a sixth; at most some 10 s, and 1.7 s here
    ids out of order by     5   s   0.8 s   a sixth
    settle.secs            15   s   5   s   more than the two together, with room for a slow machine
    keep-alive             20   s   4   s
    silence.timeout.secs   25   s   8   s
    session at Kafka       10   s   6   s
    SIGSTOP             10-40   s  8-16 s   longer than the session, always
    broker frozen        5-30   s  5-12 s
    503                    30   s   6   s
    X unreachable         360   s  20   s   longer than the silence
    all workers down      600   s  25   s

What search needs is not compressed: it knows a post when it is 30 s old.  Its limit of 450 requests in 15 minutes is
raised: 300 posts a second that match 1.5 rules each take 4.5 pages for each second of a gap, so it would allow for
100 s of gaps.  Money and the limit of 50 connects are no matter here either.
"""

from dataclasses import dataclass

RATE = 300
DUPLICATE_EVERY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long things last, in seconds; pairs are the least and the most."""

    settle: float = 5
    lag: float = 0.8
    disorder: float = 0.8
    keepalive: float = 4
    silence: float = 8
    session: float = 6
    frozen_worker: tuple[float, float] = (8, 16)
    frozen_broker: tuple[float, float] = (5, 12)
    dead_broker: float = 3
    refused: float = 6
    unreachable: float = 20
    down: float = 25
    closing: float = 300
    """How long the last gaps may take to close."""


COMPRESSED = Times()
REAL = Times(
    settle=15,
    lag=4.8,
    disorder=5,
    keepalive=20,
    silence=25,
    session=10,
    frozen_worker=(10, 40),
    frozen_broker=(5, 30),
    refused=30,
    unreachable=360,
    down=600,
    closing=3600,
)


def simulator_settings(times: Times, plan: str, seed: int) -> dict[str, object]:
    """Return the settings of an X that posts, out of order and late, and limits nothing."""
    return {
        "plan": plan,
        "seed": seed,
        "rate": RATE,
        "duplicate_every": DUPLICATE_EVERY,
        "out_of_order_s": times.disorder,
        "delivery_lag": "realistic",
        "delivery_lag_s": times.lag,
        "keepalive_s": times.keepalive,
        "hashtags": ("murmuration", "starling", "meadow"),
        "store_posts": 2_000_000,
        "emissions_kept": 4_000_000,
        "rate_limits": {"filtered_stream": 10_000, "search_recent": 100_000},
    }
