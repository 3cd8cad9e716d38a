"""
Murmuration: posts of the X API v2 in Kafka, each exactly once.

Read the package in this order:

`records/`           a line of X, the post in the line, the time in the post's id
`sources/`           the X end: one connection of one stream, its rules and its credentials
`task/`              one task: reader thread, buffer, converter, batches, and the repair of gaps
`errors`             the exceptions, sorted by what to do about each
`coverage/`          which posts are delivered and which are missing
`formats/`           the formats of a record's value
`kafka/`             the Kafka end: the typed channel, transactions, offsets, topics
`cluster/`           which worker runs which task
`config/`            the options of a connector and the settings of a worker
`telemetry/`         the events, with their log lines and metrics
`web/`, `cli/`       the REST API and the web interface; the commands
`worker/`            the process, and the one place that wires all the others together
`simulator/`         a stand-in for the X API
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import faust

    from connector.kafka.delivery.posts_topic import PostsTopic as PostsTopic
    from connector.records.post import Post as Post

    app: faust.App

__version__ = "0.1.0"

_ON_FIRST_USE = {"Post": "connector.records.post", "PostsTopic": "connector.kafka.delivery.posts_topic"}


@contextmanager
def _no_collection() -> Iterator[None]:
    """
    Let the garbage collector rest.

    What is imported and built stays, so there is nothing to find; looking for it is a sixth of the time that takes.
    """
    wanted = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if wanted:
            gc.enable()


def __getattr__(name: str) -> object:
    # `faust -A connector worker` looks up `connector.app`.  Building it on
    # first use keeps `import connector.records` free of configuration.
    if name == "app":
        with _no_collection():
            from connector import cli
            from connector.worker.wiring import create_app

            return globals().setdefault("app", create_app(cli.register, cli.misconfigured))
    if name in _ON_FIRST_USE:
        return globals().setdefault(name, getattr(import_module(_ON_FIRST_USE[name]), name))

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
