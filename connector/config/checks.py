"""
Reads a connector's configuration and checks that its options fit together.

`check` reads Connect's flat map of strings and returns all problems at once: sentences that name each option as the
user wrote it.  `parse` raises them as a `ConfigError`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from connector.config.addresses import API_URL, is_loopback
from connector.config.chain import NO_CLASSES, Catalogue, Setting, brought
from connector.config.chain_reading import read as read_chain
from connector.config.connector import CONNECTOR_OPTIONS, ConnectorConfig
from connector.config.converters import understood
from connector.config.fields import (
    BILLED_EXPANSIONS,
    COMPLIANCE,
    EXPANSIONS_OF_FIELDS,
    KEEP_ALIVE_SECS,
    RECHECK,
)
from connector.config.migration import translate
from connector.config.names import Names
from connector.config.options import (
    Conflict,
    Given,
    Problem,
    as_text,
    draft,
    nearest,
    shown,
)
from connector.config.registry import SCHEMA_FORMATS
from connector.config.registry_checks import registry_conflicts
from connector.config.rules import Rule, joined, label_of, merge
from connector.config.tracing import wants_traces
from connector.errors import ConfigError

OF_POSTS = ("value.shape", "value.raw", "headers.cloudevents", "headers.rules", "headers.traceparent")
"""Options of the records of posts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of `check`: a configuration if there are no problems, and notices to log once."""

    config: ConnectorConfig | None
    problems: tuple[Problem, ...]
    notices: tuple[str, ...]


def check(
    texts: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    directory: Path,
    group_id: str,
    catalogue: Catalogue = NO_CLASSES,
) -> Checked:
    """
    Read and check Connect's flat map of strings; *catalogue* has the transforms that it may name.

    References to secrets are resolved with *environ*, so the result holds for this worker only.
    """
    return check_given(Given(texts=texts, environ=environ, directory=directory), group_id, catalogue)


def parse(
    texts: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    directory: Path,
    group_id: str,
    catalogue: Catalogue = NO_CLASSES,
) -> ConnectorConfig:
    """
    Return the configuration in *texts*, as `check` reads it.

    Raises:
        ConfigError: the configuration is wrong; it has all problems.
    """
    checked = check(texts, environ=environ, directory=directory, group_id=group_id, catalogue=catalogue)
    if checked.config is None:
        raise ConfigError([problem.sentence for problem in checked.problems])
    return checked.config


def check_given(given: Given, group_id: str, catalogue: Catalogue = NO_CLASSES) -> Checked:
    """Read and check *given*; properties of well-known connectors in Java are translated, see `migration`."""
    moved, given = _as_ours(given)
    found = draft(ConnectorConfig, CONNECTOR_OPTIONS.values(), given)
    config = found.model
    hashtags = tuple(Rule(value, label_of(value)) for value in config.hashtags)
    rules, complaints = merge({"hashtags": hashtags, "rules": config.rules, "rules.file": config.rules_file})
    sources = ("hashtags", "rules", "rules.file")
    conflicts = [
        *_stream_conflicts(config, given, rules),
        *(Conflict((source, *sources), f"{given.name(source)} {rest}") for source, rest in complaints),
        *_credential_conflicts(given),
        *_url_conflicts(config, given),
        *_topic_conflicts(config, given, group_id),
        *_plan_conflicts(config, given),
        *_compliance_conflicts(config, given),
        *registry_conflicts(config, given),
    ]
    labels = tuple(rule.label for rule in rules)
    chain = read_chain(given, Setting(topic=config.topic or "", labels=labels), catalogue)
    problems = found.with_conflicts(conflicts) + chain.problems
    if problems:
        return Checked(config=None, problems=problems, notices=moved)
    notices = (*moved, *_option_notices(given, catalogue), *_notices(config, given), *chain.notices)
    return Checked(config=replace(config, rules=rules, chain=chain.chosen), problems=(), notices=notices)


def _as_ours(given: Given) -> tuple[tuple[str, ...], Given]:
    """Return *given* with our options in the place of others' names for them, and the notices on that."""
    moved = translate(given.texts)
    connect = understood(moved.texts)
    return (*moved.notices, *connect.notices), replace(
        given,
        texts=connect.texts,
        spelled={**moved.spelled, **connect.spelled, **given.spelled},
        problems=(*given.problems, *moved.problems, *connect.problems),
    )


def _stream_conflicts(config: ConnectorConfig, given: Given, rules: Sequence[Rule]) -> Iterable[Conflict]:
    sources = ("hashtags", "rules", "rules.file")
    stream = given.name("stream")
    if config.stream != "filtered":
        for source in sources:
            if given.has(source):
                yield Conflict(
                    (source, "stream"),
                    f"{given.name(source)} works only with {stream}=filtered, not {config.stream}: remove it, or change"
                    " the stream.",
                )
    elif not rules:
        hashtags, others, rules_file = map(given.name, sources)
        yield Conflict(
            (*sources, "stream"),
            f"{hashtags} is required with {stream}=filtered, or {others} or {rules_file}: without a rule X sends"
            " no post.",
        )


