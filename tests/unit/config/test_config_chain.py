"""The options of transforms and predicates: what a configuration may say, and what it is told."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.chain import ALIASES_MAX, PREDICATES, TRANSFORMS, aliases, brought
from connector.config.checks import check
from connector.config.load import load
from connector.config.options import Unfit
from connector.errors import ConfigError
from connector.transforms.catalogue import CATALOGUE

CONNECT = "org.apache.kafka.connect.transforms."
BASE = {"topic": "posts", "hashtags": "python", "x.bearer.token": "AAAAsynthetic%3Dtoken"}
ENVIRON = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}


def by_rest(**texts):
    texts = {name.replace("__", "."): text for name, text in texts.items()}
    return check(BASE | texts, environ={}, directory=Path("/"), group_id="connector", catalogue=CATALOGUE)


def problems_of(**texts):
    return [problem.sentence for problem in by_rest(**texts).problems]


def chain_of(config):
    return [
        (chosen.alias, chosen.kind.simple_name, chosen.predicate and chosen.predicate.alias, chosen.negate)
        for chosen in config.chain
    ]


def test_as_connect_configures_them():
    """Aliases in order, full and simple names, a predicate, its negation."""
    checked = by_rest(
        transforms="take, drop",
        transforms__take__type=f"{CONNECT}ExtractField$Value",
        transforms__take__field="data",
        transforms__drop__type="Filter",
        transforms__drop__predicate="ours",
        transforms__drop__negate="true",
        predicates="ours",
        predicates__ours__type=f"{CONNECT}predicates.TopicNameMatches",
        predicates__ours__pattern="posts",
    )

    assert ((), ()) == (checked.problems, checked.notices)
    assert [("take", "ExtractField$Value", None, False), ("drop", "Filter", "ours", True)] == chain_of(checked.config)
    assert "data" == checked.config.chain[0].options.field


def test_from_the_environment():
    """Each character of an alias that is neither letter nor digit is an underscore there."""
    environ = {
        "CONNECTOR_TRANSFORMS": "Mask-It,route.by_day",
        "CONNECTOR_TRANSFORMS_MASK_IT_TYPE": "MaskField$Value",
        "CONNECTOR_TRANSFORMS_MASK_IT_FIELDS": "text,author_id",
        "CONNECTOR_TRANSFORMS_ROUTE_BY_DAY_TYPE": "TimestampRouter",
        "CONNECTOR_TRANSFORMS_ROUTE_BY_DAY_TIMESTAMP_FORMAT": "yyyy-MM-dd",
        "CONNECTOR_TRANSFORMS_ROUTE_BY_DAY_PREDICATE": "ours",
        "CONNECTOR_PREDICATES": "ours",
        "CONNECTOR_PREDICATES_OURS_TYPE": "HasHeaderKey",
        "CONNECTOR_PREDICATES_OURS_NAME": "source",
    }
    loaded = load(ENVIRON | environ, Path("/"), CATALOGUE)

    assert () == loaded.notices
    assert [
        ("Mask-It", "MaskField$Value", None, False),
        ("route.by_day", "TimestampRouter", "ours", False),
    ] == chain_of(loaded.connector)
    assert "yyyy-MM-dd" == loaded.declared["transforms.route.by_day.timestamp.format"]
    again = check(loaded.declared, environ=ENVIRON, directory=Path("/"), group_id="connector", catalogue=CATALOGUE)
    assert chain_of(loaded.connector) == chain_of(again.config)


WRONG = [
    ({"transforms": "a"}, ["transforms.a.type is required: the class of the transform."]),
    (
        {"transforms": "a", "transforms.a.type": "RegexRuter"},
        ["transforms.a.type cannot be 'RegexRuter', which is no transform of this worker: did you mean RegexRouter?"],
    ),
    (
        {"transforms": "a", "transforms.a.type": "com.example.Magic"},
        [
            (
                "transforms.a.type cannot be 'com.example.Magic', which is no transform of this worker: see"
                " docs/transforms.md for those there are."
            )
        ],
    ),
    # all at once
    (
        {
            "transforms": "a,b",
            "transforms.a.type": "RegexRouter",
            "transforms.a.regex": "(a+)+",
            "transforms.b.type": "TimestampConverter$Value",
            "transforms.b.target.type": "strng",
            "transforms.b.unix.precision": "hours",
        },
        [
            (
                "transforms.a.regex repeats a group that itself holds a repetition, a choice or a lookahead,"
                " which may take for ever: write it without."
            ),
            (
                "transforms.a.replacement is required: The new topic: `$1` or `${name}` is a group; a backslash stands"
                " before other `$`."
            ),
            "transforms.b.target.type cannot be 'strng': use string, unix, Date, Time or Timestamp.",
            "transforms.b.unix.precision cannot be 'hours': use seconds, milliseconds, microseconds or nanoseconds.",
        ],
    ),
    (
        {
            "transforms": "a",
            "transforms.a.type": "RegexRouter",
            "transforms.a.regex": "(.*)",
            "transforms.a.replacement": "$2",
        },
        ["transforms.a.replacement is '$2', and the regular expression has 1 groups."],
    ),
    (
        {"transforms": "a", "transforms.a.type": "InsertField$Value"},
        ["transforms.a.topic.field is required, or timestamp.field or static.field: a field to add."],
    ),
    (
        {"transforms": "a", "transforms.a.type": "InsertField$Value", "transforms.a.offset.field": "o"},
        [
            (
                "transforms.a.offset.field is for sink connectors, as in Kafka Connect: a record has no offset before"
                " it is delivered. Remove it."
            )
        ],
    ),
    (
        {
            "transforms": "a",
            "transforms.a.type": "InsertField$Value",
            "transforms.a.static.field": "by",
        },
        ["transforms.a.static.value is required with static.field."],
    ),
    (
        {
            "transforms": "a",
            "transforms.a.type": "TimestampConverter$Value",
            "transforms.a.target.type": "string",
        },
        ["transforms.a.format is required with target.type=string: the pattern of the text."],
    ),
    (
        {
            "transforms": "a",
            "transforms.a.type": "ExtractField$Value",
            "transforms.a.field": "`data",
            "transforms.a.field.syntax.version": "v2",
        },
        ["transforms.a.field is '`data', in which a backtick is not closed: close it, or put a backslash before it."],
    ),
    (
        {
            "transforms": "a",
            "transforms.a.type": "Filter",
            "transforms.a.predicate": "our",
            "predicates": "ours",
            "predicates.ours.type": "RecordIsTombstone",
        },
        ["transforms.a.predicate is 'our', which predicates does not name: did you mean ours?"],
    ),
    (
        {"transforms": "a", "transforms.a.type": "Filter", "transforms.a.negate": "maybe"},
        ["transforms.a.negate must be true or false, not 'maybe'."],
    ),
    ({"transforms": "a,a"}, ["transforms names 'a' twice: give each an alias of its own."]),
    (
        {"transforms": "a b"},
        ["transforms names 'a b', which is no alias: use up to 64 letters, digits, dots, underscores and hyphens."],
    ),
    (
        {"transforms": ",".join(f"a{number}" for number in range(33))},
        ["transforms names 33 aliases: use at most 32."],
    ),
    (
        {"transforms": "a", "transforms.a.type": "MaskField$Value", "transforms.a.fields": "x" * 16_385},
        ["transforms.a.fields has 16385 characters: use at most 16384."],
    ),
    (
        {
            "transforms": "a",
            "transforms.a.type": "RuleRouter",
            "transforms.a.topics": "pyton:snakes",
        },
        ["transforms.a.topics has the label 'pyton': did you mean python?"],
    ),
    (
        {"predicates": "p", "predicates.p.type": "TopicNameMatches", "predicates.p.pattern": "["},
        ["predicates.p.pattern has a [ that is not closed."],
    ),
]


@pytest.mark.parametrize(("texts", "sentences"), WRONG)
def test_each_problem_is_a_sentence(texts, sentences):
    """It names the option as it was written, and the cure."""
    checked = check(BASE | texts, environ={}, directory=Path("/"), group_id="connector", catalogue=CATALOGUE)

    assert sentences == [problem.sentence for problem in checked.problems]


def test_problems_of_the_environment_name_variables():
    """As all others do."""
    environ = ENVIRON | {
        "CONNECTOR_TRANSFORMS": "a",
        "CONNECTOR_TRANSFORMS_A_TYPE": "MaskField$Value",
        "CONNECTOR_TRANSFORMS_A_FEILDS": "text",
    }
    with pytest.raises(ConfigError) as caught:
        load(environ, Path("/"), CATALOGUE)

    assert (
        "CONNECTOR_TRANSFORMS_A_FIELDS is required: Fields to hide.",
        "CONNECTOR_TRANSFORMS_A_FEILDS is not known and has no effect: did you mean CONNECTOR_TRANSFORMS_A_FIELDS?",
    ) == caught.value.problems


def test_two_aliases_with_one_variable():
    """Which alias a variable means would be a guess."""
    environ = ENVIRON | {"CONNECTOR_TRANSFORMS": "a-b,A.B", "CONNECTOR_TRANSFORMS_A_B_TYPE": "Filter"}
    with pytest.raises(ConfigError) as caught:
        load(environ, Path("/"), CATALOGUE)

    assert (
        "CONNECTOR_TRANSFORMS_A_B_TYPE could mean transforms.a-b.type or transforms.A.B.type: change one of the"
        " aliases."
    ) in caught.value.problems


NOTICES = [
    (
        {"transforms": "a", "transforms.a.type": "Flatten$Value", "transforms.a.delimeter": "_"},
        "transforms.a.delimeter is not known and has no effect: did you mean transforms.a.delimiter?",
    ),
    ({"transforms.b.type": "Filter"}, "transforms.b.type is not known and has no effect."),
    (
        {"transforms": "a", "transforms.a.type": "Filter"},
        "transforms.a.predicate is not set: transforms.a drops every record.",
    ),
    (
        {"transforms": "a", "transforms.a.type": "Flatten$Value", "transforms.a.negate": "true"},
        "transforms.a.negate has no effect without transforms.a.predicate.",
    ),
    ({"predicates": "p", "predicates.p.type": "RecordIsTombstone"}, "predicates.p is used by no transform."),
]


@pytest.mark.parametrize(("texts", "sentence"), NOTICES)
def test_notices(texts, sentence):
    """What has no effect, or an odd one, is said."""
    checked = check(BASE | texts, environ={}, directory=Path("/"), group_id="connector", catalogue=CATALOGUE)

    assert (sentence,) == checked.notices


def test_without_the_table_no_class_is_known():
    """A caller that has no table refuses transforms: they are never left out in silence."""
    checked = check(
        BASE | {"transforms": "a", "transforms.a.type": "Filter"}, environ={}, directory=Path("/"), group_id="connector"
    )

    assert "which is no transform of this worker" in checked.problems[0].sentence


def test_definitions():
    """What Connect's routes show of a transform: its class with all choices, and its options, in a group of its own."""
    options = brought({"transforms": "a", "transforms.a.type": "MaskField$Value"}, CATALOGUE)

    assert [
        "transforms.a.type",
        "transforms.a.fields",
        "transforms.a.replacement",
        "transforms.a.replace.null.with.default",
        "transforms.a.plugin.version",
        "transforms.a.predicate",
        "transforms.a.negate",
    ] == list(options)
    assert {"Transforms: a"} == {option.group for option in options.values()}
    assert f"{CONNECT}MaskField$Key" in options["transforms.a.type"].choices
    assert ("CLASS", True) == (options["transforms.a.type"].kind, options["transforms.a.type"].required)


@given(st.text(max_size=80))
def test_any_aliases(text):
    """Whatever is written, there are at most 32 aliases, or a sentence."""
    try:
        assert len(aliases(text)) <= ALIASES_MAX
    except Unfit as unfit:
        assert unfit.rests  # noqa: PT017  # any text may be either


@given(st.dictionaries(st.sampled_from([TRANSFORMS, PREDICATES, "transforms.a.type", "transforms.a.regex"]), st.text()))
def test_any_configuration(texts):
    """A configuration is read or refused, whatever it holds."""
    check(BASE | texts, environ={}, directory=Path("/"), group_id="connector", catalogue=CATALOGUE)
