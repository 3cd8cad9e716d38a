"""Filters of the former streaming API as rules; the simulator's own reading of rules says what they match."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.options import Unfit
from connector.config.rules import merge, parse_rules
from connector.config.track import SEARCHABLE_CHARACTERS, as_json, followed, in_languages, located, tracked
from connector.simulator.rules import text as words
from connector.simulator.rules.grammar import parse
from connector.simulator.rules.matching import Facts, matches


def values(rules):
    return [rule["value"] for rule in rules]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kafka", ["kafka OR #kafka OR @kafka"]),
        ("kafka,python", ["kafka OR #kafka OR @kafka", "python OR #python OR @python"]),
        (" kafka , , KAFKA,", ["kafka OR #kafka OR @kafka"]),
        (
            "Keanu Reeves",
            ["(Keanu OR #Keanu OR @Keanu) (Reeves OR #Reeves OR @Reeves)"],
        ),
        ("#kafka,@apachekafka,$TSLA", ["#kafka", "@apachekafka", "$TSLA"]),
        ("#kafka summit", ["#kafka (summit OR #summit OR @summit)"]),
        # what X's grammar would read as an operator, a negation or a group stands in quotes
        ("this OR that", ['(this OR #this OR @this) ("OR" OR #OR OR @OR) (that OR #that OR @that)']),
        ("-kafka", ['"-kafka"']),
        ("from:me", ['"from:me"']),
        ("(kafka)", ['"(kafka)"']),
        ("coca-cola", ['"coca-cola"']),
        ("c++", ['"c++"']),
        ("AT&T,don't", ['"AT&T"', '"don\'t"']),
        # a phrase in quotes is meant as it stands
        ('"apache kafka"', ['"apache kafka"']),
        ('kafka,"kafka"', ["kafka OR #kafka OR @kafka"]),
        ('apache "kafka', ["(apache OR #apache OR @apache) (kafka OR #kafka OR @kafka)"]),
        ("example.com/news", ['"example.com/news" OR url:"example.com/news"']),
        ("straße", ["straße OR #straße"]),
        ("café", ["café OR #café"]),
        ("2026", ["2026 OR @2026"]),
        ("🐦", ['"🐦"']),
        ("averyveryverylongword", ["averyveryverylongword OR #averyveryverylongword"]),
        ("back\\slash", ["(back OR #back OR @back) (slash OR #slash OR @slash)"]),
    ],
)
def test_track(text, expected):
    """Each phrase is a rule; its words are found in texts, hashtags and mentions, and literally."""
    assert expected == values(tracked(text))
    for value in expected:
        parse(value)


def test_labels_are_the_phrases():
    """A rule's label is its phrase, as the records show it."""
    assert ["Keanu Reeves", "#kafka"] == [rule["tag"] for rule in tracked("Keanu  Reeves,#kafka")]


@pytest.mark.parametrize("text", ["!!!", "kafka,--", '""'])
def test_a_phrase_without_a_word_is_refused(text):
    """What X cannot search for is named."""
    with pytest.raises(Unfit, match="holds no word to search for: remove it"):
        tracked(text)


def test_a_long_phrase_stays_searchable():
    """Hashtags and mentions are left out where the rule would be too long to be repaired by search."""
    (value,) = values(tracked(" ".join(["word"] * 60)))

    assert " ".join(["word"] * 60) == value
    assert len(value) < SEARCHABLE_CHARACTERS


def facts_of(text, hashtags=(), mentions=()):
    return Facts(id=1, texts=(words.searchable(text),), hashtags=frozenset(hashtags), mentions=frozenset(mentions))


WORDS = ["apache", "kafka", "python", "coca-cola"]


@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True), min_size=1, max_size=4),
    st.lists(st.sampled_from([*WORDS, "other"]), min_size=1, max_size=5),
)
def test_what_matched_then_matches_now(phrases, post):
    """A post with all words of a phrase, in any order, matches; one without matches no rule."""
    rules = tracked(",".join(" ".join(phrase) for phrase in phrases))
    facts = facts_of(" ".join(post))
    then = any(set(phrase) <= set(post) for phrase in phrases)

    assert then == any(matches(parse(rule["value"]), facts) for rule in rules)


def test_words_in_hashtags_and_mentions():
    """`track` found a word in a hashtag and a mention, and so does its rule."""
    (rule,) = tracked("kafka")
    node = parse(rule["value"])

    assert matches(node, facts_of("", hashtags=["kafka"]))
    assert matches(node, facts_of("", mentions=["kafka"]))
    assert not matches(node, facts_of("", hashtags=["kafkaesque"]))


@given(st.text(max_size=60))
def test_any_text(text):
    """Any text is refused with sentences, or becomes rules that X's grammar takes and that fit together."""
    try:
        rules = tracked(text)
    except Unfit:
        return
    for value in values(rules):
        parse(value)
    _, complaints = merge({"rules": parse_rules(as_json(rules))})

    assert () == complaints


def test_follow():
    """An account's posts, retweets of them and replies to them."""
    assert [
        {"value": "from:12 OR retweets_of:12 OR to:12", "tag": "follow 12"},
        {"value": "from:jack OR retweets_of:jack OR to:jack", "tag": "follow jack"},
    ] == followed("12, @jack,12")
    with pytest.raises(Unfit, match="which is no account"):
        followed("12,no one")


def test_locations():
    """A box is a rule if X allows one so large."""
    rules, large = located("-122.5,37.7,-122.3,37.9, -180,-90,180,90")

    assert ["bounding_box:[-122.5 37.7 -122.3 37.9]"] == values(rules)
    assert ["-180 -90 180 90"] == large
    parse(rules[0]["value"])
    for wrong in ("1,2,3", "a,b,c,d", "nan,1,2,3"):
        with pytest.raises(Unfit, match="must be a list of boxes"):
            located(wrong)


def test_languages():
    """A language limits each rule as a whole."""
    rules = tracked("kafka") + followed("12")

    assert [
        "(kafka OR #kafka OR @kafka) lang:en",
        "(from:12 OR retweets_of:12 OR to:12) lang:en",
    ] == values(in_languages(rules, "en"))
    assert ["#kafka (lang:en OR lang:de)"] == values(in_languages(tracked("#kafka"), "en,de,en"))
    with pytest.raises(Unfit, match="which is no language"):
        in_languages(rules, "en OR x")


def test_json_is_read_back():
    """The list is what the option `rules` takes."""
    assert json.loads(as_json(tracked("kafka"))) == [
        {"value": rule.value, "tag": rule.label} for rule in parse_rules(as_json(tracked("kafka")))
    ]