def _credential_conflicts(given: Given) -> Iterable[Conflict]:
    bearer, key, secret = ("x.bearer.token", "x.consumer.key", "x.consumer.secret")
    if given.has(key) != given.has(secret):
        missing, other = (secret, key) if given.has(key) else (key, secret)
        yield Conflict(
            (missing,),
            f"{given.name(missing)} is required with {given.name(other)}: both together are exchanged for a token.",
        )
    elif not given.has(bearer) and not given.has(key):
        yield Conflict(
            (bearer,),
            f"{given.name(bearer)} is required, or {given.name(key)} and {given.name(secret)}: the credentials of your"
            " app at X.",
        )


def _url_conflicts(config: ConnectorConfig, given: Given) -> Iterable[Conflict]:
    parts = urlsplit(config.x_api_url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or "") and not config.x_api_insecure:
        yield Conflict(
            ("x.api.url", "x.api.insecure"),
            f"{given.name('x.api.url')} would send the token unencrypted: use https, or set"
            f" {given.name('x.api.insecure')}=true for a simulator.",
        )
    elif given.limits and not (
        config.x_api_url == API_URL or is_loopback(parts.hostname or "") or given.limits.allows_url(config.x_api_url)
    ):
        yield Conflict(
            ("x.api.url",),
            f"{given.name('x.api.url')} may be {API_URL}, an address of the worker's own machine, or what"
            " CONNECTOR_ALLOWED_API_URLS of the worker lists: the credentials are sent there.",
        )


def _plan_conflicts(config: ConnectorConfig, given: Given) -> Iterable[Conflict]:
    plan, recovery, dollars = map(given.name, ("plan", "recovery", "budget.usd.per.month"))
    if config.plan != "enterprise" and config.recovery == "backfill":
        yield Conflict(
            ("recovery", "plan"),
            f"{recovery}=backfill is for enterprise accounts, and {plan} is {config.plan}: use search, or auto.",
        )
    if config.stream != "filtered" and config.recovery == "search":
        yield Conflict(
            ("recovery", "stream"),
            f"{recovery}=search works only with {given.name('stream')}=filtered, whose rules can be searched for: use"
            " auto, backfill or none.",
        )
    if config.plan == "enterprise" and config.budget_usd_per_month is not None:
        yield Conflict(
            ("budget.usd.per.month", "plan"),
            f"{dollars} works only with {plan}=pay_per_use, as X does not publish enterprise prices: use"
            f" {given.name('budget.posts.per.day')}.",
        )


def _compliance_conflicts(config: ConnectorConfig, given: Given) -> Iterable[Conflict]:
    if config.stream not in {COMPLIANCE, RECHECK}:
        return
    stream = given.name("stream")
    budgets = ("budget.posts.per.day", "budget.usd.per.month")
    for option in ("transforms", *(budgets if config.stream == COMPLIANCE else ())):
        if given.has(option):
            yield Conflict(
                (option, "stream"),
                f"{given.name(option)} works only with streams of posts, not with {stream}={config.stream}: remove it.",
            )
    if config.stream == RECHECK and config.compliance_action != "tombstone":
        yield Conflict(
            ("compliance.action", "stream"),
            f"{given.name('compliance.action')}={config.compliance_action} does not work with {stream}={RECHECK}, which"
            " asks X for the posts of the topic to withdraw them: remove it.",
        )
    if config.stream == RECHECK and config.recheck_hours >= config.compliance_window_hours:
        hours, window = given.name("recheck.hours"), given.name("compliance.window.hours")
        yield Conflict(
            ("recheck.hours", "compliance.window.hours"),
            f"{hours} is {config.recheck_hours}, and {window} is {config.compliance_window_hours}: a post would be"
            f" forgotten before it is rechecked; choose a larger {window}.",
        )


def _topic_conflicts(config: ConnectorConfig, given: Given, group_id: str) -> Iterable[Conflict]:
    topic, dead_letters, tolerance = map(given.name, ("topic", "dead.letter.topic", "errors.tolerance"))
    for option, chosen in (("topic", config.topic), ("dead.letter.topic", config.dead_letter_topic)):
        if chosen in Names(group_id).topics:
            yield Conflict(
                (option,),
                f"{given.name(option)} cannot be {chosen}, where the workers keep their state: choose another name.",
            )
    if config.dead_letter_topic is not None and config.dead_letter_topic == config.topic:
        yield Conflict(
            ("dead.letter.topic", "topic"), f"{dead_letters} cannot be the same as {topic}: choose another name."
        )
    if config.errors_tolerance == "all" and config.dead_letter_topic is None:
        yield Conflict(
            ("dead.letter.topic", "errors.tolerance"),
            f"{dead_letters} is required with {tolerance}=all: Kafka topic for lines that are no posts.",
        )


