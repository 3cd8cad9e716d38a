"""The compiled form takes for a post only what the form in Python takes, with the same id; and it takes real ones."""

import json
import logging
import runpy
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import SimpleNamespace

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connector.config.load import load
from connector.errors import BadRecord
from connector.formats.schemas import native as avro_native
from connector.records import native
from connector.records.post import MAX_ID, head_of, heads_of
from connector.telemetry.events.worker import CompiledFormBroken
from connector.worker import wiring
from tests import ROOT
from tests.unit.fakes import id_of, post
from tests.unit.forms import FORMS, NOT_BUILT

pytestmark = pytest.mark.skipif(native.compiled is None, reason=NOT_BUILT)

TEXTS = st.text(max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\'), max_size=20)
"""X writes no others; a name with an escape in it gets a closer look."""
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
LINES = st.builds(
    lambda data, post_id, line: {"data": {**data, "id": post_id}, **line},
    st.dictionaries(NAMES.filter(lambda name: name != "id"), VALUES, max_size=5),
    st.integers(1, MAX_ID).map(str),
    st.dictionaries(NAMES.filter(lambda name: name != "data"), VALUES, max_size=5),
)
SMALL = b'{"data":{"id":"1"}}'
ALPHABET = b'{}[]:,"\\ \t\n\r\x00\x1f\x7f\x80\xbf\xc2\xe2\xed\xf0\xf4\xff\xa0\x90\x8f\x9f0123456789-+.eEuabcdfnrtlsid/'


def encoded(line, *, spaced=False):
    """*line* as JSON in UTF-8; texts with half of a surrogate pair need escapes."""
    try:
        return orjson.dumps(line, option=orjson.OPT_INDENT_2 if spaced else None)
    except orjson.JSONEncodeError:
        return json.dumps(line, indent=1 if spaced else None).encode()


def heads(*lines):
    return native.compiled.heads(lines)


@pytest.mark.slow
@given(LINES, st.booleans())
def test_proper_lines(line, spaced):
    """Whatever X may send in a post, however it is spaced, its id is found."""
    raw = encoded(line, spaced=spaced)

    assert ([int(line["data"]["id"])], [line["data"]["id"].encode()]) == heads(raw)


@pytest.mark.slow
@given(LINES, st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.binary(max_size=3)), max_size=3))
def test_damaged_lines(line, cuts):
    """Of a line that is cut, or has bytes put in, nothing is taken that Python would not take as it is."""
    raw = encoded(line)
    for anywhere, removed, inserted in cuts:
        at = anywhere % (len(raw) + 1)
        raw = raw[:at] + inserted + raw[at + removed :]

    never_more_than_python(raw)


@given(st.integers(0, len(SMALL)), st.lists(st.sampled_from(list(ALPHABET)), max_size=8).map(bytes))
@example(at=17, inserted=b',"id":"2"')
@example(at=18, inserted=b',"data":{"id":"2"}')
@example(at=15, inserted=b"e1")
def test_anything_put_in(at, inserted):
    """The same for what means something in JSON, anywhere in a small line."""
    never_more_than_python(SMALL[:at] + inserted + SMALL[at:])


@given(st.binary(max_size=60))
def test_anything_in_a_string(raw):
    """Bytes in a text are taken if they are UTF-8 without control characters, and escapes if they are JSON's."""
    never_more_than_python(b'{"data":{"id":"1","text":"' + raw + b'"}}')


def never_more_than_python(line):
    found = heads(line)
    if found is not None:
        assert ([head_of(line)], [b"%d" % head_of(line)]) == found


STRINGS = [
    ("plain " * 20, True),
    ("é" * 20 + "\u20ac" + "\U0001f426" * 20, True),
    (r"a \" quoted \\ \/ \b\f\n\r\t \u00e9 \ud83d\udc26", True),
    (b"\xed\xa0\x80", False),  # a surrogate
    (b"\xc0\xaf", False),  # overlong
    (b"\xe0\x80\xaf", False),
    (b"\xf0\x80\x80\xaf", False),
    (b"\xf4\x90\x80\x80", False),  # beyond Unicode
    (b"\xe2\x82", False),
    (b"\x80", False),
    ("tab\t", False),
    ("\x00", False),
    (r"\x41", False),
    (r"\u00g0", False),
    ("\\", False),
]


