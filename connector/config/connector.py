"""
The options of a connector.

`ConnectorConfig` declares every option once.  The option `time.limit.secs` is the attribute `time_limit_secs`, and in
the environment `CONNECTOR_TIME_LIMIT_SECS`.  `checks` compares options, `load` reads a worker's environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, NoReturn

from connector.config.addresses import API_URL, parse_api_url
from connector.config.certificates import check_authorities, check_certificate, check_key
from connector.config.chain import ALIASES, Chosen
from connector.config.fields import (
    COMPLIANCE,
    EXPANSIONS,
    MEDIA_FIELDS,
    PLACE_FIELDS,
    POLL_FIELDS,
    PRIVATE_METRICS,
    RECHECK,
    STREAM_PARTITIONS,
    TWEET_FIELDS,
    USER_FIELDS,
    StreamName,
    most_tasks,
)
from connector.config.options import (
    Option,
    Parser,
    Unfit,
    boolean,
    choice,
    declared,
    file,
    names,
    number,
    secret,
    shown,
    text,
    whole,
)
from connector.config.registry import (
    SCHEMA_FORMATS,
    compatibility,
    formats,
    parse_bearer,
    parse_login,
    parse_registry_urls,
    strategy,
)
from connector.config.rules import Rule, parse_hashtags, parse_rules, read_rules
from connector.config.secret import Secret
from connector.config.worker import legal_topic

ValueFormat = Literal["json", "avro", "json_schema", "protobuf"]
SubjectNameStrategy = Literal["TopicNameStrategy", "RecordNameStrategy", "TopicRecordNameStrategy"]
Compatibility = Literal[
    "NONE", "BACKWARD", "BACKWARD_TRANSITIVE", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE"
]

CONNECTOR_CLASS: Final = "PostStreamSourceConnector"
NAME_CHARACTERS_MAX = 64


def _name(name: str) -> str:
    if len(name) > NAME_CHARACTERS_MAX:
        raise Unfit(f"has {len(name)} characters: use at most {NAME_CHARACTERS_MAX}.")
    if "/" in name or name in {".", ".."} or not name.isprintable():
        raise Unfit(f"cannot be {shown(name)}: it is part of URLs, so use no slash and no control characters.")
    return name


def _class(name: str) -> str:
    """Return the class that *name* means, with or without the suffix `Connector`, as in Kafka Connect."""
    if name.lower() not in {CONNECTOR_CLASS.lower(), CONNECTOR_CLASS.lower().removesuffix("connector")}:
        raise Unfit(f"cannot be {shown(name)}: use {CONNECTOR_CLASS}.")
    return CONNECTOR_CLASS


def _key(secret: str) -> str:
    """Return *secret* if it can be sent in a request header; no message shows it."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorConfig:
    """
    One connector's configuration, read and checked.

    *rules* holds the rules of `hashtags`, `rules` and `rules.file` together, *chain* the transforms with their options.
    """

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
            Parser(kind="CLASS", parse=_class, choices=(CONNECTOR_CLASS,)),
            "Connector",
            "The one plugin there is.",
            "HIGH",
            "connector.class",
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
        ValueFormat,
        Option(
            formats("json", *SCHEMA_FORMATS),
            "Output",
            "How a record's value is written. `json` is the line of X, byte for byte. `avro`, `json_schema` and"
            " `protobuf` write a post by its schema in a schema registry (extra `schema`).",
        ),
    ] = "json"
    value_shape: Annotated[
        Literal["envelope", "post", "connect"],
        Option(
            choice("envelope", "post", "connect"),
            "Output",
            "What a record's value is with `value.format=json`. `envelope`: what X sends, the post in `data`, beside it"
            " `includes` and `matching_rules`. `post`: the post itself, with its text in full, and with what `includes`"
            " has in its place (docs/schema.md), as the formats with a schema write it. `connect`: the post in"
            " `payload`, beside it `schema`, as Kafka Connect's JsonConverter does with `schemas.enable=true`: some"
            " 14 kB more for each post, before compression.",
        ),
    ] = "envelope"
    value_raw: Annotated[
        bool,
        Option(
            boolean(),
            "Output",
            "With `value.shape=post` or `connect`, or a format with a schema: also keep the line of X, as text in the"
            " field `raw`.",
            "LOW",
        ),
    ] = False
    headers_cloudevents: Annotated[
        bool,
        Option(
            boolean(),
            "Output",
            "Give each record the headers that make it a CloudEvent, in binary mode: `ce_specversion`, `ce_id`,"
            " `ce_source`, `ce_type`, `ce_time` and `content-type`.",
            "LOW",
        ),
    ] = False
    headers_rules: Annotated[
        bool,
        Option(
            boolean(),
            "Output",
            "Give each record the header `rules`: the labels of the connector's rules that the post matched, as a JSON"
            " list.",
            "LOW",
        ),
    ] = False
    headers_traceparent: Annotated[
        bool,
        Option(
            boolean(),
            "Output",
            "Give each record the header `traceparent` (W3C Trace Context), of a span that the worker makes for the"
            " post. Needs a worker that exports traces (`OTEL_TRACES_EXPORTER`); others add no such header.",
            "LOW",
        ),
    ] = False
    schema_registry_url: Annotated[
        tuple[str, ...],
        Option(
            Parser(kind="LIST", parse=parse_registry_urls),
            "Schema registry",
            "URLs of a Confluent-compatible schema registry, comma-separated: the next one is asked if one does not"
            " answer. Required with `value.format=avro`, `json_schema` and `protobuf`.",
        ),
    ] = ()
    schema_registry_login: Annotated[
        Secret | None,
        Option(
            secret(parse_login),
            "Schema registry",
            "Login at the schema registry: `user:password`.",
            "MEDIUM",
            "schema.registry.basic.auth.user.info",
        ),
    ] = None
    schema_registry_token: Annotated[
        Secret | None,
        Option(
            secret(parse_bearer),
            "Schema registry",
            "Bearer token for the schema registry, in place of a login.",
            "LOW",
            "schema.registry.bearer.auth.token",
        ),
    ] = None
    schema_registry_authorities: Annotated[
        Path | None,
        Option(
            file(check_authorities),
            "Schema registry",
            "PEM file of the authorities that the schema registry's certificate is checked with; none: those that come"
            " with the package certifi, or what `SSL_CERT_FILE` says.",
            "LOW",
            "schema.registry.ssl.ca.location",
        ),
    ] = None
    schema_registry_certificate: Annotated[
        Path | None,
        Option(
            file(check_certificate),
            "Schema registry",
            "PEM file with the certificate that this worker shows to the schema registry, and perhaps its key.",
            "LOW",
            "schema.registry.ssl.certificate.location",
        ),
    ] = None
    schema_registry_key: Annotated[
        Path | None,
        Option(
            file(check_key),
            "Schema registry",
            "PEM file with the key of that certificate, if it is not in the same file.",
            "LOW",
            "schema.registry.ssl.key.location",
        ),
    ] = None
    schema_registry_key_password: Annotated[
        Secret | None,
        Option(
            secret(),
            "Schema registry",
            "Password that opens that key.",
            "LOW",
            "schema.registry.ssl.key.password",
        ),
    ] = None
    value_subject_name_strategy: Annotated[
        SubjectNameStrategy,
        Option(
            strategy(),
            "Schema registry",
            "Under which subject the schema is registered: `TopicNameStrategy` is `<topic>-value`,"
            " `RecordNameStrategy` the full name of the schema's record, `TopicRecordNameStrategy` both with `-`"
            " between.",
            "LOW",
        ),
    ] = "TopicNameStrategy"
    auto_register_schemas: Annotated[
        bool,
        Option(
            boolean(),
            "Schema registry",
            "Register the schema if the subject does not have it. `false`: it must be there.",
            "LOW",
        ),
    ] = True
    use_latest_version: Annotated[
        bool,
        Option(
            boolean(),
            "Schema registry",
            "Write by the latest version of the subject, whoever registered it; needs `auto.register.schemas=false`.",
            "LOW",
        ),
    ] = False
    normalize_schemas: Annotated[
        bool,
        Option(
            boolean(),
            "Schema registry",
            "Let the registry bring the schema into a normal form before it compares or registers it.",
            "LOW",
        ),
    ] = False
    schema_compatibility: Annotated[
        Compatibility | None,
        Option(
            compatibility(),
            "Schema registry",
            "Level of compatibility to set for the subject before the schema is registered; none: the registry's own"
            " holds. The schemas of all versions are `FULL_TRANSITIVE`.",
            "LOW",
        ),
    ] = None
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
            choice(*STREAM_PARTITIONS),
            "Stream",
            "The stream to read. All but `filtered` are for enterprise accounts. `compliance` tells which posts and"
            " users X has withdrawn; its connector withdraws posts from the topic that others fill. `recheck` does so"
            " for any account: it asks X for each post of `topic` again, at the age of `recheck.hours`.",
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

    compliance_action: Annotated[
        Literal["tombstone", "event", "none"],
        Option(
            choice("tombstone", "event", "none"),
            "Compliance",
            "What an event of the stream `compliance` becomes. `tombstone`: a record without a value under the key of"
            " each post that it withdraws, if the post is in `topic`; `event`: a record with the event as X sent it;"
            " `none`: it is only counted.",
            "HIGH",
        ),
    ] = "tombstone"
    compliance_window_hours: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=87_600),
            "Compliance",
            "Hours for which it is known who wrote which post of `topic`: an event about a user withdraws the user's"
            " posts of this time. An event about an older post becomes a tombstone whether the post is in `topic` or"
            " not.",
        ),
    ] = 192
    compliance_remember_minutes: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=10_080),
            "Compliance",
            "Minutes for which it is remembered what X has withdrawn: a post that comes to `topic` within this time is"
            " withdrawn, too. Every deletion at X takes some 20 bytes in Kafka.",
            "LOW",
        ),
    ] = 60

    recheck_hours: Annotated[
        int,
        Option(
            whole(minimum=0, maximum=87_600),
            "Compliance",
            "With `stream=recheck`: the age in hours at which X is asked once whether a post of `topic` is still there;"
            " 0: as soon as it is in the topic. X charges for each post that is there, so a budget makes sense. Must be"
            " less than `compliance.window.hours`.",
            "HIGH",
        ),
    ] = 24

    bearer_token: Annotated[
        Secret | None,
        Option(
            secret(_key),
            "X API",
            "Bearer token of your app at X. Needed, unless key and secret are given; it wins over them.",
            "HIGH",
            "x.bearer.token",
        ),
    ] = None
    consumer_key: Annotated[
        Secret | None,
        Option(
            secret(_key),
            "X API",
            "Key of your app at X. Key and secret are exchanged for a bearer token.",
            "HIGH",
            "x.consumer.key",
        ),
    ] = None
    consumer_secret: Annotated[
        Secret | None,
        Option(secret(_key), "X API", "Secret that belongs to that key.", "HIGH", "x.consumer.secret"),
    ] = None
    access_token: Annotated[
        Secret | None,
        Option(
            secret(_key),
            "X API",
            "Accepted from old configurations and not used: streams of the API v2 know the app alone.",
            "LOW",
            "x.access.token",
        ),
    ] = None
    access_token_secret: Annotated[
        Secret | None,
        Option(secret(_key), "X API", "Accepted and not used, like the access token.", "LOW", "x.access.token.secret"),
    ] = None
    x_api_url: Annotated[
        str,
        Option(text(parse_api_url), "X API", "Where the API is; another place is a simulator or a proxy.", "LOW"),
    ] = API_URL
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
        Option(names(*TWEET_FIELDS, refused=PRIVATE_METRICS), "Fields", "Fields of each post, comma-separated."),
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
            names(*MEDIA_FIELDS, refused=PRIVATE_METRICS),
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

    transforms: Annotated[
        tuple[str, ...],
        Option(
            ALIASES,
            "Transforms",
            "Aliases of the transforms that records pass before they are delivered, in their order. The options of each"
            " begin with `transforms.<alias>.`.",
            "LOW",
        ),
    ] = ()
    predicates: Annotated[
        tuple[str, ...],
        Option(
            ALIASES,
            "Transforms",
            "Aliases of the predicates that transforms use. The options of each begin with `predicates.<alias>.`.",
            "LOW",
        ),
    ] = ()
    chain: tuple[Chosen, ...] = ()

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
            "What a line does that is no post, or that a transform cannot take: `none` fails the task, `all` sends the"
            " line to the dead letter topic.",
        ),
    ] = "none"
    errors_retry_timeout: Annotated[
        int,
        Option(
            whole(minimum=0, besides=-1, kind="LONG"),
            "Delivery",
            "Milliseconds for which a task that FAILED because of something that may pass is started again and again;"
            " -1 is for ever, 0 never.",
        ),
    ] = 86_400_000
    errors_retry_delay_max_ms: Annotated[
        int,
        Option(
            whole(minimum=1, kind="LONG"),
            "Delivery",
            "Longest pause between two such starts, in milliseconds. The first is 5 s, each further one twice as long.",
            "LOW",
        ),
    ] = 300_000
    dead_letter_topic: Annotated[
        str | None,
        Option(
            text(legal_topic),
            "Delivery",
            "Kafka topic for lines that are no posts, and for those that a transform cannot take. Needed with"
            " `errors.tolerance=all`.",
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
        """Query parameters of the stream that choose fields and expansions of posts; empty ones are left out."""
        if self.stream in {COMPLIANCE, RECHECK}:
            return {}
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
        """How many tasks run: no more than the stream has work for."""
        return min(self.tasks_max, most_tasks(self.stream))

    @property
    def withdraws(self) -> bool:
        """Whether it withdraws posts from its topic, and so must know what is there."""
        return self.stream == RECHECK or (self.stream == COMPLIANCE and self.compliance_action == "tombstone")

    def __reduce__(self) -> NoReturn:
        raise TypeError("ConnectorConfig holds secrets and is not pickled")


CONNECTOR_OPTIONS = declared(ConnectorConfig, ".")
