"""
What is a connector configured with?

`ConnectorConfig` declares every option once.  The option `time.limit.secs` is the attribute `time_limit_secs`, and in
the environment `CONNECTOR_TIME_LIMIT_SECS`.  There are two ways in:

    load(environ, directory)     a worker's environment: its settings, and the connector it declares, if any
    check(texts, ...)            Connect's flat map of strings, from the REST API or out of Kafka

Both report every problem at once, as sentences that name the option as the user wrote it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal, NoReturn
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from connector.config.dotenv import doubts, read_dotenv
from connector.config.names import Names
from connector.config.options import (
    HIDDEN,
    PREFIX,
    Conflict,
    Given,
    Option,
    Parser,
    Problem,
    Unfit,
    as_text,
    boolean,
    choice,
    declared,
    draft,
    environment_names,
    file,
    given_by,
    is_reference,
    names,
    nearest,
    number,
    secret,
    shown,
    text,
    whole,
)
from connector.config.rules import Rule, as_json, joined, label_of, merge, parse_hashtags, parse_rules, read_rules
from connector.config.worker import (
    FAUST_SETTINGS,
    OTHER_VARIABLES,
    WORKER_OPTIONS,
    WorkerSettings,
    is_loopback,
    legal_topic,
    read_worker,
)
from connector.errors import ConfigError

__all__ = [
    "CONNECTOR_CLASS",
    "CONNECTOR_OPTIONS",
    "SECRETS",
    "STREAM_PARTITIONS",
    "Checked",
    "ConnectorConfig",
    "Loaded",
    "Rule",
    "check",
    "hide",
    "load",
    "parse",
]

CONNECTOR_CLASS: Final = "PostStreamSourceConnector"
NAME_CHARACTERS_MAX = 64
KEEP_ALIVE_SECS = 20
"""X sends a blank line at least so often."""

STREAM_PARTITIONS: Mapping[str, int] = MappingProxyType(
    {
        "filtered": 1,
        "sample": 1,
        "sample10": 2,
        "firehose": 20,
        "firehose.en": 8,
        "firehose.ja": 2,
        "firehose.ko": 2,
        "firehose.pt": 2,
    }
)
"""The streams that are offered, and the number of partitions that X divides each into."""

StreamName = Literal[
    "filtered", "sample", "sample10", "firehose", "firehose.en", "firehose.ja", "firehose.ko", "firehose.pt"
]

_USER_CONTEXT = "X gives it only to the author, never on a stream"
_PRIVATE_METRICS = dict.fromkeys(("non_public_metrics", "organic_metrics", "promoted_metrics"), _USER_CONTEXT)

# The names that X's streams take: OpenAPI 2.167, https://api.x.com/2/openapi.json
TWEET_FIELDS = (
    *("article", "attachments", "author_id", "card_uri", "community_id", "context_annotations", "conversation_id"),
    *("created_at", "display_text_range", "edit_controls", "edit_history_tweet_ids", "entities", "geo", "id"),
    *("in_reply_to_user_id", "lang", "matched_media_notes", "media_metadata", "note_request_suggestions", "note_tweet"),
    *("paid_partnership", "possibly_sensitive", "public_metrics", "referenced_tweets", "reply_settings", "scopes"),
    *("source", "suggested_source_links", "suggested_source_links_with_counts", "text", "withheld"),
)
EXPANSIONS = (
    *("article.cover_media", "article.media_entities", "attachments.media_keys", "attachments.media_source_tweet"),
    *("attachments.poll_ids", "author_id", "edit_history_tweet_ids", "entities.mentions.username"),
    *("entities.note.mentions.username", "geo.place_id", "in_reply_to_user_id", "referenced_tweets.id"),
    *("referenced_tweets.id.attachments.media_keys", "referenced_tweets.id.author_id"),
)
USER_FIELDS = (
    *("affiliation", "confirmed_email", "connection_status", "created_at", "description", "entities", "id"),
    *("is_identity_verified", "location", "most_recent_tweet_id", "name", "parody", "pinned_tweet_id"),
    *("profile_banner_url", "profile_image_url", "protected", "public_metrics", "receives_your_dm", "subscription"),
    *("subscription_type", "url", "username", "verified", "verified_followers_count", "verified_type", "withheld"),
)
MEDIA_FIELDS = (
    *("alt_text", "duration_ms", "height", "media_key", "preview_image_url", "public_metrics", "type", "url"),
    *("variants", "width"),
)
PLACE_FIELDS = ("contained_within", "country", "country_code", "full_name", "geo", "id", "name", "place_type")
POLL_FIELDS = ("duration_minutes", "end_datetime", "id", "options", "voting_status")

# Which expansions bring the objects that a field option shapes.
EXPANSIONS_OF_FIELDS = {
    "user.fields": tuple(
        name for name in EXPANSIONS if name.endswith(("author_id", "username", "in_reply_to_user_id"))
    ),
    "media.fields": tuple(
        name for name in EXPANSIONS if name.endswith(("media_keys", "cover_media", "media_entities"))
    ),
    "place.fields": ("geo.place_id",),
    "poll.fields": ("attachments.poll_ids",),
}
USER_EXPANSIONS = frozenset(EXPANSIONS_OF_FIELDS["user.fields"])
BILLED_EXPANSIONS = (*EXPANSIONS_OF_FIELDS["user.fields"], "referenced_tweets.id")


def _name(name: str) -> str:
    if len(name) > NAME_CHARACTERS_MAX:
        raise Unfit(f"has {len(name)} characters: use at most {NAME_CHARACTERS_MAX}.")
    if "/" in name or name in {".", ".."} or not name.isprintable():
        raise Unfit(f"cannot be {shown(name)}: it is part of URLs, so use no slash and no control characters.")
    return name


def _key(secret: str) -> str:
    """A token or key as it can stand in a request's head; none of the sentences shows it."""
    if secret.lower().startswith("bearer "):
        raise Unfit("must be the token alone: remove the word Bearer before it.")
    if secret[:1] == secret[-1:] and secret[:1] in {"'", '"'}:
        raise Unfit("begins and ends with a quote, which no key of X does: remove both.")
    if secret.startswith("${"):
        raise Unfit("is a reference that nothing has resolved: give the token itself, or a file with it.")
    if any(character.isspace() for character in secret):
        raise Unfit("contains white space or a line end: copy it again, in one piece.")
    if not secret.isascii() or not secret.isprintable():
        raise Unfit("contains characters that no key of X has: copy it again.")
    return secret


