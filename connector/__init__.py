"""
Murmuration: posts of the X API v2 in Kafka, each exactly once.

Read the package in this order:

`records/`           what travels: a line of X, the post in it, the time in its id
`sources/`           the X end: one connection of one stream, its rules and its credentials
`task/`              one task: reader, buffer, converter, batches; and the repair of gaps
`errors`             what can go wrong, sorted by what to do about it
`coverage/`          what is delivered and what is missing
`formats/`           how a value is written
`kafka/`             the Kafka end: the typed channel, transactions, offsets, topics
`cluster/`           which worker runs which task
`config/`            what an operator says
`telemetry/`         everything that can happen, with its log line and its metrics
`web/`, `cli/`       what an operator sees
`worker/`            one process, and the one place that wires
`simulator/`         a stand-in for the X API
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import faust

    from connector.kafka.delivery.posts_topic import PostsTopic as PostsTopic
    from connector.records.post import Post as Post

    app: faust.App

__version__ = "0.1.0"

_ON_FIRST_USE = {"Post": "connector.records.post", "PostsTopic": "connector.kafka.delivery.posts_topic"}


def __getattr__(name: str) -> object:
    # `faust -A connector worker` looks up `connector.app`.  Building it on
    # first use keeps `import connector.records` free of configuration.
    if name == "app":
        from connector import cli
        from connector.worker.wiring import create_app

        return globals().setdefault("app", create_app(cli.register))
    if name in _ON_FIRST_USE:
        return globals().setdefault(name, getattr(import_module(_ON_FIRST_USE[name]), name))

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
