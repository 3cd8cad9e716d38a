import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.options import Unfit
from connector.transforms.java_regex import compiled, replacement

REFUSED = [
    # may take for ever
    ("(a+)+", "itself holds a repetition"),
    ("(a*)*b", "itself holds a repetition"),
    ("(?:a|aa)+", "itself holds a repetition"),
    ("((a?){20}){20}", "itself holds a repetition"),
    ("(x(y|z))*", "itself holds a repetition"),
    ("(a{1,9}){2,}", "itself holds a repetition"),
    ("((?=a+b)a){200}", "itself holds a repetition, a choice or a lookahead"),
    ("(((^){249}){249}){249}", "matches no character"),
    ("((){249}){249}", "matches no character"),
    (r"(\b){2}", "matches no character"),
    ("(?=a){2}", "matches no character"),
    ("(?:(?:a{0}){249}){249}", "itself holds a repetition"),
    # may take long
    (".*.*.*.*.*", "so many repetitions"),
    ("a?" * 30 + "a" * 30, "so many repetitions"),
    ("(a|a)" * 30, "so many repetitions"),
    ("a{0,200}" * 4, "so many repetitions"),
    ("a{250}", "no topic is longer"),
    ("a" * 501, "use at most 500"),
    # not known here, or not to Java
    (r"\p{L}", r"has \p"),
    (r"(a)\1", r"has \1"),
    (r"[\h]", r"has \h in a class"),
    ("[a[b]]", "class inside a class"),
    ("[a&&b]", "class inside a class"),
    ("[]", "empty class"),
    ("[]a]", "empty class"),
    ("(?>a)", "has (?>"),
    ("(?s)a", "has (?s"),
    ("a{", "begins no count"),
    ("a{,3}", "begins no count"),
    ("*", "behind nothing"),
    ("a**", "behind nothing"),
    ("(", "not closed"),
    (")", "without a ("),
    ("[a", "not closed"),
    ("a\\", "ends with a backslash"),
    ("(?<n>a)(?<n>b)", "is no regular expression"),
    ("[z-a]", "is no regular expression"),
]


@pytest.mark.parametrize(("pattern", "words"), REFUSED)
def test_refused(pattern, words):
    """With a sentence, when the configuration is checked."""
    with pytest.raises(Unfit) as caught:
        compiled(pattern)

    assert words in caught.value.rests[0]


SLOWEST = [
    "(.*)(.*)(.*)(.*)x",
    "((((a{249}){249}){249}){249})",
    "a?" * 12 + "[a-z]*[a-z]*x",
    "(?:a|b)(?:a|b)(?:a|b)a*a*a*x",
]


@pytest.mark.slow
@pytest.mark.parametrize("pattern", SLOWEST)
def test_the_slowest_ends(pattern):
    """What is taken ends on the longest topic, even if it takes a moment."""
    begun = time.process_time()
    compiled(pattern).fullmatch("a" * 249)

    assert time.process_time() - begun < 30


@pytest.mark.slow
@given(st.text(alphabet="ab.*+?()[]{}|\\^$1,-QEdw<>:=!i", max_size=25))
def test_any_text_is_compiled_or_refused(pattern):
    """Nothing else happens, whatever an operator writes; what is compiled ends at once on a short text."""
    try:
        found = compiled(pattern)
    except Unfit:
        return
    found.fullmatch("abab1a.b-a")


@pytest.mark.parametrize("text", ["$", "a\\", "$2", "${b}", "${", "$x", "${1}"])
def test_replacement_is_checked(text):
    """A group that is not there is told at once, not with the first record."""
    with pytest.raises(Unfit):
        replacement(text, re.compile("(?P<a>x)"))
