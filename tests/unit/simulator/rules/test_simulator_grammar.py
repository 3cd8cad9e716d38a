"""Rules mean what X says they mean."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connector.simulator.rules.grammar import NO_POSITIVE, NO_STANDALONE, InvalidRule, parse
from connector.simulator.rules.matching import Facts, RuleIndex, matches
from connector.simulator.rules.text import SearchableText, searchable
from connector.simulator.rules.tree import And, Not, Or, Term

WORDS = ("apple", "pear", "plum", "fig")
TAGS = ("red", "green", "blue")
USERS = ("ann", "bob")
LANGS = ("en", "de", "ja")


def keyword(word):
    return Term("keyword", word, (word,))


@pytest.mark.parametrize(
    ("rule", "tree"),
    [
        # The two examples of the documentation: a space binds tighter than OR.
        (
            "apple OR iphone ipad",
            Or((keyword("apple"), And((keyword("iphone"), keyword("ipad"))))),
        ),
        (
            "ipad iphone OR android",
            Or((And((keyword("ipad"), keyword("iphone"))), keyword("android"))),
        ),
        ("(a OR b) c", And((Or((keyword("a"), keyword("b"))), keyword("c")))),
        ("a -b", And((keyword("a"), Not(keyword("b"))))),
        # Lower case `or` is a word.
        ("a or b", And((keyword("a"), keyword("or"), keyword("b")))),
        ('"Exact  Phrase"', Term("phrase", "exact phrase", ("exact", "phrase"))),
        ('"a b"~3', Term("near", "a b", ("a", "b"), 3)),
        ("#Python", Term("hashtag", "python")),
        ("@Bob", Term("mention", "bob")),
        ("$SYN", Term("cashtag", "syn")),
        ("from:@Bob", Term("from", "bob", ("bob",))),
        ("coca-cola", Term("keyword", "coca-cola", ("coca", "cola"))),
        ("statuses_count:10..20 a", And((Term("tweets_count", "10..20", ("10", "20")), keyword("a")))),
        ("🎉", Term("emoji", "🎉")),
    ],
)
def test_a_rule_becomes_the_tree_that_x_describes(rule, tree):
    """Precedence, negation, groups and operators are read as documented."""
    assert parse(rule) == tree


@pytest.mark.parametrize(
    ("rule", "details"),
    [
        # The recorded answer.
        ("--b", [NO_POSITIVE, NO_STANDALONE]),
        ("-a", [NO_POSITIVE, NO_STANDALONE]),
        ("is:retweet", [NO_STANDALONE]),
        ("has:images lang:en -cat", [NO_STANDALONE]),
        ("sample:10", [NO_STANDALONE]),
    ],
)
def test_a_rule_without_a_positive_standalone_term_is_refused(rule, details):
    """Only negations, or only terms that need another, make no rule."""
    with pytest.raises(InvalidRule) as caught:
        parse(rule)

    assert caught.value.details == details


@pytest.mark.parametrize(
    ("rule", "part"),
    [
        ("filter:x", "Reference to invalid operator 'filter'"),
        ("https://example.com", "Reference to invalid operator 'https'"),
        ("a -(b c)", "a group cannot be negated"),
        ("(a", "missing closing parenthesis"),
        ("a)", "unexpected ')'"),
        ("a OR", "missing clause"),
        ("OR a", "missing clause"),
        ("()", "missing clause"),
        ("", "missing clause"),
        ('"open', "missing closing quote"),
        ("a is:nullcast", "must be negated"),
        ("a -sample:10", "cannot be negated"),
        ("a sample:101", "invalid value"),
        ("a lang:english", "invalid value"),
        ("a has:cats", "invalid value"),
        ('"a b"~7', "invalid proximity"),
        ("point_radius:[1 2 26mi]", "invalid value"),
        ("x" * 1025, "exceeds the maximum of 1024"),
    ],
)
def test_a_mistake_in_a_rule_is_named(rule, part):
    """The details say what is wrong."""
    with pytest.raises(InvalidRule) as caught:
        parse(rule)

    assert part in caught.value.details[0]


def test_a_rule_of_the_full_length_is_taken():
    """The limit itself is allowed."""
    assert parse("x" * 1024).value == "x" * 1024


def test_operators_of_streams_are_unknown_to_search():
    """`sample:` and `bio:` are for streams alone; accents do not count in search."""
    with pytest.raises(InvalidRule):
        parse("a sample:10", product="search")
    with pytest.raises(InvalidRule):
        parse("bio:a", product="search")

    assert parse("Café", product="search").value == "cafe"
    assert parse("Café").value == "café"


# Against an oracle: rules are drawn as trees, written down, read and matched.

leaf = st.one_of(
    st.sampled_from(WORDS).map(lambda w: ("word", w)),
    st.sampled_from(TAGS).map(lambda t: ("tag", t)),
    st.sampled_from(USERS).map(lambda u: ("from", u)),
    st.sampled_from(LANGS).map(lambda c: ("lang", c)),
    st.lists(st.sampled_from(WORDS), min_size=2, max_size=3).map(lambda ws: ("phrase", tuple(ws))),
)
signed = st.tuples(st.booleans(), leaf).map(lambda pair: ("not", pair[1]) if pair[0] else pair[1])
tree = st.recursive(
    signed,
    lambda inner: st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=4)),
    max_leaves=12,
)
posts = st.fixed_dictionaries(
    {
        "words": st.lists(st.sampled_from(WORDS), max_size=6),
        "tags": st.frozensets(st.sampled_from(TAGS)),
        "user": st.sampled_from(USERS),
        "lang": st.sampled_from(LANGS),
    }
)


def written(node, *, inside_and=False):  # noqa: PLR0911 - one for each kind
    """The rule in X's language."""
    kind, value = node
    match kind:
        case "word":
            return value
        case "tag":
            return f"#{value}"
        case "from" | "lang":
            return f"{kind}:{value}"
        case "phrase":
            return f'"{" ".join(value)}"'
        case "not":
            return f"-{written(value)}"
        case "and":
            return " ".join(written(part, inside_and=True) for part in value)
    joined = " OR ".join(written(part) for part in value)
    return f"({joined})" if inside_and else joined


