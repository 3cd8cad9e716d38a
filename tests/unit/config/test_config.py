import atexit
import json
import pickle
import shutil
import tempfile
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import get_type_hints

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typeguard import check_type

from connector.config import docs
from connector.config.checks import check, parse
from connector.config.connector import CONNECTOR_OPTIONS, ConnectorConfig
from connector.config.faust_settings import FAUST_SETTINGS
from connector.config.load import load
from connector.config.masks import hide
from connector.config.options import environment_names
from connector.config.rules import Rule
from connector.config.secret import Secret
from connector.config.worker import WORKER_OPTIONS
from connector.errors import ConfigError
from connector.transforms.catalogue import CATALOGUE
from tests import ROOT
from tests.certificates import Authority

DATA = Path(__file__).parent / "data"
BEARER = "AAAAsynthetic%3Dtoken"
REGISTRY = "https://one.example.com:8081"
_CERTIFICATES = Path(tempfile.mkdtemp(prefix="certificates-"))
atexit.register(shutil.rmtree, _CERTIFICATES, ignore_errors=True)
_AUTHORITY = Authority("tests")
AUTHORITIES, _CLIENT = _AUTHORITY.write(_CERTIFICATES, "ca"), _AUTHORITY.sign("client")
STORE, KEY = _CLIENT.write_store(_CERTIFICATES, "store"), _CLIENT.write(_CERTIFICATES, "client")[1]
DECLARED = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": BEARER}
BY_REST = {"topic": "posts", "hashtags": "python", "x.bearer.token": BEARER}


def problems_of(environ, directory=DATA):
    with pytest.raises(ConfigError) as caught:
        load(environ, directory)
    return caught.value.problems


def outcome_of(environ):
    try:
        return load(environ, DATA).notices
    except ConfigError as error:
        return error.problems


def config_of(environ, directory=DATA):
    return load(DECLARED | environ, directory).connector


def rest(texts, **environ):
    return check(texts, environ=environ, directory=DATA, group_id="connector")


NONE = ""  # an empty variable is one that is not set

