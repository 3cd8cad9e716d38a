"""Configurations of connectors in Java, as their users have them, read by ours."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.checks import check
from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.masks import is_secret
from connector.config.migration import CLASSES, FILTERS, RENAMED, WITHOUT, translate
from connector.config.rules import Rule
from connector.config.track import tracked
from tests import ROOT

CUSTENBORDER = "com.github.jcustenborder.kafka.connect.twitter.TwitterSourceConnector"
ENECO = "com.eneco.trading.kafka.connect.twitter.TwitterSourceConnector"

OF_API_1 = {
    "name": "birds",
    "tasks.max": "1",
    "connector.class": CUSTENBORDER,
    "twitter.oauth.accessTokenSecret": "AAA4",
    "process.deletes": "false",
    "filter.keywords": "Keanu Reeves,kafka",
    "filter.userIds": "12",
    "kafka.status.topic": "statuses",
    "kafka.delete.topic": "deletes",
    "twitter.oauth.consumerSecret": "AAA2",
    "twitter.oauth.accessToken": "AAA3",
    "twitter.oauth.consumerKey": "${env:CONNECTOR_KEY}",
    "twitter.debug": "true",
    "twitter.http.proxyHost": "proxy",
    "queue.batch.size": "100",
}
OF_API_2 = {
    "connector.class": CUSTENBORDER,
    "twitter.bearerToken": "AAA1",
    "kafka.tweets.topic": "tweets",
    "filter.rule": "(kafka) lang:en -is:retweet",
    "tweet.fields": "author_id,created_at",
}


def checked(texts):
    return check(texts, environ={"CONNECTOR_KEY": "AAA0"}, directory=Path("/"), group_id="connector")


def test_of_api_1():
    """The best-known connector's configuration works as it is, and each property is named with what replaces it."""
    found = checked(OF_API_1)
    config = found.config

    assert () == found.problems
    assert ("birds", "statuses", "AAA0", "AAA2") == (
        config.name,
        config.topic,
        config.consumer_key.reveal(),
        config.consumer_secret.reveal(),
    )
    assert (
        Rule("(Keanu OR #Keanu OR @Keanu) (Reeves OR #Reeves OR @Reeves)", "Keanu Reeves"),
        Rule("kafka OR #kafka OR @kafka", "kafka"),
        Rule("from:12 OR retweets_of:12 OR to:12", "follow 12"),
    ) == config.rules
    for name in OF_API_1.keys() - {"name", "tasks.max", "connector.class"}:
        assert [name] == [name for notice in found.notices if name in notice.split()][:1]
    assert (
        f"connector.class={CUSTENBORDER} is understood as PostStreamSourceConnector: write that instead."
        in found.notices
    )
    assert "twitter.oauth.consumerKey is understood as x.consumer.key: write that instead." in found.notices
    assert not [notice for notice in found.notices if "AAA" in notice]


def test_of_api_2():
    """The fork for the API v2 has its token, its rule and its fields."""
    found = checked(OF_API_2)

    assert ["(kafka) lang:en -is:retweet"] == [rule.value for rule in found.config.rules]
    assert "AAA1" == found.config.bearer_token.reveal()
    assert ("author_id", "created_at") == found.config.tweet_fields


def test_of_api_2_without_a_rule():
    """Without a rule that fork read the sample."""
    found = checked({name: text for name, text in OF_API_2.items() if name != "filter.rule"})

    assert "sample" == found.config.stream
    assert any("which is understood as stream=sample" in notice for notice in found.notices)


def test_of_another_fork():
    """A fork has other names for the fields."""
    found = checked(
        {
            "connector.class": CUSTENBORDER,
            "kafka.tweets.topic": "tweets",
            "twitter.bearerToken": "AAA1",
            "twitter.filter.rule": "kafka",
            "twitter.expansions": "author_id",
            "twitter.fields.tweet": "author_id",
            "twitter.fields.user": "description",
            "twitter.fields.place": "geo",
        }
    ).config

    assert ("author_id",) == found.expansions == found.tweet_fields
    assert (("description",), ("geo",)) == (found.user_fields, found.place_fields)


def test_of_eneco():
    """Eneco's names, with terms, accounts, boxes and a language."""
    found = checked(
        {
            "name": "birds",
            "connector.class": ENECO,
            "topic": "tweets",
            "twitter.consumerkey": "AAA1",
            "twitter.consumersecret": "AAA2",
            "twitter.token": "AAA3",
            "twitter.secret": "AAA4",
            "stream.type": "filter",
            "track.terms": "#kafka",
            "track.follow": "12",
            "track.locations": "-180,-90,180,90,-122.5,37.7,-122.3,37.9",
            "language": "en",
            "batch.size": "100",
            "batch.timeout": "0.1",
            "output.format": "structured",
            "twitter.app.name": "birds",
        }
    )

    assert () == found.problems
    assert [
        "#kafka lang:en",
        "(from:12 OR retweets_of:12 OR to:12) lang:en",
        "bounding_box:[-122.5 37.7 -122.3 37.9] lang:en",
    ] == [rule.value for rule in found.config.rules]
    assert any("the box -180 -90 180 90, which no rule can have" in notice for notice in found.notices)