@pytest.mark.parametrize(("text", "proper"), STRINGS)
@pytest.mark.parametrize("before", [0, 1, 15, 16, 17])
def test_strings(text, proper, before):
    """Wherever in sixteen bytes it stands."""
    raw = text if isinstance(text, bytes) else text.encode()
    line = b'{"data":{"id":"1","text":"' + b"x" * before + raw + b'"}}'

    assert proper is (heads(line) is not None)


NUMBERS = [
    *((number, True) for number in (b"0", b"-0", b"10", b"1.5", b"1e9", b"1E+09", b"1.5e-3")),
    *(
        (number, False)
        for number in (b"", b"-", b"01", b"1.", b".5", b"1e", b"1e+", b"+1", b"NaN", b"Infinity", b"0x1")
    ),
]


@pytest.mark.parametrize(("number", "proper"), NUMBERS)
def test_numbers(number, proper):
    """JSON's own grammar."""
    assert proper is (heads(b'{"data":{"id":"1","n":%s}}' % number) is not None)


CLOSER_LOOK = [
    b"",
    b"{}",
    b'{"data":{}}',
    b'{"data":[{"id":"1"}]}',
    b'{"data":{"id":1}}',
    b'{"data":{"id":""}}',
    b'{"data":{"id":"0"}}',
    b'{"data":{"id":"01"}}',
    b'{"data":{"id":"-1"}}',
    b'{"data":{"id":"1a"}}',
    b'{"data":{"id":"9223372036854775808"}}',
    b'{"data":{"id":"10000000000000000000"}}',
    b'{"data":{"id":"1"},"data":{"id":"2"}}',
    b'{"data":{"id":"1","id":"2"}}',
    b'{"data":{"a":{"id":"1"}}}',
    b'{"a":{"data":{"id":"1"}}}',
    b'{"a":{"id":"1"},"data":{}}',
    b'[{"data":{"id":"1"}}]',
    b'{"data":{"i\\u0064":"1"}}',
    b'{"data":{"id":"1","i\\u0064":"2"}}',
    SMALL + b"x",
    SMALL[:-1],
    SMALL + SMALL,
    b'{"data":{"id":"1"},}',
    b'{"data":{"id":"1"},"a":[1,]}',
    b'{"data":{"id":"1"},"a":[1}]',
]


@pytest.mark.parametrize("line", CLOSER_LOOK)
def test_closer_look(line):
    """What is no post, and what is one in a way that X does not write, is left to Python; so is all with it."""
    assert heads(line) is None
    assert heads(post(1), line, post(2)) is None


def test_many_at_once():
    """More than what is worth to let other threads run meanwhile."""
    lines = tuple(post(number) for number in range(5_000))

    assert [id_of(number) for number in range(5_000)] == heads(*lines)[0]


@FORMS
def test_the_same_of_both(compiled, monkeypatch):
    """`heads_of` gives numbers and digits in either form."""
    monkeypatch.setattr("connector.records.post.compiled", compiled)
    lines = (post(1), post(2))

    assert ([id_of(1), id_of(2)], [b"%d" % id_of(1), b"%d" % id_of(2)]) == heads_of(lines)
    assert heads_of((post(1), b"oops")) is None
    with pytest.raises(BadRecord):
        head_of(b"oops")