WRONG = [
    # Required
    ({"CONNECTOR_TOPIC": NONE}, "CONNECTOR_TOPIC is required: Kafka topic that receives the posts."),
    (
        {"CONNECTOR_HASHTAGS": NONE},
        (
            "CONNECTOR_HASHTAGS is required with CONNECTOR_STREAM=filtered, or CONNECTOR_RULES or CONNECTOR_RULES_FILE:"
            " without a rule X sends no post."
        ),
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": NONE},
        (
            "CONNECTOR_X_BEARER_TOKEN is required, or CONNECTOR_X_CONSUMER_KEY and CONNECTOR_X_CONSUMER_SECRET: the"
            " credentials of your app at X."
        ),
    ),
    # Credentials
    (
        {"CONNECTOR_X_CONSUMER_KEY": "key"},
        (
            "CONNECTOR_X_CONSUMER_SECRET is required with CONNECTOR_X_CONSUMER_KEY: both together are exchanged"
            " for a token."
        ),
    ),
    (
        {"CONNECTOR_X_CONSUMER_SECRET": "secret", "CONNECTOR_X_BEARER_TOKEN": NONE},
        (
            "CONNECTOR_X_CONSUMER_KEY is required with CONNECTOR_X_CONSUMER_SECRET: both together are exchanged"
            " for a token."
        ),
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": f"Bearer {BEARER}"},
        "CONNECTOR_X_BEARER_TOKEN must be the token alone: remove the word Bearer before it.",
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": f"{BEARER}\n{BEARER}"},
        "CONNECTOR_X_BEARER_TOKEN contains white space or a line end: copy it again, in one piece.",
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": f"{BEARER}€"},
        "CONNECTOR_X_BEARER_TOKEN contains characters that no key of X has: copy it again.",
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": "[hidden]"},
        (
            "CONNECTOR_X_BEARER_TOKEN is [hidden], which stands for a secret and is none: give the secret or a"
            " reference to it."
        ),
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN_FILE": "token"},
        "CONNECTOR_X_BEARER_TOKEN and CONNECTOR_X_BEARER_TOKEN_FILE are both set: keep one of them.",
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": NONE, "CONNECTOR_X_BEARER_TOKEN_FILE": "/nowhere/token"},
        "CONNECTOR_X_BEARER_TOKEN_FILE names /nowhere/token, which does not exist.",
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": NONE, "CONNECTOR_X_BEARER_TOKEN_FILE": "/"},
        "CONNECTOR_X_BEARER_TOKEN_FILE names /, which cannot be read: Is a directory.",
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": NONE, "CONNECTOR_X_BEARER_TOKEN_FILE": "/dev/null"},
        "CONNECTOR_X_BEARER_TOKEN_FILE names /dev/null, which is empty.",
    ),
    (
        {"CONNECTOR_X_BEARER_TOKEN": NONE, "CONNECTOR_X_BEARER_TOKEN_FILE": "/dev/zero"},
        "CONNECTOR_X_BEARER_TOKEN_FILE names /dev/zero, which is longer than 65536 bytes.",
    ),
    # The API
    (
        {"CONNECTOR_X_API_URL": "http://simulator:8080"},
        (
            "CONNECTOR_X_API_URL would send the token unencrypted: use https, or set CONNECTOR_X_API_INSECURE=true for"
            " a simulator."
        ),
    ),
    ({"CONNECTOR_X_API_URL": "api.x.com"}, "CONNECTOR_X_API_URL must be a URL such as https://api.x.com."),
    (
        {"CONNECTOR_X_API_URL": f"https://user:{BEARER}@api.x.com"},
        "CONNECTOR_X_API_URL must be a URL without user, query and fragment, such as https://api.x.com.",
    ),
    ({"CONNECTOR_X_API_INSECURE": "maybe"}, "CONNECTOR_X_API_INSECURE must be true or false, not 'maybe'."),
    # Streams and rules
    (
        {"CONNECTOR_STREAM": "deletions"},
        (
            "CONNECTOR_STREAM cannot be 'deletions': use filtered, sample, sample10, firehose, firehose.en,"
            " firehose.ja, firehose.ko, firehose.pt, compliance or recheck."
        ),
    ),
    (
        {"CONNECTOR_STREAM": "compliance", "CONNECTOR_HASHTAGS": "", "CONNECTOR_BUDGET_POSTS_PER_DAY": "9"},
        (
            "CONNECTOR_BUDGET_POSTS_PER_DAY works only with streams of posts, not with CONNECTOR_STREAM=compliance:"
            " remove it."
        ),
    ),
    (
        {"CONNECTOR_STREAM": "recheck", "CONNECTOR_HASHTAGS": "", "CONNECTOR_COMPLIANCE_ACTION": "event"},
        (
            "CONNECTOR_COMPLIANCE_ACTION=event does not work with CONNECTOR_STREAM=recheck, which asks X for the posts"
            " of the topic to withdraw them: remove it."
        ),
    ),
    (
        {"CONNECTOR_STREAM": "recheck", "CONNECTOR_HASHTAGS": "", "CONNECTOR_RECHECK_HOURS": "192"},
        (
            "CONNECTOR_RECHECK_HOURS is 192, and CONNECTOR_COMPLIANCE_WINDOW_HOURS is 192: a post would be forgotten"
            " before it is rechecked; choose a larger CONNECTOR_COMPLIANCE_WINDOW_HOURS."
        ),
    ),
    (
        {"CONNECTOR_STREAM": "sample"},
        "CONNECTOR_HASHTAGS works only with CONNECTOR_STREAM=filtered, not sample: remove it, or change the stream.",
    ),
    (
        {"CONNECTOR_HASHTAGS": "#python, c++"},
        "CONNECTOR_HASHTAGS has 'c++', which is no hashtag: use letters, digits and _, and at least one letter.",
    ),
    (
        {"CONNECTOR_HASHTAGS": "2026"},
        "CONNECTOR_HASHTAGS has '2026', which is no hashtag: use letters, digits and _, and at least one letter.",
    ),
    ({"CONNECTOR_RULES": "cat"}, "CONNECTOR_RULES is not JSON: Expecting value at line 1, column 1."),
    (
        {"CONNECTOR_RULES": '{"value": "cat"}'},
        'CONNECTOR_RULES must be a list of rules, such as [{"value": "#python", "tag": "python"}].',
    ),
    (
        {"CONNECTOR_RULES": '[{"value": "cat", "label": "c"}]'},
        "CONNECTOR_RULES has a rule 1 with an unknown key, 'label': it takes value and tag.",
    ),
    ({"CONNECTOR_RULES": '[{"tag": "c"}]'}, "CONNECTOR_RULES has a rule 1 without a value: give it a text."),
    (
        {"CONNECTOR_RULES": json.dumps([{"value": "c" * 2049}])},
        "CONNECTOR_RULES has a rule 1 with a value of 2049 characters: it may have 2048.",
    ),
    (
        {"CONNECTOR_RULES": '[{"value": "cat\\ndog"}]'},
        "CONNECTOR_RULES has a rule 1 with a control character in its value: write it in one line.",
    ),
    (
        {"CONNECTOR_RULES": '[{"value": "cat", "tag": "python"}]'},
        "CONNECTOR_RULES has the tag 'python' for two rules, '#python' and 'cat': change one tag.",
    ),
    (
        {"CONNECTOR_RULES": '[{"value": "cat", "tag": "a"}, {"value": "cat", "tag": "b"}]'},
        "CONNECTOR_RULES has the tags 'a' and 'b' for one rule, 'cat': keep one of them.",
    ),
    ({"CONNECTOR_RULES_FILE": "/nowhere.toml"}, "CONNECTOR_RULES_FILE names /nowhere.toml, which does not exist."),
    (
        {"CONNECTOR_RULES_FILE": "/rules.yaml"},
        "CONNECTOR_RULES_FILE names /rules.yaml, which ends neither in .toml nor in .json.",
    ),
    # Fields
    (
        {"CONNECTOR_TWEET_FIELDS": "create_at"},
        "CONNECTOR_TWEET_FIELDS does not know 'create_at': did you mean created_at?",
    ),
    (
        {"CONNECTOR_POLL_FIELDS": "colour"},
        (
            "CONNECTOR_POLL_FIELDS does not know 'colour': use duration_minutes, end_datetime, id, options or"
            " voting_status."
        ),
    ),
    (
        {"CONNECTOR_TWEET_FIELDS": "id,promoted_metrics"},
        "CONNECTOR_TWEET_FIELDS cannot have promoted_metrics: X gives it only to the author, never on a stream.",
    ),
    # Names and topics
    (
        {"CONNECTOR_TOPIC": "my posts"},
        "CONNECTOR_TOPIC cannot be 'my posts': Kafka allows up to 249 letters, digits, dots, underscores and hyphens.",
    ),
    (
        {"CONNECTOR_TOPIC": "connector-ledger"},
        "CONNECTOR_TOPIC cannot be connector-ledger, where the workers keep their state: choose another name.",
    ),
    (
        {"CONNECTOR_NAME": "a/b"},
        "CONNECTOR_NAME cannot be 'a/b': it is part of URLs, so use no slash and no control characters.",
    ),
    ({"CONNECTOR_NAME": "n" * 65}, "CONNECTOR_NAME has 65 characters: use at most 64."),
    (
        {"CONNECTOR_CONNECTOR_CLASS": "Nope"},
        "CONNECTOR_CONNECTOR_CLASS cannot be 'Nope': use PostStreamSourceConnector.",
    ),
    (
        {"CONNECTOR_ERRORS_TOLERANCE": "all"},
        (
            "CONNECTOR_DEAD_LETTER_TOPIC is required with CONNECTOR_ERRORS_TOLERANCE=all: Kafka topic for lines that"
            " are no posts."
        ),
    ),
    (
        {"CONNECTOR_DEAD_LETTER_TOPIC": "posts"},
        "CONNECTOR_DEAD_LETTER_TOPIC cannot be the same as CONNECTOR_TOPIC: choose another name.",
    ),
    # Not in this version
    (
        {"CONNECTOR_VALUE_FORMAT": "xml"},
        "CONNECTOR_VALUE_FORMAT cannot be 'xml': use json, avro, json_schema or protobuf.",
    ),
    # What gaps and money allow
    (
        {"CONNECTOR_RECOVERY": "magic"},
        "CONNECTOR_RECOVERY cannot be 'magic': use auto, backfill, search or none.",
    ),
    (
        {"CONNECTOR_RECOVERY": "backfill"},
        (
            "CONNECTOR_RECOVERY=backfill is for enterprise accounts, and CONNECTOR_PLAN is pay_per_use: use search, or"
            " auto."
        ),
    ),
    (
        {"CONNECTOR_RECOVERY": "search", "CONNECTOR_STREAM": "sample10", "CONNECTOR_HASHTAGS": ""}
        | {"CONNECTOR_PLAN": "enterprise"},
        (
            "CONNECTOR_RECOVERY=search works only with CONNECTOR_STREAM=filtered, whose rules can be searched for: use"
            " auto, backfill or none."
        ),
    ),
    (
        {"CONNECTOR_PLAN": "enterprise", "CONNECTOR_BUDGET_USD_PER_MONTH": "50"},
        (
            "CONNECTOR_BUDGET_USD_PER_MONTH works only with CONNECTOR_PLAN=pay_per_use, as X does not publish"
            " enterprise prices: use CONNECTOR_BUDGET_POSTS_PER_DAY."
        ),
    ),
    (
        {"CONNECTOR_BACKFILL_MAX_MINUTES": "6"},
        "CONNECTOR_BACKFILL_MAX_MINUTES must be from 0 to 5, not '6'.",
    ),
    (
        {"CONNECTOR_BUDGET_POSTS_PER_DAY": "0"},
        "CONNECTOR_BUDGET_POSTS_PER_DAY must be at least 1, not '0'.",
    ),
    (
        {"CONNECTOR_BUDGET_USD_PER_MONTH": "0"},
        "CONNECTOR_BUDGET_USD_PER_MONTH must be at least 0.005, not '0'.",
    ),
    # Numbers and words
    ({"CONNECTOR_TASKS_MAX": "two"}, "CONNECTOR_TASKS_MAX must be a whole number, not 'two'."),
    ({"CONNECTOR_TASKS_MAX": "0"}, "CONNECTOR_TASKS_MAX must be at least 1, not '0'."),
    ({"CONNECTOR_TASKS_MAX": "9" * 30}, f"CONNECTOR_TASKS_MAX must be at most 2147483647, not '{'9' * 30}'."),
    ({"CONNECTOR_TIME_LIMIT_SECS": "soon"}, "CONNECTOR_TIME_LIMIT_SECS must be a number, not 'soon'."),
    ({"CONNECTOR_TIME_LIMIT_SECS": "inf"}, "CONNECTOR_TIME_LIMIT_SECS must be a number, not 'inf'."),
    ({"CONNECTOR_SETTLE_SECS": "-1"}, "CONNECTOR_SETTLE_SECS must be from 0 to 600, not '-1'."),
    (
        {"CONNECTOR_TOPIC_CREATION_DEFAULT_PARTITIONS": "0"},
        "CONNECTOR_TOPIC_CREATION_DEFAULT_PARTITIONS must be -1 or from 1 to 100000, not '0'.",
    ),
    (
        {"CONNECTOR_DELIVERY": "at_most_once"},
        "CONNECTOR_DELIVERY cannot be 'at_most_once': use exactly_once or at_least_once.",
    ),
    ({"CONNECTOR_TOPIC": "\udcff"}, "CONNECTOR_TOPIC is not valid UTF-8: write it again."),
]


