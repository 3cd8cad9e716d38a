import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.cli.connectors.files import FILE_BYTES_MAX, Unreadable, read, read_folder

CONFIG = {"connector.class": "PostStreamSourceConnector", "topic": "posts"}


def write(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps({"name": "birds", "config": CONFIG})),
        ("a.json", json.dumps({"name": " birds ", "config": CONFIG | {"name": "birds"}})),
        ("a.json", json.dumps(CONFIG | {"name": "birds", "file": None})),
        ("a.properties", "# birds\nname=birds\nconnector.class = PostStreamSourceConnector\ntopic: posts\n"),
        ("a.toml", 'name = "birds"\nconnector.class = "PostStreamSourceConnector"\ntopic = "posts"\n'),
        ("a.TOML", 'name = "birds"\n[config]\ntopic = "posts"\nconnector.class = "PostStreamSourceConnector"\n'),
    ],
)
def test_forms(tmp_path, name, text):
    """Each form gives the same connector."""
    wanted = read(write(tmp_path / name, text))

    assert "birds" == wanted.name
    assert CONFIG | {"name": "birds"} == wanted.config
    assert {"name": "birds", "config": wanted.config} == wanted.body


def test_values_become_texts(tmp_path):
    """Numbers, booleans, lists, tables and rules are what the options take."""
    path = write(
        tmp_path / "a.toml",
        """
        name = "birds"
        tasks.max = 1
        print = true
        hashtags = ["python", "kafka"]
        x.bearer.token = "${env:CONNECTOR_TOKEN}"
        [[rules]]
        value = "cat"
        tag = "cats"
        """,
    )

    assert {
        "name": "birds",
        "tasks.max": "1",
        "print": "true",
        "hashtags": "python,kafka",
        "x.bearer.token": "${env:CONNECTOR_TOKEN}",
        "rules": '[{"value": "cat", "tag": "cats"}]',
    } == read(path).config


def test_first_state_and_offsets(tmp_path):
    """What counts for a new connector only is kept beside its configuration."""
    offsets = [{"partition": {"stream": "filtered"}, "offset": {}}]
    body = {"name": "birds", "config": CONFIG, "initial_state": "PAUSED", "initial_offsets": offsets}
    wanted = read(write(tmp_path / "a.json", json.dumps(body)))

    assert body | {"config": CONFIG | {"name": "birds"}} == wanted.body


@pytest.mark.parametrize(
    ("name", "text", "rest"),
    [
        ("a.yaml", "", "ends neither in .json nor in .properties or .toml."),
        ("a.json", "{", "is no json: Expecting property name enclosed in double quotes at line 1, column 2."),
        ("a.json", "[" * 100_000, "is no json: it is nested too deeply."),
        ("a.json", "[]", 'must hold an object such as {"name": "birds", "config": {...}}.'),
        ("a.json", "{}", "names no connector: give it a name."),
        ("a.json", '{"name": "", "config": {}}', "names no connector: give it a name."),
        ("a.json", '{"name": "a", "config": {}, "state": 1}', "has 'state' beside config: known are name, config,"),
        ("a.json", '{"name": "a", "config": {"name": "b"}}', "has two names, 'a' and 'b': keep one of them."),
        ("a.json", '{"name": "a", "x": [[1]]}', "has a list 'x' of other things than texts and numbers"),
        ("a.toml", "name = a", "is no toml: Invalid value (at line 1, column 8)."),
        ("a.toml", 'name = "a"\nb = 2026-01-01', "has a value of 'b' that is no text, number or list"),
        ("a.properties", "name=\\u1", "is no properties: line 1 has \\u without four hexadecimal digits."),
        ("a.json", " " * (FILE_BYTES_MAX + 1), f"is longer than {FILE_BYTES_MAX} bytes."),
    ],
)
def test_no_connector(tmp_path, name, text, rest):
    """A file that holds no connector is named, with what is wrong."""
    path = write(tmp_path / name, text)

    with pytest.raises(Unreadable) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} {rest}")


def test_no_file(tmp_path):
    """A file or folder that is not there is named."""
    with pytest.raises(Unreadable, match=r"a.json does not exist\."):
        read(tmp_path / "a.json")
    with pytest.raises(Unreadable, match="cannot be read: No such file or directory"):
        read_folder(tmp_path / "none")


def test_a_folder(tmp_path):
    """Files of the known kinds are read, by name of the connector; hidden ones, folders and other files are not."""
    write(tmp_path / "b.json", json.dumps(CONFIG | {"name": "a"}))
    write(tmp_path / "a.properties", "name=b")
    write(tmp_path / ".c.json", "[")
    write(tmp_path / "notes.txt", "[")
    (tmp_path / "d.json").mkdir()

    assert ["a", "b"] == [each.name for each in read_folder(tmp_path)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["name", "config", "initial_state", "a", "b.c"]), JSON))
def test_any_json(tmp_path_factory, found):
    """Any JSON is a connector whose options are texts, or is refused with sentences."""
    path = write(tmp_path_factory.getbasetemp() / "any.json", json.dumps(found))
    try:
        wanted = read(path)
    except Unreadable as unreadable:
        sentences = unreadable.problems
    else:
        sentences = ()
        assert all(isinstance(text, str) for text in wanted.config.values())
        assert wanted.name == wanted.config["name"]
    assert all(sentence.endswith(".") and str(path) in sentence for sentence in sentences)


@pytest.mark.parametrize("depth", [500, 800, 900, 950, 970, 990, 5_000])
def test_nested_too_deeply(tmp_path, depth):
    """However deep its tables are, a file is read, or refused in a sentence."""
    path = write(tmp_path / "a.json", '{"name": "birds", "config": ' + '{"a":' * depth + "1" + "}" * depth + "}")

    with contextlib.suppress(Unreadable):
        assert "birds" == read(path).name


def test_a_date_in_first_offsets(tmp_path):
    """What JSON cannot say is refused with the name of the file."""
    offsets = 'name = "birds"\ninitial_offsets = [{partition = {stream = "filtered"}, offset = {at = 1979-05-27}}]\n'
    path = write(tmp_path / "a.toml", f'{offsets}[config]\ntopic = "posts"\n')

    with pytest.raises(Unreadable, match=r"a\.toml has a value beside config that is no text, number or list"):
        read(path)
