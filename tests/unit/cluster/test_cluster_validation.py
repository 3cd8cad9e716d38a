import dataclasses
from pathlib import Path

import pytest

from connector.cluster.plugins import Plugins, Verdict
from connector.cluster.refused import Refused
from connector.cluster.validation import accept, judge
from connector.config import checks
from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.framework import FRAMEWORK
from connector.config.framework_checks import value_of
from connector.web.connect.definitions import definitions_of, validation_of
from tests.connect.file_source import CAST, FILE_SOURCE, PLUGIN, config_of

PLUGINS = Plugins([PLUGIN])


def found(**changes):
    """The sentences on a configuration with these changes."""
    return [problem.sentence for problem in judge(PLUGINS, config_of(**{"name": "n"} | changes)).verdict.problems]


def warned(**changes):
    return list(judge(PLUGINS, config_of(**{"name": "n"} | changes)).verdict.warnings)


def test_nothing_wrong():
    """A good configuration has neither problems nor warnings, and its class is found by each of its names."""
    for name in (FILE_SOURCE, "FileStreamSourceConnector", "FileStreamSource", " FileStreamSource "):
        judged = accept(PLUGINS, config_of(name="n", connector_class=name))
        assert (PLUGIN, (), ()) == (judged.plugin, judged.verdict.problems, judged.verdict.warnings)


SENTENCES = [
    ({"name": None}, ['Missing required configuration "name" which has no default value.']),
    ({"name": ""}, ["Invalid value  for configuration name: String may not be empty"]),
    (
        {"name": "a\x01b"},
        [
            (
                "Invalid value a\x01b for configuration name: String may not contain control sequences but had the"
                " following ASCII chars: 1"
            )
        ],
    ),
    ({"topic": None}, ['Missing required configuration "topic" which has no default value.']),
    (
        {"tasks_max": "zero"},
        [
            "Invalid value zero for configuration tasks.max: Not a number of type INT",
            "Invalid value null for configuration tasks.max: Value must be non-null",
        ],
    ),
    ({"tasks_max": "0"}, ["Invalid value 0 for configuration tasks.max: Value must be at least 1"]),
    (
        {"errors_tolerance": "some"},
        ["Invalid value some for configuration errors.tolerance: String must be one of: none, all"],
    ),
    (
        {"value_converter": "nope.Nope"},
        ["Invalid value nope.Nope for configuration value.converter: Class nope.Nope could not be found."],
    ),
    (
        {"errors_log_enable": "maybe"},
        ["Invalid value maybe for configuration errors.log.enable: Expected value to be either true or false"],
    ),
    (
        {"errors_retry_timeout": "9" * 20},
        [f"Invalid value {'9' * 20} for configuration errors.retry.timeout: Not a number of type LONG"],
    ),
    (
        {"topic_creation_groups": "a", "topic_creation_a_include": "x.*"},
        [
            'Missing required configuration "topic.creation.default.replication.factor" which has no default value.',
            'Missing required configuration "topic.creation.default.partitions" which has no default value.',
        ],
    ),
    (
        {"producer_override_acks": "2"},
        ["Invalid value 2 for configuration producer.override.acks: String must be one of: all, -1"],
    ),
    (
        {"exactly_once_support": "required", "delivery": "at_least_once"},
        ["The connector does not support exactly-once semantics with the provided configuration."],
    ),
    (
        {"value_converter_schemas_enable": "perhaps"},
        [
            (
                "Invalid value perhaps for configuration value.converter.schemas.enable: Expected value to be either"
                " true or false"
            )
        ],
    ),
    (
        {"key_converter_schemas_enable": "perhaps"},
        [
            (
                "Invalid value perhaps for configuration key.converter.schemas.enable: Expected value to be either"
                " true or false"
            )
        ],
    ),
    (
        {"transforms": "t", "transforms_t_type": CAST},
        [
            'Missing required configuration "transforms.t.spec" which has no default value.',
            "Must specify at least one field to cast.",
        ],
    ),
]


@pytest.mark.parametrize(("changes", "expected"), SENTENCES)
def test_sentences(changes, expected):
    """Each problem is told in Connect's own sentence."""
    assert expected == found(**changes)


@pytest.mark.parametrize("name", ["a/b", ".", ".."])
def test_names_that_urls_lose(name):
    """A name that no URL can hold is refused, as nobody could read or delete such a connector."""
    (sentence,) = found(name=name)

    assert sentence.startswith(f"Invalid value {name} for configuration name: String may not contain a slash")


def test_unknown_option():
    """An option that nothing reads is warned of, with the nearest name."""
    assert ["topics is not known and has no effect: did you mean topic?"] == warned(topics="x")


WITHOUT_EFFECT = [
    {"errors_retry_timeout": "1000"},
    {"tasks_max_enforce": "false"},
    {"connector_plugin_version": "[1.0,2.0)"},
    {"offsets_storage_topic": "mine"},
    {"producer_override_linger_ms": "5"},
    {"transaction_boundary": "interval"},
]


@pytest.mark.parametrize("changes", WITHOUT_EFFECT)
def test_options_without_effect(changes):
    """An option of Connect that asks for something else than what happens is accepted, and warned of."""
    (warning,) = warned(**changes)

    assert [] == found(**changes)
    assert next(iter(changes)).replace("_", ".") in warning
    assert "has no effect" in warning