@pytest.mark.parametrize(("environ", "sentence"), WRONG, ids=[sentence[:60] for _, sentence in WRONG])
def test_wrong_setting(environ, sentence):
    """A wrong setting is answered with one sentence that names it and the cure, and with nothing else."""
    problems = problems_of(DECLARED | environ)

    assert (sentence,) == problems


def test_all_problems_at_once():
    """Every problem is told in one go, the worker's and the connector's; a misspelled name is told beside them."""
    problems = problems_of(
        {
            "CONNECTOR_TOPC": "posts",
            "CONNECTOR_WEB_PORT": "http",
            "CONNECTOR_HASHTAGS": "c++,c#",
            "CONNECTOR_X_CONSUMER_KEY": "my key",
            "CONNECTOR_TIME_LIMIT_SECS": "0",
            "CONNECTOR_ERRORS_TOLERANCE": "all",
            "CONNECTOR_UNRELATED_THING": "1",
        }
    )

    assert (
        "CONNECTOR_WEB_PORT must be a whole number, not 'http'.",
        "CONNECTOR_TOPIC is required: Kafka topic that receives the posts.",
        "CONNECTOR_HASHTAGS has 'c++', which is no hashtag: use letters, digits and _, and at least one letter.",
        "CONNECTOR_HASHTAGS has 'c#', which is no hashtag: use letters, digits and _, and at least one letter.",
        "CONNECTOR_X_CONSUMER_KEY contains white space or a line end: copy it again, in one piece.",
        "CONNECTOR_TIME_LIMIT_SECS must be at least 0.1, not '0'.",
        (
            "CONNECTOR_X_CONSUMER_SECRET is required with CONNECTOR_X_CONSUMER_KEY: both together are exchanged"
            " for a token."
        ),
        (
            "CONNECTOR_DEAD_LETTER_TOPIC is required with CONNECTOR_ERRORS_TOLERANCE=all: Kafka topic for lines that"
            " are no posts."
        ),
        "CONNECTOR_TOPC is not known and has no effect: did you mean CONNECTOR_TOPIC?",
    ) == problems