def test_of_camel():
    """Camel's search connector names its topic as a sink does."""
    found = checked(
        {
            "connector.class": next(name for name in CLASSES if name.startswith("org.apache.camel")),
            "topics": "tweets",
            "camel.kamelet.twitter-search-source.keywords": "kafka lang:en",
            "camel.kamelet.twitter-search-source.apiKey": "AAA1",
            "camel.kamelet.twitter-search-source.apiKeySecret": "AAA2",
        }
    ).config

    assert ("tweets", "kafka lang:en") == (found.topic, found.rules[0].value)


def test_ours_wins():
    """Where a property and our option are both set, ours is used, and the property is named."""
    found = checked(OF_API_1 | {"topic": "posts", "rules": '[{"value": "cat"}]'})

    assert ("posts", "cat") == (found.config.topic, found.config.rules[0].value)
    assert "kafka.status.topic is not used, as topic is set: remove it." in found.notices
    assert "filter.keywords, filter.userIds is not used, as rules is set: remove it." in found.notices


def test_problems_name_the_property():
    """A wrong value is reported under the name that the user wrote."""
    found = checked(OF_API_1 | {"kafka.status.topic": "a b", "filter.keywords": "!!", "filter.userIds": "no one"})

    assert {
        "kafka.status.topic cannot be 'a b': Kafka allows up to 249 letters, digits, dots, underscores and hyphens.",
        "filter.keywords has '!!', which holds no word to search for: remove it.",
        "filter.userIds has 'no one', which is no account: give its number or its name.",
    } == {problem.sentence for problem in found.problems}
    assert any("kafka.delete.topic has no equivalent" in notice for notice in found.notices)


def test_many_keywords():
    """X allowed 400 keywords; each becomes a rule, and the notice stays short."""
    found = checked(OF_API_1 | {"filter.keywords": ",".join(f"word{number}" for number in range(400))})

    assert 401 == len(found.config.rules)
    assert max(map(len, found.notices)) < 1200


@given(st.dictionaries(st.sampled_from(sorted(CONNECTOR_OPTIONS)), st.text(max_size=20)))
def test_our_own_options_stay(texts):
    """A configuration in our options alone is not touched."""
    assert texts == translate(texts).texts
    assert () == translate(texts).notices


@given(
    st.dictionaries(
        st.sampled_from(
            sorted({*RENAMED, *FILTERS, *WITHOUT, "track.locations", "language", "stream.type", "topic", "rules"})
        )
        | st.text(max_size=10).map("twitter.".__add__),
        st.text(max_size=30),
    )
)
def test_any_old_configuration(texts):
    """After the translation only our options are left, and doing it again changes nothing."""
    moved = translate(texts)

    theirs = {"track.locations", "language", "stream.type"}  # alone these do not say whose they are
    assert set() == moved.texts.keys() - CONNECTOR_OPTIONS.keys() or set(texts) <= theirs | CONNECTOR_OPTIONS.keys()
    assert moved.texts == translate(moved.texts).texts
    assert all(sentence.endswith(".") for sentence in moved.notices)
    if rules := moved.texts.get("rules", "").strip():
        assert rules == texts.get("rules", "").strip() or json.loads(rules)


def test_old_secrets_are_secrets():
    """What becomes a secret of ours is hidden under its old name, too."""
    assert [] == [name for name, ours in RENAMED.items() if CONNECTOR_OPTIONS[ours].secret and not is_secret(name)]


@pytest.mark.parametrize("name", CLASSES)
def test_classes(name):
    """Each class is known in the forms that Connect accepts."""
    assert "PostStreamSourceConnector" == translate({"connector.class": name}).texts["connector.class"]


def test_the_page_names_each_property():
    """docs/migration.md has every property and class that is understood, with what it becomes."""
    page = (ROOT / "docs" / "migration.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]

    assert [] == [name for name in (*FILTERS, *WITHOUT, "track.locations", "language") if f"`{name}`" not in page]
    assert [] == [name for name in CLASSES if "." in name and f"`{name}`" not in page]
    for name, ours in RENAMED.items():
        assert [row for row in rows if f"`{name}`" in row and f"`{ours}`" in row]


def test_the_pages_examples():
    """The rules that docs/migration.md shows are those that are made."""
    page = (ROOT / "docs" / "migration.md").read_text()
    table = page.partition("| `filter.keywords` | rule | label |")[2].partition("\n\n")[0]
    for row in table.strip().splitlines()[1:]:
        phrase, rule, label = re.findall(r"`([^`]+)`", row)
        assert [{"value": rule, "tag": label}] == tracked(phrase)