def test_defaults_are_fine():
    """The defaults of Connect's options are valid, and bring no warning."""
    defaults = {name: option.default for name, option in FRAMEWORK.items() if option.default is not None}
    defaults |= {"value.converter.schemas.enable": "false"}
    judged = judge(PLUGINS, config_of(name="n") | defaults)

    assert ((), ()) == (judged.verdict.problems, judged.verdict.warnings)


VALUES = [
    ("tasks.max", None, "1"),
    ("tasks.max", "0", "0"),
    ("tasks.max", "zero", None),
    ("value.converter", "nope.Nope", None),
    ("errors.tolerance", "some", "some"),
    ("offsets.storage.topic", None, None),
]


@pytest.mark.parametrize(("name", "text", "expected"), VALUES)
def test_value_of(name, text, expected):
    """A value that cannot be read is null; one that is only out of bounds is shown."""
    assert expected == value_of(FRAMEWORK[name], text)


def test_invalid():
    """What is refused has all sentences, between Connect's first and last."""
    with pytest.raises(Refused) as refused:
        accept(PLUGINS, config_of(name="a", tasks_max="0", errors_tolerance="some"))

    assert (
        "Connector configuration is invalid and contains the following 2 error(s):\n"
        "Invalid value 0 for configuration tasks.max: Value must be at least 1\n"
        "Invalid value some for configuration errors.tolerance: String must be one of: none, all\n"
        "You can also find the above list of errors at the endpoint"
        " `/connector-plugins/{connectorType}/config/validate`"
    ) == str(refused.value)
    assert 400 == refused.value.status


def test_no_class():
    """Without a class the configuration is shown, without any value that may be a secret."""
    config = {"name": "a", "topic": "x", "x.bearer.tokn": "secret", "connector.class": " "}
    with pytest.raises(Refused) as refused:
        judge(PLUGINS, config)

    assert (
        "Connector config {name=a, topic=x, x.bearer.tokn=[hidden], connector.class= } contains no connector type"
        == str(refused.value)
    )


def test_unknown_class():
    """The classes that there are end the sentence."""
    with pytest.raises(Refused) as refused:
        judge(PLUGINS, config_of(connector_class="Nope"))

    assert (
        "Failed to find any class that implements Connector and which name matches Nope, available connectors are:"
        f" {FILE_SOURCE}"
    ) == str(refused.value)


def replacing():
    """The class of posts, which replaces connectors in Java, with a check of its own options."""
    ours = dataclasses.replace(PLUGIN, name="PostStreamSourceConnector", options=CONNECTOR_OPTIONS)

    def check(texts):
        checked = checks.check(texts, environ={}, directory=Path("/"), group_id="connector")
        return Verdict(problems=checked.problems, warnings=checked.notices)

    return Plugins([dataclasses.replace(ours, check=check, brought=lambda _: {}), PLUGIN])


OLD = {
    "name": "birds",
    "connector.class": "com.github.jcustenborder.kafka.connect.twitter.TwitterSourceConnector",
    "twitter.bearerToken": "AAAA",
    "kafka.tweets.topic": "tweets",
    "filter.rule": "kafka lang:en",
}


def test_a_class_that_ours_replaces():
    """Properties of a connector in Java are judged as our options, and the warnings name these."""
    judged = accept(replacing(), OLD)

    assert "PostStreamSourceConnector" == judged.plugin.name
    assert ("tweets", '[{"value": "kafka lang:en"}]') == (judged.config["topic"], judged.config["rules"])
    assert "kafka.tweets.topic is understood as topic: write that instead." in judged.verdict.warnings
    assert not [sentence for sentence in judged.verdict.warnings if "is not known" in sentence]
    (problem,) = judge(replacing(), OLD | {"kafka.tweets.topic": "a b"}).verdict.problems
    assert ("topic", "kafka.tweets.topic cannot be") == (problem.option, problem.sentence[:28])


def test_options_of_another_class_are_not_translated():
    """`batch.size` is an option of the file source, whatever a connector in Java means by it."""
    assert "7" == accept(replacing(), config_of(name="n", batch_size="7")).config["batch.size"]


def test_options_that_the_class_declares():
    """An option of Connect's framework has an effect, and the default of the class, if the class declares it."""
    plugin = dataclasses.replace(PLUGIN, options=CONNECTOR_OPTIONS, check=lambda _: Verdict(problems=(), warnings=()))
    judged = judge(Plugins([plugin]), config_of(name="n", errors_retry_timeout="-1", errors_retry_delay_max_ms="1000"))
    shown = {each["definition"]["name"]: each["definition"] for each in validation_of(judged, judged.config)["configs"]}
    answered = {each["name"]: each for each in definitions_of(plugin)}

    assert [] == [warning for warning in judged.verdict.warnings if warning.startswith("errors.")]
    for name in ("errors.retry.timeout", "errors.retry.delay.max.ms"):
        assert CONNECTOR_OPTIONS[name].default_text == shown[name]["default_value"]
        assert CONNECTOR_OPTIONS[name].documentation == shown[name]["documentation"]
        assert answered[name] == shown[name]
