"""The one connector class: what its configurations mean for the group."""

from collections.abc import Callable, Mapping
from time import time
from typing import Any

from connector.cluster.plugins import Part, PartKind, Plugin, Verdict
from connector.config.chain import PREDICATES, TRANSFORMS, Catalogue, Family, brought
from connector.config.checks import check
from connector.config.connector import CONNECTOR_CLASS, CONNECTOR_OPTIONS, ConnectorConfig
from connector.config.fields import RECHECK, most_tasks
from connector.config.load import Loaded
from connector.config.migration import translate
from connector.config.options import Problem, Unfit
from connector.config.vault import Vault
from connector.coverage.altered import altered
from connector.coverage.offset import Coverage
from connector.sources.stream.streams import STREAMS, source_partitions, spread
from connector.transforms.catalogue import CATALOGUE

NO_FILE = (
    "rules.file works only in a worker's environment, as other workers need not have the file: write the rules into"
    " `rules`."
)


def plugin_of(vault: Vault, loaded: Loaded) -> Plugin:
    """Return the class, for a worker with what *loaded* has read, which opens configurations with *vault*."""
    group_id = loaded.worker.group_id
    return Plugin(
        name=CONNECTOR_CLASS,
        options=CONNECTOR_OPTIONS,
        check=_judge(vault, group_id),
        check_offset=check_partition,
        tasks=tasks_of,
        task_of=task_of,
        stream_of=_streams(vault, loaded),
        altered=_altered,
        brought=lambda texts: brought(texts, CATALOGUE),
    )


def parts_of(catalogue: Catalogue) -> tuple[Part, ...]:
    """Return the transforms and predicates of *catalogue*, as Connect's routes list them."""
    kinds: tuple[tuple[Family, PartKind], ...] = ((TRANSFORMS, "transformation"), (PREDICATES, "predicate"))
    return tuple(
        Part(name=each.name, kind=kind, options=each.options)
        for family, kind in kinds
        for each in catalogue.kinds[family]
    )


def _judge(vault: Vault, group_id: str) -> Callable[[Mapping[str, str]], Verdict]:
    def judge(texts: Mapping[str, str]) -> Verdict:
        if texts.get("rules.file", "").strip():
            return Verdict(problems=(Problem("rules.file", NO_FILE),))
        checked = vault.check(texts.get("name", ""), texts, group_id=group_id)
        return Verdict(problems=checked.problems, warnings=(*checked.notices, *vault.readable(texts)))

    return judge


def _streams(vault: Vault, loaded: Loaded) -> Callable[[str, Mapping[str, str], str | None], str]:
    def stream_of(name: str, texts: Mapping[str, str], declared_by: str | None) -> str:
        if declared_by is not None:
            checked = check(
                texts,
                environ=loaded.environ,
                directory=loaded.directory,
                group_id=loaded.worker.group_id,
                catalogue=CATALOGUE,
            )
        else:
            checked = vault.check(name, texts, group_id=loaded.worker.group_id)
        return "" if checked.config is None else identity_of(checked.config)

    return stream_of


def identity_of(config: ConnectorConfig) -> str:
    """
    Return what connectors that share a stream have in common; it holds a secret.

    X counts connections by app, and the posts of one connection go into one transaction.
    """
    url, credential = app_of(config)
    own = f"\n{config.name}" if config.stream == RECHECK else ""  # each asks for the posts of its own topic
    return f"{url}\n{config.stream}\n{config.delivery}\n{credential}{own}"


def app_of(config: ConnectorConfig) -> tuple[str, str]:
    """Return what connectors of one app at X have in common, who share its rules and its limits; it holds a secret."""
    secrets = (config.bearer_token, config.consumer_key)
    return config.x_api_url, next((secret.reveal() for secret in secrets if secret is not None), "")


def tasks_of(texts: Mapping[str, str]) -> int:
    """Return how many tasks a configuration has that was checked before, perhaps by another worker."""
    texts = translate(texts).texts
    stream, most = texts.get("stream", "").strip() or "filtered", texts.get("tasks.max", "").strip()
    try:
        wanted = int(str(CONNECTOR_OPTIONS["tasks.max"].parse(most))) if most else 1
    except Unfit:  # the connector FAILS because of it
        wanted = 1
    return min(wanted, most_tasks(stream.lower()))


def task_of(texts: Mapping[str, str], partition: Mapping[str, Any], count: int) -> int:
    """Return which of *count* tasks reads the source *partition*; the first one for one that none reads."""
    stream = STREAMS.get(translate(texts).texts.get("stream", "").strip().lower() or "filtered")
    if stream is None:
        return 0
    dealt = spread(stream, count)
    return next((number for number, parts in enumerate(dealt) if dict(partition) in map(dict, parts)), 0)


def check_partition(partition: Mapping[str, Any], _offset: Mapping[str, Any]) -> None:
    """
    Check that *partition* is a part of a stream of X.

    Raises:
        ValueError: it is none; the message is a sentence.
    """
    stream = STREAMS.get(str(partition.get("stream")))
    if stream is None:
        raise ValueError(f'A source partition is {{"stream": ...}}, with one of {", ".join(STREAMS)}.')
    parts = [dict(part) for part in source_partitions(stream)]
    if dict(partition) not in parts:
        raise ValueError(f"The stream {stream.name} has no source partition {dict(partition)}: it has {parts[0]}, ...")


def _altered(present: bytes | None, wanted: Mapping[str, Any]) -> bytes:
    coverage = None if present is None else Coverage.decode(present)
    return altered(coverage, wanted, now_ms=int(time() * 1000)).encode()