def _api_url(url: str) -> str:
    # The text may hold a password, so no sentence shows it.
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or not url.isprintable() or " " in url:
        raise Unfit("must be a URL such as https://api.x.com.")
    if parts.username is not None or parts.query or parts.fragment:
        raise Unfit("must be a URL without user, query and fragment, such as https://api.x.com.")
    return url.rstrip("/")


_LATER = "which is not available in this version"
_REFUSED_STREAMS = {"compliance": _LATER}
_REFUSED_FORMATS = dict.fromkeys(("avro", "protobuf", "jsonschema", "json_schema"), _LATER)


class ConnectorConfig(BaseModel):
    """
    One connector's configuration, read and checked.

    *rules* holds the rules of `hashtags`, `rules` and `rules.file` together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: Annotated[
        str,
        Option(
            text(_name),
            "Connector",
            "Name of the connector. It is part of URLs, of transactional ids and of the tags of its rules at X.",
            "HIGH",
        ),
    ] = "posts"
    connector_class: Annotated[
        Literal["PostStreamSourceConnector"],
        Option(
            choice(CONNECTOR_CLASS, kind="CLASS"), "Connector", "The one plugin there is.", "HIGH", "connector.class"
        ),
    ] = CONNECTOR_CLASS
    tasks_max: Annotated[
        int,
        Option(
            whole(minimum=1),
            "Connector",
            "Most tasks to run. They share the partitions of the stream; more tasks than partitions are not started.",
        ),
    ] = 1

    topic: Annotated[str, Option(text(legal_topic), "Output", "Kafka topic that receives the posts.", "HIGH")]
    value_format: Annotated[
        Literal["json"],
        Option(
            choice("json", refused=_REFUSED_FORMATS),
            "Output",
            "How a record's value is written. `json` is the line of X, byte for byte.",
        ),
    ] = "json"
    topic_creation_default_partitions: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=100_000, besides=-1),
            "Output",
            "Partitions of the topic if we create it; -1 is the broker's default.",
            "LOW",
        ),
    ] = 4
    topic_creation_default_replication_factor: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=32_767, besides=-1),
            "Output",
            "Replicas of the topic if we create it; -1 is the broker's default.",
            "LOW",
        ),
    ] = -1
    topic_creation_default_retention_ms: Annotated[
        int | None,
        Option(
            whole(minimum=1, besides=-1, kind="LONG"),
            "Output",
            "Milliseconds for which the topic keeps a post if we create it; -1 is for ever, none the broker's default.",
            "LOW",
        ),
    ] = None
    topic_creation_default_cleanup_policy: Annotated[
        Literal["delete", "compact,delete"],
        Option(
            choice("delete", "compact,delete"),
            "Output",
            "How the topic forgets if we create it. `compact,delete` is for topics in which posts are withdrawn by"
            " tombstones.",
            "LOW",
        ),
    ] = "delete"

    stream: Annotated[
        StreamName,
        Option(
            choice(*STREAM_PARTITIONS, refused=_REFUSED_STREAMS),
            "Stream",
            "The stream to read. All but `filtered` are for enterprise accounts.",
            "HIGH",
        ),
    ] = "filtered"
    hashtags: Annotated[
        tuple[str, ...],
        Option(
            Parser(kind="LIST", parse=parse_hashtags),
            "Stream",
            "Hashtags to follow, comma-separated, with or without `#`. Each is a rule, labelled with the hashtag; a"
            " hashtag given twice, in whatever case, is one rule.",
            "HIGH",
        ),
    ] = ()
    rules: Annotated[
        tuple[Rule, ...],
        Option(
            text(parse_rules),
            "Stream",
            'Rules as a JSON list, such as `[{"value": "#python lang:en", "tag": "python"}]`. Without a tag, a rule'
            " gets a label made from its value. A value given twice is one rule; with two tags it is refused, as is one"
            " tag for two rules.",
            "HIGH",
        ),
    ] = ()
    rules_file: Annotated[
        tuple[Rule, ...],
        Option(
            file(read_rules),
            "Stream",
            "File with rules: `.json` with such a list, or `.toml` with a table `[[rules]]` of value and tag for each.",
            "HIGH",
        ),
    ] = ()

    bearer_token: Annotated[
        SecretStr | None,
        Option(
            secret(_key),
            "X API",
            "Bearer token of your app at X. Needed, unless key and secret are given; it wins over them.",
            "HIGH",
            "x.bearer.token",
        ),
    ] = None
    consumer_key: Annotated[
        SecretStr | None,
        Option(
            secret(_key),
            "X API",
            "Key of your app at X. Key and secret are exchanged for a bearer token.",
            "HIGH",
            "x.consumer.key",
        ),
    ] = None
    consumer_secret: Annotated[
        SecretStr | None,
        Option(secret(_key), "X API", "Secret that belongs to that key.", "HIGH", "x.consumer.secret"),
    ] = None
    access_token: Annotated[
        SecretStr | None,
        Option(
            secret(_key),
            "X API",
            "Accepted from old configurations and not used: streams of the API v2 know the app alone.",
            "LOW",
            "x.access.token",
        ),
    ] = None
    access_token_secret: Annotated[
        SecretStr | None,
        Option(secret(_key), "X API", "Accepted and not used, like the access token.", "LOW", "x.access.token.secret"),
    ] = None
    x_api_url: Annotated[
        str,
        Option(text(_api_url), "X API", "Where the API is; another place is a simulator or a proxy.", "LOW"),
    ] = "https://api.x.com"
    x_api_insecure: Annotated[
        bool,
        Option(
            boolean(),
            "X API",
            "Allow plain http to another machine. The token then travels unencrypted: for a simulator only.",
            "LOW",
        ),
    ] = False
    plan: Annotated[
        Literal["pay_per_use", "enterprise"],
        Option(
            choice("pay_per_use", "enterprise"),
            "X API",
            "Kind of your account at X, which says what it may use.",
        ),
    ] = "pay_per_use"

    tweet_fields: Annotated[
        tuple[str, ...],
        Option(names(*TWEET_FIELDS, refused=_PRIVATE_METRICS), "Fields", "Fields of each post, comma-separated."),
    ] = (
        *("attachments", "author_id", "conversation_id", "created_at", "edit_history_tweet_ids", "entities", "geo"),
        *("in_reply_to_user_id", "lang", "note_tweet", "possibly_sensitive", "public_metrics", "referenced_tweets"),
    )
    expansions: Annotated[
        tuple[str, ...],
        Option(
            names(*EXPANSIONS),
            "Fields",
            "Objects that X adds to each post, comma-separated. X charges for users and posts that it adds: about"
            " $0.010 for a user, about $0.005 for a post.",
        ),
    ] = ()
    user_fields: Annotated[
        tuple[str, ...],
        Option(names(*USER_FIELDS), "Fields", "Fields of each user that an expansion adds.", "LOW"),
    ] = ()
    media_fields: Annotated[
        tuple[str, ...],
        Option(
            names(*MEDIA_FIELDS, refused=_PRIVATE_METRICS),
            "Fields",
            "Fields of each image or video that an expansion adds.",
            "LOW",
        ),
    ] = ()
    place_fields: Annotated[
        tuple[str, ...],
        Option(names(*PLACE_FIELDS), "Fields", "Fields of each place that an expansion adds.", "LOW"),
    ] = ()
    poll_fields: Annotated[
        tuple[str, ...],
        Option(names(*POLL_FIELDS), "Fields", "Fields of each poll that an expansion adds.", "LOW"),
    ] = ()

    delivery: Annotated[
        Literal["exactly_once", "at_least_once"],
        Option(
            choice("exactly_once", "at_least_once"),
            "Delivery",
            "`exactly_once`: posts, ledger and offset in one transaction. `at_least_once`: for brokers without"
            " transactions; after a crash posts may come twice.",
            "HIGH",
        ),
    ] = "exactly_once"
    errors_tolerance: Annotated[
        Literal["none", "all"],
        Option(
            choice("none", "all"),
            "Delivery",
            "What a line that is no post does: `none` fails the task, `all` sends the line to the dead letter topic.",
        ),
    ] = "none"
    dead_letter_topic: Annotated[
        str | None,
        Option(
            text(legal_topic),
            "Delivery",
            "Kafka topic for lines that are no posts. Needed with `errors.tolerance=all`.",
        ),
    ] = None
    settle_secs: Annotated[
        float,
        Option(
            number(minimum=0, maximum=600),
            "Delivery",
            "Seconds that X may take to deliver a post, out of order; time younger than that is not called covered.",
            "LOW",
        ),
    ] = 15.0
    recovery: Annotated[
        Literal["auto", "backfill", "search", "none"],
        Option(
            choice("auto", "backfill", "search", "none"),
            "Delivery",
            "How gaps are repaired. `auto`: by the best way that `plan` has; `backfill`: only by what X replays"
            " (enterprise); `search`: only by recent search; `none`: gaps are recorded and shown, not repaired."
            " Repaired posts cost like live ones.",
        ),
    ] = "auto"
    backfill_max_minutes: Annotated[
        int,
        Option(
            whole(minimum=0, maximum=5),
            "Delivery",
            "Longest gap, in minutes, that a reconnect fills by `backfill_minutes` (enterprise). 0: never asked for.",
            "LOW",
        ),
    ] = 5
    budget_posts_per_day: Annotated[
        int | None,
        Option(
            whole(minimum=1),
            "Delivery",
            "Posts that the connector may read on one UTC day, live and by repair; then it pauses until the next.",
        ),
    ] = None
    budget_usd_per_month: Annotated[
        float | None,
        Option(
            number(minimum=0.005),
            "Delivery",
            "Dollars, at X's list price, that posts may cost in one UTC month; then the connector pauses until the"
            " next.",
        ),
    ] = None

    time_limit_secs: Annotated[
        float | None,
        Option(
            number(minimum=0.1),
            "Run",
            "Seconds after which the connector stops, drained. A worker with only this declared connector exits 0.",
        ),
    ] = None
    print_posts: Annotated[
        bool,
        Option(boolean(), "Run", "Also print each delivered post to the console, in one line.", "LOW", "print"),
    ] = False

    silence_timeout_secs: Annotated[
        float,
        Option(
            number(minimum=1, maximum=600),
            "Tuning",
            "Seconds without a byte from X after which the connection counts as lost. X sends something every 20 s, so"
            " 21 and more make sense.",
            "LOW",
        ),
    ] = 25.0
    poll_interval_ms: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=60_000),
            "Tuning",
            "Milliseconds between two polls; posts come sooner, and while nothing comes there is one a second.",
            "LOW",
        ),
    ] = 100
    batch_max_records: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=100_000), "Tuning", "Most records in one batch, which is one transaction.", "LOW"
        ),
    ] = 8000
    buffer_max_bytes: Annotated[
        int,
        Option(
            whole(minimum=65_536, kind="LONG"),
            "Tuning",
            "Bytes of memory for a task's posts between X and Kafka; then the reader waits. A third is a full batch.",
            "LOW",
        ),
    ] = 64 * 1024 * 1024

    @property
    def stream_params(self) -> Mapping[str, str]:
        """The query parameters of the stream that say what a post carries; those without a value are left out."""
        chosen = {
            "tweet.fields": self.tweet_fields,
            "expansions": self.expansions,
            "user.fields": self.user_fields,
            "media.fields": self.media_fields,
            "place.fields": self.place_fields,
            "poll.fields": self.poll_fields,
        }
        return {name: ",".join(values) for name, values in chosen.items() if values}

    @property
    def tasks(self) -> int:
        """How many tasks run: no more than the stream has partitions."""
        return min(self.tasks_max, STREAM_PARTITIONS[self.stream])

    def __reduce__(self) -> NoReturn:
        raise TypeError("ConnectorConfig holds secrets and is not pickled")


CONNECTOR_OPTIONS = declared(ConnectorConfig, ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What `check` found: a configuration, unless there are problems; and what is worth saying once."""

    config: ConnectorConfig | None
    problems: tuple[Problem, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """
    What a worker's environment says.

    *declared* is the configuration of *connector* as Connect's map of strings: secrets are references, and the rules
    of a file stand in it themselves, so that another worker needs no such file.
    """

    worker: WorkerSettings
    connector: ConnectorConfig | None
    declared: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    notices: tuple[str, ...] = ()


def load(environ: Mapping[str, str], directory: Path) -> Loaded:
    """
    Read the worker's settings and the connector it declares from *environ* and from `.env` in *directory*.

    A connector is declared if any of its options is set.

    Raises:
        ConfigError: with all problems, the worker's and the connector's.
    """
    dotenv = read_dotenv(directory)
    doubtful = doubts(dotenv, [*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()], environ)
    # With its comment, so that a variable in doubt is not said to be missing, too.
    environ = {**dotenv.variables, **{name: whole for name, (whole, _) in doubtful.items()}, **environ}
    worker, worker_problems, notices = read_worker(environ, directory)
    given = given_by(environ, CONNECTOR_OPTIONS.values(), directory)
    checked = Checked(config=None, problems=(), notices=())
    if given.texts or given.problems:
        checked = _check(given, worker.group_id)
    unknown = _unknown_variables(environ)
    sentences = [
        *dotenv.problems,
        *(sentence for _, sentence in doubtful.values()),
        *(problem.sentence for problem in worker_problems + checked.problems),
    ]
    if sentences:
        # A misspelled name is often the reason for a missing one.
        raise ConfigError([*sentences, *(sentence for sentence, near in unknown if near)])
    return Loaded(
        worker=worker,
        connector=checked.config,
        declared=MappingProxyType(_declaration(given, checked.config)),
        notices=(*dotenv.notices, *notices, *checked.notices, *(sentence for sentence, _ in unknown)),
    )


def check(
    texts: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    directory: Path,
    group_id: str,
) -> Checked:
    """
    Read Connect's flat map of strings.

    References to secrets are resolved with *environ*, so the answer holds for this worker.
    """
    return _check(Given(texts=texts, environ=environ, directory=directory), group_id)


def parse(
    texts: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    directory: Path,
    group_id: str,
) -> ConnectorConfig:
    """
    The configuration in *texts*, as `check` reads it.

    Raises:
        ConfigError: with all problems.
    """
    checked = check(texts, environ=environ, directory=directory, group_id=group_id)
    if checked.config is None:
        raise ConfigError([problem.sentence for problem in checked.problems])
    return checked.config


SECRETS = frozenset(name for name, option in CONNECTOR_OPTIONS.items() if option.secret)


def hide(texts: Mapping[str, str]) -> dict[str, str]:
    """*texts* as they may be shown: a secret that is no reference reads `[hidden]`."""
    return {
        name: HIDDEN if name in SECRETS and text and not is_reference(text) else text for name, text in texts.items()
    }


def _check(given: Given, group_id: str) -> Checked:
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
    ]
    problems = found.with_conflicts(conflicts)
    if problems:
        return Checked(config=None, problems=problems, notices=())
    return Checked(
        config=config.model_copy(update={"rules": rules}), problems=(), notices=tuple(_notices(config, given))
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
    yield from _option_notices(given)
    name = given.name
    unused = [option for option in ("x.access.token", "x.access.token.secret") if given.has(option)]
    for option in unused[:1]:
        yield f"{name(option)} is not used: streams of the API v2 know the app alone."
    if given.has("x.bearer.token") and given.has("x.consumer.key"):
        yield f"{name('x.bearer.token')} is used, and {name('x.consumer.key')} is not: the bearer token wins."
    if config.stream != "filtered" and config.plan != "enterprise":
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
    yield from _field_notices(config, given)


def _option_notices(given: Given) -> Iterable[str]:
    for option in sorted(given.texts.keys() - CONNECTOR_OPTIONS.keys()):
        yield _unknown(option, CONNECTOR_OPTIONS)[0]


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


def _unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, bool]]:
    """Sentences about variables of ours that nothing reads, and whether one knows what was meant."""
    ours = environment_names([*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()])
    known = ours | FAUST_SETTINGS | OTHER_VARIABLES
    return [_unknown(name, ours) for name in sorted(environ) if name.startswith(PREFIX) and name not in known]


def _unknown(name: str, known: Iterable[str]) -> tuple[str, bool]:
    near = nearest(name, known)
    # A name may be anything, line ends included.
    sentence = f"{name if name.isprintable() else shown(name)} is not known and has no effect"
    return f"{sentence}: did you mean {near}?" if near else f"{sentence}.", near is not None


def _declaration(given: Given, config: ConnectorConfig | None) -> dict[str, str]:
    declaration = {name: text.strip() for name, text in given.texts.items()}
    if config is not None:
        declaration.setdefault("name", config.name)
        declaration.setdefault("connector.class", config.connector_class)
        if declaration.pop("rules.file", None) is not None:
            declaration["rules"] = as_json(config.rules)
            declaration.pop("hashtags", None)
    return declaration
