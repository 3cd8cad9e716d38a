"""
The options of a connector.

`ConnectorConfig` declares every option once.  The option `time.limit.secs` is the attribute `time_limit_secs`, and in
the environment `CONNECTOR_TIME_LIMIT_SECS`.  `checks` compares options, `load` reads a worker's environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NoReturn
from urllib.parse import urlsplit

from connector.config.fields import (
    EXPANSIONS,
    MEDIA_FIELDS,
    PLACE_FIELDS,
    POLL_FIELDS,
    PRIVATE_METRICS,
    STREAM_PARTITIONS,
    TWEET_FIELDS,
    USER_FIELDS,
    StreamName,
)
from connector.config.options import (
    HIDDEN,
    Option,
    Parser,
    Unfit,
    boolean,
    choice,
    declared,
    file,
    is_reference,
    names,
    number,
    secret,
    shown,
    text,
    whole,
)
from connector.config.rules import Rule, parse_hashtags, parse_rules, read_rules
from connector.config.secret import Secret
from connector.config.worker import legal_topic

CONNECTOR_CLASS: Final = "PostStreamSourceConnector"
NAME_CHARACTERS_MAX = 64


def _name(name: str) -> str:
    if len(name) > NAME_CHARACTERS_MAX:
        raise Unfit(f"has {len(name)} characters: use at most {NAME_CHARACTERS_MAX}.")
    if "/" in name or name in {".", ".."} or not name.isprintable():
        raise Unfit(f"cannot be {shown(name)}: it is part of URLs, so use no slash and no control characters.")
    return name


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


def _api_url(url: str) -> str:
    # The text may hold a password, so no message shows it.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorConfig:
    """
    One connector's configuration, read and checked.

    *rules* holds the rules of `hashtags`, `rules` and `rules.file` together.
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
        """Query parameters of the stream that choose fields and expansions of posts; empty ones are left out."""
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
SECRETS = frozenset(name for name, option in CONNECTOR_OPTIONS.items() if option.secret)


def hide(texts: Mapping[str, str]) -> dict[str, str]:
    """Return *texts* with `[hidden]` in the place of each secret that is not a reference."""
    return {
        name: HIDDEN if name in SECRETS and text and not is_reference(text) else text for name, text in texts.items()
    }
