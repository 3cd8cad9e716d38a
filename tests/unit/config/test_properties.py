import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.properties import parse_properties


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("# a\n! b\n\n  \t\n", {}),
        ("a=1\nb: 2\nc 3\nd\t=\t4\n", {"a": "1", "b": "2", "c": "3", "d": "4"}),
        ("a =  1 ", {"a": "1 "}),
        ("a\nb=\n", {"a": "", "b": ""}),
        ("a=1\r\nb=2\rc=3", {"a": "1", "b": "2", "c": "3"}),
        ("a=1\na=2", {"a": "2"}),
        ("topics = one,\\\n    two,\\\n    three", {"topics": "one,two,three"}),
        ("a=1\\\\\nb=2", {"a": "1\\", "b": "2"}),
        ("a\\ b\\=c\\:d = e", {"a b=c:d": "e"}),
        ("a=\\t\\n\\r\\f\\q\\\\", {"a": "\t\n\r\fq\\"}),
        ("a=\\u00e9\\uD83D\\uDC26", {"a": "é🐦"}),
        ("a=# no comment", {"a": "# no comment"}),
        ("a==b", {"a": "=b"}),
        ("a=1\\", {"a": "1"}),
        ("a=1\\\n# still a", {"a": "1# still a"}),
        ("a=1\\\n\nb=2", {"a": "1", "b": "2"}),
    ],
)
def test_properties(text, found):
    """A text is read as `java.util.Properties` reads it."""
    assert found == parse_properties(text)


def test_a_broken_escape_names_its_line():
    """An escape that Java refuses is refused, too."""
    with pytest.raises(ValueError, match="line 2 has"):
        parse_properties("a=1\nb=\\u12")


def written(text):
    return "".join(f"\\{c}" if c in "\\=: #!" else f"\\u{ord(c):04x}" if c in "\t\n\r\f" else c for c in text)


PLAIN = st.text(st.characters(blacklist_categories=["Cs", "Cc"]))


@given(st.dictionaries(PLAIN, PLAIN))
def test_what_is_written_is_read(pairs):
    """Pairs written with Java's escapes come back."""
    assert pairs == parse_properties("\n".join(f"{written(key)}={written(value)}" for key, value in pairs.items()))
