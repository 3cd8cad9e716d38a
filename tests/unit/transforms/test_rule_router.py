import pytest

from connector.config.chain import TRANSFORMS, Setting
from connector.config.options import Given, draft
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.record import Record

KIND = CATALOGUE.find(TRANSFORMS, "RuleRouter")


def read(labels=("python", "kafka", "düsseldorf"), **texts):
    """The transform, and what is wrong with its options."""
    texts = {name.replace("_", "."): text for name, text in texts.items()}
    found = draft(KIND.model, KIND.options.values(), Given(texts=texts, environ={}, directory="/"))
    problems = found.with_conflicts(KIND.conflicts(found.model, Setting(topic="posts", labels=labels)))
    return KIND.make(found.model), [problem.sentence for problem in problems]


def topic_of(router, *labels):
    return router.apply(Record(topic="posts", key="1", value={}, timestamp_ms=0, labels=labels)).topic


def test_first_rule_with_a_topic_decides():
    """In the order of the configuration, in which `labels` are."""
    router, problems = read(topics="kafka:streams,python:snakes", labels=("python", "kafka"))

    assert [] == problems
    assert "snakes" == topic_of(router, "python", "kafka")
    assert "streams" == topic_of(router, "other", "kafka")
    assert "posts" == topic_of(router, "other")
    assert "posts" == topic_of(router)


def test_form():
    """For rules without a topic of their own."""
    router, problems = read(topics="kafka:streams", topic_format="${topic}.${rule}", labels=("python", "kafka"))

    assert [] == problems
    assert "posts.python" == topic_of(router, "python", "kafka")
    assert "streams" == topic_of(router, "kafka", "python")


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        ({}, "is required, or topic.format: topics by the labels of rules."),
        ({"topics": "kafak:streams"}, "has the label 'kafak': did you mean kafka?"),
        ({"topics": "sports:streams"}, "has the label 'sports': no rule of this connector has it."),
        ({"topics": "kafka:a b"}, "has a topic that cannot be 'a b'"),
        ({"topics": "kafka"}, "has 'kafka', which is no label with a topic: write label:topic."),
        ({"topic_format": "${rule}"}, "makes of the rule 'düsseldorf' a topic that cannot be 'düsseldorf'"),
        ({"topic_format": "x" * 250}, "makes of the rule 'python' a topic that cannot be"),
    ],
)
def test_told_before_it_runs(texts, sentence):
    """A topic that Kafka would refuse, and a label that no rule has."""
    assert any(sentence in problem for problem in read(**texts)[1])


def test_a_label_may_hold_a_colon():
    """A tag is any text; a topic holds none."""
    router, problems = read(topics="lang:de:german", labels=("lang:de",))

    assert ([], "german") == (problems, topic_of(router, "lang:de"))


def test_every_label_has_a_topic():
    """A label that makes no topic gets one by name."""
    assert [] == read(topic_format="posts.${rule}", topics="düsseldorf:posts.duesseldorf")[1]
