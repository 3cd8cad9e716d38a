import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.simulator.rules import grammar
from connector.simulator.rules.matching import Facts, matches
from connector.simulator.rules.text import SearchableText
from connector.sources.archive.queries import Unsearchable, queries_of

WORDS = ("ant", "bee", "cat", "dog", "elk")
TAGS = ("#one", "#two")

# Rules as people write them: words, phrases, tags, groups in groups, negations, any space.
POSITIVE = st.sampled_from((*WORDS, *TAGS, '"ant bee"', '"cat OR dog"', '"(elk"', "lang:en", "lang:de"))
STANDALONE = st.sampled_from((*WORDS, *TAGS))
NEGATIVE = st.sampled_from((*(f"-{word}" for word in WORDS), '-"dog elk"', "-lang:en"))
SPACE = st.sampled_from((" ", " ", "  ", "\n"))


@st.composite
def conjunctions(draw, groups):
    terms = draw(st.lists(POSITIVE | NEGATIVE | groups, max_size=3))
    terms.insert(draw(st.integers(0, len(terms))), draw(STANDALONE))
    return draw(SPACE).join(terms)


@st.composite
def disjunctions(draw, groups):
    sides = draw(st.lists(conjunctions(groups), min_size=1, max_size=5))
    return f"{draw(SPACE)}OR{draw(SPACE)}".join(sides)


def grouped(text):
    return f"({text})"


GROUPS = st.recursive(STANDALONE.map(grouped), lambda inner: disjunctions(inner).map(grouped), max_leaves=12)
RULES = disjunctions(GROUPS) | GROUPS

POSTS = st.builds(
    lambda words, tags, lang: Facts(
        id=1,
        texts=(SearchableText(tokens=tuple(words), line=" ".join(words)),),
        hashtags=frozenset(tag[1:] for tag in tags),
        lang=lang,
    ),
    st.lists(st.sampled_from(WORDS), max_size=4),
    st.sets(st.sampled_from(TAGS)),
    st.sampled_from(("en", "de", "und")),
)


def parsed(text):
    return grammar.parse(text, max_length=10_000, product="search")


def is_searchable(rule, limit):
    try:
        queries_of(rule, limit)
    except Unsearchable:
        return False
    return True