def test_no_connector_declared():
    """Without any option of a connector, none is declared."""
    loaded = load({"CONNECTOR_GROUP_ID": "birds", "CONNECTOR_TOPIC": " "}, DATA)

    assert (None, {}) == (loaded.connector, dict(loaded.declared))


def test_defaults():
    """Topic, rule and token are enough; the rest is as documented."""
    config = config_of({})

    assert (
        ConnectorConfig(
            topic="posts", hashtags=("#python",), rules=(Rule("#python", "python"),), bearer_token=Secret(BEARER)
        )
        == config
    )
    assert 64 * 1024 * 1024 == config.buffer_max_bytes
    assert config.time_limit_secs is None
    assert (True, False) == ("author_id" in config.tweet_fields, bool(config.expansions))


EXAMPLES = {
    "compliance.action": ("EVENT", "event"),
    "compliance.window.hours": ("720", 720),
    "compliance.remember.minutes": ("5", 5),
    "recheck.hours": ("48", 48),
    "errors.retry.timeout": ("-1", -1),
    "errors.retry.delay.max.ms": ("60000", 60_000),
    "name": ("birds", "birds"),
    "connector.class": ("PostStreamSourceConnector", "PostStreamSourceConnector"),
    "tasks.max": ("2", 2),
    "topic": ("birds.posts_1-a", "birds.posts_1-a"),
    "value.format": ("JSON", "json"),
    "value.shape": ("Post", "post"),
    "value.raw": ("true", True),
    "headers.cloudevents": ("yes", True),
    "headers.rules": ("on", True),
    "headers.traceparent": ("1", True),
    "schema.registry.url": (f"{REGISTRY}/, https://two:8081", (REGISTRY, "https://two:8081")),
    "schema.registry.basic.auth.user.info": ("robin:a:b", "robin:a:b"),
    "schema.registry.bearer.auth.token": ("token", "token"),
    "schema.registry.ssl.ca.location": (str(AUTHORITIES), AUTHORITIES),
    "schema.registry.ssl.certificate.location": (str(STORE), STORE),
    "schema.registry.ssl.key.location": (str(KEY), KEY),
    "schema.registry.ssl.key.password": ("pass word", "pass word"),
    "value.subject.name.strategy": (
        "io.confluent.kafka.serializers.subject.RecordNameStrategy",
        "RecordNameStrategy",
    ),
    "auto.register.schemas": ("false", False),
    "use.latest.version": ("false", False),
    "normalize.schemas": ("true", True),
    "schema.compatibility": ("full_transitive", "FULL_TRANSITIVE"),
    "topic.creation.default.partitions": ("12", 12),
    "topic.creation.default.replication.factor": ("3", 3),
    "topic.creation.default.retention.ms": ("604800000000", 604_800_000_000),
    "topic.creation.default.cleanup.policy": ("compact,delete", "compact,delete"),
    "stream": ("filtered", "filtered"),
    "hashtags": ("python, #Kafka,python", ("#python", "#Kafka")),
    "rules": (
        '[{"value": "cat has:images", "tag": "cats"}]',
        (Rule("#python", "python"), Rule("cat has:images", "cats")),
    ),
    "rules.file": ("rules.toml", (Rule("cat has:images", "cats"), Rule("#Zürich lang:de", "rule-6d3ceb34"))),
    "x.bearer.token": (BEARER, BEARER),
    "x.consumer.key": ("key", "key"),
    "x.consumer.secret": ("secret", "secret"),
    "x.access.token": ("1-access", "1-access"),
    "x.access.token.secret": ("access-secret", "access-secret"),
    "x.api.url": ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
    "x.api.insecure": ("yes", True),
    "plan": ("enterprise", "enterprise"),
    "tweet.fields": ("id, text,id", ("id", "text")),
    "expansions": ("author_id", ("author_id",)),
    "user.fields": ("name", ("name",)),
    "media.fields": ("alt_text", ("alt_text",)),
    "place.fields": ("geo", ("geo",)),
    "poll.fields": ("options", ("options",)),
    "transforms": ("drop, hide.it", ("drop", "hide.it")),
    "predicates": ("repaired", ("repaired",)),
    "delivery": ("at_least_once", "at_least_once"),
    "errors.tolerance": ("none", "none"),
    "dead.letter.topic": ("dead", "dead"),
    "settle.secs": ("7.5", 7.5),
    "recovery": ("search", "search"),
    "backfill.max.minutes": ("0", 0),
    "budget.posts.per.day": ("1000", 1_000),
    "budget.usd.per.month": ("12.5", 12.5),
    "time.limit.secs": ("60", 60.0),
    "print": ("TRUE", True),
    "silence.timeout.secs": ("30", 30.0),
    "poll.interval.ms": ("250", 250),
    "batch.max.records": ("500", 500),
    "buffer.max.bytes": ("1048576", 1_048_576),
}