def holds(node, post):  # noqa: PLR0911 - one for each kind
    """The oracle: what the tree says, in the plainest way."""
    kind, value = node
    match kind:
        case "word":
            return value in post["words"]
        case "tag":
            return value in post["tags"]
        case "from":
            return value == post["user"]
        case "lang":
            return value == post["lang"]
        case "phrase":
            return f" {' '.join(value)} " in f" {' '.join(post['words'])} "
        case "not":
            return not holds(value, post)
        case "and":
            return all(holds(part, post) for part in value)
    return any(holds(part, post) for part in value)


def facts_of(post):
    return Facts(
        id=1,
        texts=(searchable(" ".join(post["words"])),),
        hashtags=post["tags"],
        author=frozenset({post["user"]}),
        lang=post["lang"],
    )


# A term that stands for any rule's positive one, so that negative trees are rules too.
ALWAYS = "from:ann OR from:bob"


@pytest.mark.slow
@settings(max_examples=150)
@given(tree, posts)
def test_matching_agrees_with_the_oracle(node, post):
    """A rule that is written, read and matched says what its tree says."""
    rule = f"({written(node)}) ({ALWAYS})"

    assert matches(parse(rule), facts_of(post)) == holds(node, post)


@pytest.mark.slow
@settings(max_examples=80)
@given(st.lists(tree, min_size=1, max_size=12), posts)
def test_the_index_finds_the_rules_that_one_by_one_would(nodes, post):
    """Filing rules under their anchors loses none and adds none."""
    rules = [(number, parse(f"({written(node)}) ({ALWAYS})")) for number, node in enumerate(nodes)]
    facts = facts_of(post)

    expected = [number for number, node in rules if matches(node, facts)]
    actual = RuleIndex(rules).match(facts)

    assert expected == actual


@settings(max_examples=300)
@given(st.text(alphabet='ab "()-#@$:~ORé🎉9[]~.', max_size=30) | st.text(max_size=30))
def test_any_text_is_a_rule_or_refused(text):
    """Whatever somebody types, the answer is a tree or a refusal with details."""
    try:
        outcome = matches(parse(text), Facts(id=1, texts=(SearchableText(tokens=(), line=""),)))
    except InvalidRule as error:
        outcome = bool(error.details)

    assert isinstance(outcome, bool)