@pytest.mark.slow
@settings(max_examples=250)
@given(RULES, st.integers(1, 19), st.lists(POSTS, min_size=1, max_size=12))
def test_the_queries_find_what_the_rule_matches(rule, twentieths, posts):
    """No post more, no post less; by the grammar of the simulator."""
    limits = (len(rule) * part // 20 for part in range(twentieths, 21))
    limit = next(limit for limit in limits if is_searchable(rule, limit))
    queries = queries_of(rule, limit)

    assert limit >= max(map(len, queries))
    whole, parts = parsed(rule), list(map(parsed, queries))
    for post in posts:
        assert matches(whole, post) == any(matches(part, post) for part in parts)


@pytest.mark.slow
@settings(max_examples=100)
@given(st.lists(conjunctions(GROUPS), min_size=2, max_size=8), st.integers(0, 20))
def test_what_has_short_sides_is_always_split(sides, more):
    """It is enough that each side of the outermost ORs fits."""
    longest = max(map(len, sides))

    assert queries_of(" OR ".join(sides), longest + more)


@pytest.mark.parametrize(
    ("rule", "limit", "queries"),
    [
        ("cat OR dog", 10, ["cat OR dog"]),
        # AND binds tighter than OR
        ("ant bee OR cat", 9, ["ant bee", "cat"]),
        ("cat OR ant bee OR dog", 10, ["ant bee", "cat OR dog"]),
        # an OR inside quotes or parentheses is none
        ('"ant OR bee" OR cat', 12, ['"ant OR bee"', "cat"]),
        ("-(ant OR bee) cat OR elk", 20, ["-(ant OR bee) cat", "elk"]),
        ('url:"a OR b" OR point_radius:[1 2 OR3] OR elk', 26, ["point_radius:[1 2 OR3]", 'url:"a OR b" OR elk']),
        ("ORANGE OR or OR cat", 9, ["ORANGE", "cat OR or"]),
        # a group as a whole, and groups between ORs
        ("(cat OR dog OR elk)", 10, ["cat OR dog", "elk"]),
        ("((cat OR dog) OR elk)", 10, ["cat OR dog", "elk"]),
        # a group and other terms, wherever they stand
        ("(cat OR dog OR elk) lang:en -ant", 27, ["(cat OR dog) lang:en -ant", "(elk) lang:en -ant"]),
        ("lang:en (cat OR dog OR elk)-ant", 27, ["lang:en (cat OR dog) -ant", "lang:en (elk) -ant"]),
        # of several groups, that which makes the fewest
        ("(ant OR bee) (cat OR dog OR elk)", 27, ["(ant) (cat OR dog OR elk)", "(bee) (cat OR dog OR elk)"]),
        (
            "(cat OR dog OR elk) (antelope OR elephant)",
            30,
            ["(cat OR dog OR elk) (antelope)", "(cat OR dog OR elk) (elephant)"],
        ),
        ("x OR (cat OR dog OR elk) ant", 18, ["(cat OR dog) ant", "(elk) ant OR x"]),
    ],
)
def test_a_rule_is_split_where_that_changes_nothing(rule, limit, queries):
    """As it stands if it fits."""
    assert sorted(queries) == sorted(queries_of(rule, limit))


def test_a_thousand_characters_are_two_queries():
    """The longest rule, in the queries that self-serve accounts have."""
    rule = " OR ".join(f"#tag{number:06}" for number in range(72))
    lower_bound = 2

    assert 1024 >= len(rule) > 512
    assert lower_bound == len(queries_of(rule, 512))


@pytest.mark.parametrize(
    "rule",
    [
        "ant bee cat dog elk",
        '"ant OR bee OR cat OR dog"',
        "-(ant OR bee OR cat) elk",
        "(ant bee cat) dog elk",
        "cat OR (ant bee dog elk)",
        "(cat OR dog OR elk",
        "cat OR elk (dog OR bee",
        "cat OR dog) OR elk",
        'cat OR dog OR "elk',
        "cat OR OR dog OR elk",
    ],
)
def test_what_cannot_be_split_says_how_long_it_is(rule):
    """Terms that must all hold, a negated group, and what no grammar takes."""
    with pytest.raises(Unsearchable, match=rf"has {len(rule)} characters, a query may have 12\b.*cannot be split"):
        queries_of(rule, 12)


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("cat sample:10", "sample"),
        ("bio:cat", "bio"),
        ("cat -bio:dog", "bio"),
        ("cat (dog OR (elk -user_bio:x))", "user_bio"),
        ('BIO_NAME:"cat"', "BIO_NAME"),
        ("cat bio_location:here", "bio_location"),
        ("cat user_bio_location:here", "user_bio_location"),
        ('embedding:"a cat"', "embedding"),
        ("cat embedding_threshold:0.4", "embedding_threshold"),
        (f"{'cat ' * 100}sample:10", "sample"),
    ],
)
def test_what_search_does_not_know_is_named(rule, name):
    """Also negated, in a group, in any case; before the length matters."""
    with pytest.raises(Unsearchable, match=rf"\b{re.escape(name)}:"):
        queries_of(rule, 100)


@pytest.mark.parametrize(
    "rule", ['"sample:10" cat', 'url:"bio:x"', "#bio:x", "entity:embedding:x", "sample", "cat:bio"]
)
def test_text_is_no_operator(rule):
    """In quotes, as a value, as a word."""
    assert (rule,) == queries_of(rule, 100)


def test_what_x_took_for_a_rule_is_asked_for_as_it_is():
    """If it fits, X may judge it, whatever we think of its quotes."""
    assert ('cat "dog',) == queries_of('cat "dog', 100)


@pytest.mark.parametrize("levels", [1000, 100])
def test_depth_is_no_danger(levels):
    """A hundred groups in groups are taken apart; more, which nobody writes, are left alone."""
    within, layers = "(" * levels + "cat OR dog" + ")" * levels, "cat OR dog"
    for _ in range(levels):
        layers = f"({layers}) y"

    assert (levels == 100) == is_searchable(within, 5)
    assert (levels == 100) == is_searchable(layers, 405)
