"""
Murmuration: posts of the X API v2 in Kafka, each exactly once.

Read the package in this order:

`records`, `posts`, `snowflake`   what travels: a line of X, the post in it, the time in its id
`sources/`                        the X end: one connection of one stream, its rules and its credentials
`buffer`                          the one crossing from the reader thread to the event loop
`task`, `outbox`                  poll, deliver, commit, and start over where that failed
`errors`, `backoff`               what can go wrong, and how long to wait then
`kafka/`                          the Kafka end: the typed channel, transactions, offsets, topics
`cluster/`                        which worker runs which task
`settings`, `config`              what an operator says
`events`                          everything that can happen, with its log line and its metrics
`web/`, `cli/`                    what an operator sees
`simulator/`                      a stand-in for the X API
`worker`                          the one place that wires
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import faust

    app: faust.App

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # `faust -A connector worker` looks up `connector.app`.  Building it on
    # first use keeps `import connector.records.record` free of configuration.
    if name == "app":
        from connector import cli
        from connector.worker.wiring import create_app

        return globals().setdefault("app", create_app(cli.register))

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