CLASSES = {
    "CONNECTOR_TRANSFORMS_DROP_TYPE": "Filter",
    "CONNECTOR_TRANSFORMS_HIDE_IT_TYPE": "Flatten$Value",
    "CONNECTOR_PREDICATES_REPAIRED_TYPE": "RecordIsTombstone",
}
_CERTIFICATE = {"CONNECTOR_SCHEMA_REGISTRY_SSL_CERTIFICATE_LOCATION": str(STORE)}
REGISTERED = {
    "schema.registry.ssl.key.location": _CERTIFICATE,
    "schema.registry.ssl.key.password": _CERTIFICATE,
}
"""What else an option of the schema registry needs."""
KEY_PAIR = {"CONNECTOR_X_CONSUMER_KEY": "key", "CONNECTOR_X_CONSUMER_SECRET": "secret"}


@pytest.mark.parametrize("name", [name for name, option in CONNECTOR_OPTIONS.items() if option.available])
def test_settable_from_environment(name):
    """Every option of the declaration can be set from the environment, and has its declared type then."""
    option, (text, value) = CONNECTOR_OPTIONS[name], EXAMPLES[name]
    environ = DECLARED | KEY_PAIR | CLASSES | REGISTERED.get(name, {}) | {option.environment: text}

    config = load(environ, DATA, CATALOGUE).connector

    found = getattr(config, option.attribute)
    assert value == (found.reveal() if option.secret else found)
    check_type(found, get_type_hints(ConnectorConfig)[option.attribute])


@pytest.mark.parametrize("name", sorted(CONNECTOR_OPTIONS))
def test_settable_by_rest(name):
    """Every option has the same meaning by its own name; problems then speak of that name."""
    checked = rest(BY_REST | {name: "\udcff"})

    expected = "is not valid UTF-8" if CONNECTOR_OPTIONS[name].available else "is not available"
    assert checked.problems[0].option == name
    assert checked.problems[0].sentence.startswith(f"{name} {expected}")