def test_wrong_arguments():
    """A mistake of ours is an error, not a crash."""
    native_ = native.compiled
    for call in (
        lambda: native_.heads([b"x"]),
        lambda: native_.heads(("x",)),
        lambda: native_.count_ends([b"x"], {}),
        lambda: native_.count_ends((b"x",), []),
        lambda: native_.count_ends(("x",), {}),
        lambda: native_.count_ends((b"x",), {b"": "1"}),
        lambda: native_.count_ends((b"x",), {b"": 2**63 - 1}),
        lambda: native_.split((b"k",), (b"v",), (1, 2), 4),
        lambda: native_.split((b"k",), (b"v",), (1,), 0),
        lambda: native_.split(("k",), (b"v",), (1,), 1),
        lambda: native_.measure((b"k",), (b"v",), (1,), 1, 10),
        lambda: native_.measure((b"k",), (b"v",), ("1",), 0, 10),
        lambda: native_.measure((b"k",), ("v",), (1,), 0, 10),
        lambda: native_.join((b"k",), (b"v",), (1,), 0, 2),
        lambda: native_.join((b"k",), (b"v",), (1,), 0, 0),
        lambda: native_.join((b"k",), (b"v",), (2**70,), 0, 1),
        lambda: native_.join((b"k",), (b"v",), (1,), -1, 1),
    ):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            call()


@pytest.mark.slow
def test_left_out():
    """The variable leaves it out, and everything works without."""
    code = (
        'from connector.records import native, post; print(native.compiled, post.heads_of((b\'{"data":{"id":"7"}}\',)))'
    )
    said = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-c", code], env={native.PURE_PYTHON: "1"}, capture_output=True, text=True, check=True
    ).stdout

    assert "None ([7], [b'7'])" == said.strip()


def package(folder, compiled=None):
    """As much of an installation as it takes to load the compiled form, which has the content *compiled*."""
    source = Path(native.__file__).parent
    room = folder / "connector" / "records"
    room.mkdir(parents=True)
    (folder / "connector" / "__init__.py").touch()
    for name in ("__init__.py", "native.py"):
        shutil.copy(source / name, room / name)
    if compiled is not None:
        (room / f"_native{EXTENSION_SUFFIXES[-1]}").write_bytes(compiled)
    code = "from connector.records import native; print([native.compiled, native.broken])"
    return subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-S", "-c", code], cwd=folder, env={}, capture_output=True, text=True, check=True
    ).stdout


def test_not_built(tmp_path):
    """Where it was not built nothing is wrong."""
    assert "[None, '']" == package(tmp_path).strip()


def test_built_and_broken(tmp_path):
    """A file that is there and cannot be loaded is told of; the form in Python is used."""
    said = package(tmp_path, b"built for another machine")

    assert said.startswith("[None, '")
    assert "_native" in said


@pytest.mark.parametrize("module", [native, avro_native])
def test_broken_is_a_warning(module, monkeypatch, tmp_path):
    """The log says what was found, what it costs, and what to do."""
    monkeypatch.setattr(module, "broken", "wrong ELF class")
    told = []
    app = SimpleNamespace(conf=SimpleNamespace(web_enabled=False))
    wiring._announce(app, load({}, tmp_path), told.append)

    (event,) = (each for each in told if isinstance(each, CompiledFormBroken))
    assert (logging.WARNING, "wrong ELF class") == (event.level, event.fields()["reason"])
    assert "install" in event.fields()["cure"]


@pytest.mark.parametrize("free_threaded", [False, True])
def test_installation(free_threaded, monkeypatch):
    """There is no limited API in free-threaded builds of Python: there nothing is compiled, and nothing fails."""
    given = {}
    setuptools = SimpleNamespace(Extension=lambda name, *_, **_how: name, setup=given.update)
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    found = sysconfig.get_config_var
    monkeypatch.setattr(
        sysconfig, "get_config_var", lambda name: free_threaded if name == "Py_GIL_DISABLED" else found(name)
    )
    runpy.run_path(str(ROOT / "setup.py"))

    compiled = ["connector.records._native", "connector.formats.schemas._avro"]
    assert ({} if free_threaded else {"ext_modules": compiled}) == {
        key: value for key, value in given.items() if key == "ext_modules"
    }
    assert ("options" in given) is not free_threaded