def _notices(config: ConnectorConfig, given: Given) -> Iterable[str]:
    name = given.name
    unused = [option for option in ("x.access.token", "x.access.token.secret") if given.has(option)]
    for option in unused[:1]:
        yield f"{name(option)} is not used: streams of the API v2 know the app alone."
    if given.has("x.bearer.token") and given.has("x.consumer.key"):
        yield f"{name('x.bearer.token')} is used, and {name('x.consumer.key')} is not: the bearer token wins."
    if config.stream not in {"filtered", RECHECK} and config.plan != "enterprise":
        yield f"{name('stream')}={config.stream} is for enterprise accounts, and {name('plan')} is {config.plan}."
    if config.tasks < config.tasks_max:
        yield (
            f"{name('tasks.max')} is {config.tasks_max}, and the stream {config.stream} has work for {config.tasks}:"
            " that many run."
        )
    if config.dead_letter_topic is not None and config.errors_tolerance == "none":
        yield f"{name('dead.letter.topic')} is not used while {name('errors.tolerance')} is none."
    if config.silence_timeout_secs <= KEEP_ALIVE_SECS:
        yield (
            f"{name('silence.timeout.secs')} is {as_text(config.silence_timeout_secs)}, and a quiet stream sends"
            f" something only every {KEEP_ALIVE_SECS} s: it will be cut off again and again."
        )
    yield from _value_notices(config, given)
    if config.stream in {COMPLIANCE, RECHECK}:
        yield from _compliance_notices(config, given)
    else:
        yield from _field_notices(config, given)


def _value_notices(config: ConnectorConfig, given: Given) -> Iterable[str]:
    if config.value_format not in SCHEMA_FORMATS:
        for option in CONNECTOR_OPTIONS:
            if option.startswith("schema.") and given.has(option):
                yield f"{given.name(option)} has no effect with {given.name('value.format')}={config.value_format}."
        if config.value_raw and config.value_shape == "envelope":
            envelope = f"{given.name('value.shape')}=envelope"
            yield f"{given.name('value.raw')} has no effect with {envelope}, which is X's line."
    elif given.has("value.shape") and config.value_shape != "post":
        yield (
            f"{given.name('value.shape')}={config.value_shape} has no effect with"
            f" {given.name('value.format')}={config.value_format}, which writes posts."
        )
    if config.headers_traceparent and not wants_traces(given.environ):
        yield (
            f"{given.name('headers.traceparent')} has no effect on this worker, which exports no traces:"
            " OTEL_TRACES_EXPORTER=otlp in its environment does."
        )


def _compliance_notices(config: ConnectorConfig, given: Given) -> Iterable[str]:
    stream = given.name("stream")
    for option in ("tweet.fields", "expansions", "user.fields", "media.fields", "place.fields", "poll.fields"):
        if given.has(option):
            yield f"{given.name(option)} has no effect with {stream}={config.stream}, which has no fields."
    if config.withdraws and config.topic_creation_default_cleanup_policy == "delete":
        policy = given.name("topic.creation.default.cleanup.policy")
        yield (
            f"If the topic {config.topic} is not there yet, it is made with {policy}=delete, and keeps the text of"
            " withdrawn posts until they are too old: use compact,delete, or make it yourself with"
            " cleanup.policy=compact and max.compaction.lag.ms of at most 86400000, the day that X allows."
        )
    for option in OF_POSTS:
        if given.has(option):
            yield f"{given.name(option)} has no effect with {given.name('stream')}={config.stream}, which has no posts."
    if config.stream == RECHECK and config.plan == "pay_per_use" and not _has_budget(config):
        yield (
            f"{given.name('stream')}={RECHECK} has no budget: X charges for each post that it finds, at $0.005; set"
            f" {given.name('budget.usd.per.month')} or {given.name('budget.posts.per.day')}."
        )
    if config.compliance_action != "tombstone":
        action = f"{given.name('compliance.action')}={config.compliance_action}"
        yield f"{action} withdraws no post: whoever keeps posts must do that."


def _has_budget(config: ConnectorConfig) -> bool:
    return config.budget_usd_per_month is not None or config.budget_posts_per_day is not None


def _option_notices(given: Given, catalogue: Catalogue) -> Iterable[str]:
    known = CONNECTOR_OPTIONS.keys() | brought(given.texts, catalogue).keys()
    for option in sorted(given.texts.keys() - known):
        yield unknown(option, known)[0]


def _field_notices(config: ConnectorConfig, given: Given) -> Iterable[str]:
    chosen = set(config.expansions)
    for option, expansions in EXPANSIONS_OF_FIELDS.items():
        if given.has(option) and chosen.isdisjoint(expansions):
            yield (
                f"{given.name(option)} has no effect without an expansion that adds such objects:"
                f" {given.name('expansions')}={expansions[0]} does."
            )
    for value, kept in joined(given.texts.get("hashtags", ""), (*config.rules, *config.rules_file)):
        yield f"{shown(value)} is the same rule as {shown(kept)}, as X ignores case in a hashtag: one rule is made."
    if billed := [name for name in config.expansions if name in BILLED_EXPANSIONS]:
        yield f"{given.name('expansions')} has {', '.join(billed)}: X charges for what that adds to each post."


def unknown(name: str, known: Iterable[str]) -> tuple[str, bool]:
    near = nearest(name, known)
    # A name may hold any character, line ends too.
    sentence = f"{name if name.isprintable() else shown(name)} is not known and has no effect"
    return f"{sentence}: did you mean {near}?" if near else f"{sentence}.", near is not None