def test_every_name_is_unique():
    """No option of a connector has the variable of a worker's setting or of one of Faust's."""
    connector = environment_names(CONNECTOR_OPTIONS.values())
    others = environment_names(WORKER_OPTIONS.values()) | FAUST_SETTINGS

    assert set() == connector & others
    assert len(CONNECTOR_OPTIONS) == len({option.environment for option in CONNECTOR_OPTIONS.values()})


@pytest.mark.parametrize(
    ("environ", "rules"),
    [
        # In whatever case and form, a hashtag is one rule; the first spelling stays.
        ({"CONNECTOR_HASHTAGS": "#Python,python,\uff03PYTHON"}, [Rule("#Python", "Python")]),
        # Only case is no difference: the two are written by different people.
        (
            {"CONNECTOR_HASHTAGS": "straße,strasse,STRASSE,STRAẞE,ﬁsh,fish,İzmir,izmir,ΟΔΟΣ,οδος"},
            [Rule(f"#{tag}", tag) for tag in ("straße", "strasse", "ﬁsh", "fish", "İzmir", "izmir", "ΟΔΟΣ")],
        ),
        # Letters of any script; a combining accent is composed.
        (
            {"CONNECTOR_HASHTAGS": "Zu\u0308rich,日本語,नमस्ते"},
            [Rule(f"#{tag}", tag) for tag in ("Zürich", "日本語", "नमस्ते")],
        ),
        # A value given twice is one rule.
        ({"CONNECTOR_RULES": '[{"value": "#PYTHON"}]'}, [Rule("#python", "python")]),
        # The tag that someone wrote wins over the one we made.
        ({"CONNECTOR_RULES": '[{"value": "#python", "tag": "snakes"}]'}, [Rule("#python", "snakes")]),
        # Without a tag, the label is made from the value alone.
        ({"CONNECTOR_RULES": '[{"value": " cat "}]'}, [Rule("#python", "python"), Rule("cat", "rule-77af778b")]),
    ],
)
def test_rules_are_merged(environ, rules):
    """Hashtags and rules become one list, in which each value and each label stands once."""
    config = config_of(environ)

    assert tuple(rules) == config.rules


RECHECKED = {
    "CONNECTOR_STREAM": "recheck",
    "CONNECTOR_HASHTAGS": NONE,
    "CONNECTOR_TOPIC_CREATION_DEFAULT_CLEANUP_POLICY": "compact,delete",
}
NOTICES = [
    (
        {"CONNECTOR_X_ACCESS_TOKEN": "1-a"},
        "CONNECTOR_X_ACCESS_TOKEN is not used: streams of the API v2 know the app alone.",
    ),
    (KEY_PAIR, "CONNECTOR_X_BEARER_TOKEN is used, and CONNECTOR_X_CONSUMER_KEY is not: the bearer token wins."),
    (
        {"CONNECTOR_DEAD_LETTER_TOPIC": "dead"},
        "CONNECTOR_DEAD_LETTER_TOPIC is not used while CONNECTOR_ERRORS_TOLERANCE is none.",
    ),
    (
        RECHECKED,
        (
            "CONNECTOR_STREAM=recheck has no budget: X charges for each post that it finds, at $0.005; set"
            " CONNECTOR_BUDGET_USD_PER_MONTH or CONNECTOR_BUDGET_POSTS_PER_DAY."
        ),
    ),
    (
        {"CONNECTOR_STREAM": "sample10", "CONNECTOR_HASHTAGS": NONE},
        "CONNECTOR_STREAM=sample10 is for enterprise accounts, and CONNECTOR_PLAN is pay_per_use.",
    ),
    (
        {"CONNECTOR_TASKS_MAX": "4"},
        "CONNECTOR_TASKS_MAX is 4, and the stream filtered has work for 1: that many run.",
    ),
    (
        {"CONNECTOR_SILENCE_TIMEOUT_SECS": "5"},
        (
            "CONNECTOR_SILENCE_TIMEOUT_SECS is 5, and a quiet stream sends something only every 20 s: it will be cut"
            " off again and again."
        ),
    ),
    (
        {"CONNECTOR_POLL_FIELDS": "options"},
        (
            "CONNECTOR_POLL_FIELDS has no effect without an expansion that adds such objects:"
            " CONNECTOR_EXPANSIONS=attachments.poll_ids does."
        ),
    ),
    (
        {"CONNECTOR_EXPANSIONS": "author_id,geo.place_id"},
        "CONNECTOR_EXPANSIONS has author_id: X charges for what that adds to each post.",
    ),
    (
        {"CONNECTOR_EXPANSIONS": "referenced_tweets.id.attachments.media_keys,geo.place_id"},
        (
            "CONNECTOR_EXPANSIONS has referenced_tweets.id.attachments.media_keys: X charges for what that adds to each"
            " post."
        ),
    ),
    (
        {"CONNECTOR_HASHTAGS": "Python, #kafka, \uff03PYTHON, #Python"},
        "'#PYTHON' is the same rule as '#Python', as X ignores case in a hashtag: one rule is made.",
    ),
    (
        {"CONNECTOR_RULES": '[{"value": "#PYTHON"}, {"value": "cat"}, {"value": "Cat"}]'},
        "'#PYTHON' is the same rule as '#python', as X ignores case in a hashtag: one rule is made.",
    ),
    (
        {"CONNECTOR_VALUE_RAW": "true"},
        "CONNECTOR_VALUE_RAW has no effect with CONNECTOR_VALUE_SHAPE=envelope, which is X's line.",
    ),
    (
        {"CONNECTOR_HEADERS_TRACEPARENT": "true"},
        (
            "CONNECTOR_HEADERS_TRACEPARENT has no effect on this worker, which exports no traces:"
            " OTEL_TRACES_EXPORTER=otlp in its environment does."
        ),
    ),
    (
        {"CONNECTOR_HASTAGS": "python"},
        "CONNECTOR_HASTAGS is not known and has no effect: did you mean CONNECTOR_HASHTAGS?",
    ),
    (
        {"CONNECTOR_BIRDS_TOKEN": "AAAA"},
        (
            "CONNECTOR_BIRDS_TOKEN is not known and has no effect,"
            " unless a configuration names it as ${env:CONNECTOR_BIRDS_TOKEN}."
        ),
    ),
]


@pytest.mark.parametrize(("environ", "sentence"), NOTICES, ids=[sentence[:60] for _, sentence in NOTICES])
def test_notice(environ, sentence):
    """What works but may not be what was meant is said once."""
    loaded = load(DECLARED | environ, DATA)

    assert (sentence,) == loaded.notices


def test_unknown_option_by_rest():
    """An unknown option is named with the nearest known one."""
    checked = rest(BY_REST | {"hashtag": "x", "key.converter": "y"})

    assert (
        "hashtag is not known and has no effect: did you mean hashtags?",
        "key.converter is not known and has no effect.",
    ) == checked.notices


def test_stream_params():
    """Only fields that were chosen are asked for."""
    config = config_of({"CONNECTOR_TWEET_FIELDS": "id,text", "CONNECTOR_EXPANSIONS": "geo.place_id"})

    assert {"tweet.fields": "id,text", "expansions": "geo.place_id"} == config.stream_params


@pytest.mark.parametrize(
    ("stream", "tasks_max", "tasks"), [("filtered", 3, 1), ("sample10", 1, 1), ("sample10", 5, 2), ("firehose", 6, 6)]
)
def test_tasks(stream, tasks_max, tasks):
    """No more tasks run than the stream has partitions."""
    assert tasks == ConnectorConfig(topic="posts", stream=stream, tasks_max=tasks_max).tasks


def test_declaration_is_shown_with_references(tmp_path):
    """A declared connector's secrets read as references, and what is declared reads as the same configuration."""
    (tmp_path / "secret").write_text("file-secret\n")
    environ = {
        "CONNECTOR_TOPIC": " posts ",
        "CONNECTOR_HASHTAGS": "python",
        "CONNECTOR_X_CONSUMER_KEY": "key-in-variable",
        "CONNECTOR_X_CONSUMER_SECRET_FILE": "secret",
    }

    loaded = load(environ, tmp_path)

    assert {
        "name": "posts",
        "connector.class": "PostStreamSourceConnector",
        "topic": "posts",
        "hashtags": "python",
        "x.consumer.key": "${env:CONNECTOR_X_CONSUMER_KEY}",
        "x.consumer.secret": f"${{file:{tmp_path}/secret}}",
    } == loaded.declared
    assert hide(loaded.declared) == loaded.declared
    assert loaded.connector == parse(loaded.declared, environ=environ, directory=DATA, group_id="connector")
    assert "file-secret" == loaded.connector.consumer_secret.reveal()


def test_declaration_holds_the_rules_of_a_file(tmp_path):
    """A worker that has no such file can run what another one declared, and a changed file is a changed declaration."""
    environ = DECLARED | {"CONNECTOR_RULES_FILE": str(DATA / "rules.json")}

    loaded = load(environ, tmp_path)

    again = parse(loaded.declared, environ=environ, directory=tmp_path, group_id="connector")
    assert "rules.file" not in loaded.declared
    assert (Rule("#python", "python"), Rule("dog", "dogs")) == loaded.connector.rules == again.rules


@pytest.mark.parametrize(
    ("text", "rest_of_sentence"),
    [
        ("${env:HOME}", "may refer only to variables that begin with CONNECTOR_."),
        ("${env:CONNECTOR_OTHER}", "refers to CONNECTOR_OTHER, which is not set where this worker runs."),
        ("${vault:x}", "is a reference of an unknown form: use ${env:CONNECTOR_...} or ${file:/path}."),
        ("******", "is ******, which stands for a secret and is none: give the secret or a reference to it."),
    ],
)
def test_unresolved_reference(text, rest_of_sentence):
    """A reference that leads nowhere is a problem of the option that has it."""
    checked = rest(BY_REST | {"x.bearer.token": text}, HOME="/root")

    assert [f"x.bearer.token {rest_of_sentence}"] == [problem.sentence for problem in checked.problems]


SECRETS = [option for option in CONNECTOR_OPTIONS.values() if option.secret]


@pytest.mark.parametrize("option", SECRETS, ids=[option.name for option in SECRETS])
def test_secrets_stay_inside(option):
    """No text that is made of a configuration shows a secret."""
    word = "Sesame:Open-47"
    loaded = load(DECLARED | KEY_PAIR | REGISTERED.get(option.name, {}) | {option.environment: word}, DATA)
    config = loaded.connector

    shown = [repr(config), str(config), repr(loaded), str(asdict(config)), json.dumps(asdict(config), default=str)]
    shown += [orjson.dumps(config, default=str).decode(), f"{config}"]
    shown += [str(dict(loaded.declared)), *loaded.notices, str(hide({option.name: word}))]
    with pytest.raises(TypeError) as caught:
        pickle.dumps(config)
    shown.append(str(caught.value))
    assert word == getattr(config, option.attribute).reveal()
    assert [] == [text for text in shown if word in text]


@pytest.mark.parametrize("option", SECRETS, ids=[option.name for option in SECRETS])
@pytest.mark.parametrize("form", ["Bearer {}", "{} {}", "{}\n", "{}\x00", "{}é", "{}\udcff", "${{vault:{}}}"])
def test_problems_show_no_secret(option, form):
    """No sentence shows a secret, whatever is wrong with it."""
    word = "Sesame-Open-47"
    environ = DECLARED | KEY_PAIR | {option.environment: form.format(word, word)}
    if form.startswith("${"):
        checked = rest(BY_REST | {option.name: environ[option.environment]})
        problems = [problem.sentence for problem in checked.problems]
    else:
        problems = problems_of(environ)

    assert problems
    assert [] == [problem for problem in problems if word in problem]


def test_configuration_is_frozen():
    """A configuration cannot be changed."""
    with pytest.raises(FrozenInstanceError):
        config_of({}).topic = "other"


def test_documentation_is_fresh():
    """docs/configuration.md says what the declarations say; `python -m connector.config.docs` writes it."""
    assert docs.page() == (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize(
    ("name", "content", "rest_of_sentence"),
    [
        ("rules.json", "[{]", "is not JSON: Expecting property name enclosed in double quotes at line 1, column 3."),
        ("rules.json", "[" * 100_000, "is not JSON: it is nested too deeply."),
        ("rules.toml", "a = ", "is not TOML: Invalid value (at end of document)."),
    ],
)
def test_malformed_rules_file(tmp_path, name, content, rest_of_sentence):
    """A file that cannot be parsed is named, with the place in it."""
    (tmp_path / name).write_text(content)

    problems = problems_of(DECLARED | {"CONNECTOR_RULES_FILE": name}, tmp_path)

    assert (f"CONNECTOR_RULES_FILE names {tmp_path}/{name}, which {rest_of_sentence}",) == problems


def test_rules_file_with_wrong_rules(tmp_path):
    """Each wrong rule of a file is named with its number."""
    (tmp_path / "rules.toml").write_text('[[rules]]\nvalue = "cat"\n[[rules]]\ntag = "dogs"\n')

    problems = problems_of(DECLARED | {"CONNECTOR_RULES_FILE": "rules.toml"}, tmp_path)

    assert (f"CONNECTOR_RULES_FILE has a rule 2 in {tmp_path}/rules.toml without a value: give it a text.",) == problems


WORDS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["", "1", "-1", "1e999", "1_0", "٣", "true", "none", "all", "[]", '[{"value": 1}]', "http://[", "a:b"]
    ),
    st.sampled_from(
        ["sample10", "kafka://u:p@h:1", "::1", "rules.toml", "rules.json", "\x00.toml", "SASL_SSL", "[" * 9999]
    ),
)
VARIABLES = sorted(environment_names([*WORKER_OPTIONS.values(), *CONNECTOR_OPTIONS.values()]))


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(VARIABLES) | st.text(max_size=20).map("CONNECTOR_".__add__), WORDS))
@settings(max_examples=200)
def test_any_environment(environ):
    """Any environment is either understood or answered with sentences."""
    assert all(sentence.endswith((".", "?")) for sentence in outcome_of(environ))


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(sorted(CONNECTOR_OPTIONS)) | st.text(max_size=20), WORDS))
@settings(max_examples=200)
def test_any_map(texts):
    """Any map of strings is either a configuration or has problems, and can be shown."""
    checked = rest(texts)

    assert (checked.config is None) == bool(checked.problems)
    assert texts.keys() == hide(texts).keys()
