import codecs
import json
import subprocess
import sys

import pytest
from dotenv import parser

from connector.config.dotenv import load_dotenv_into
from connector.config.load import load
from connector.errors import ConfigError
from tests import ROOT

TOKEN = "AAAAsynthetic"  # noqa: S105  # opens nothing
REST = f"CONNECTOR_TOPIC=posts\nCONNECTOR_X_BEARER_TOKEN={TOKEN}\n"


def written(folder, content):
    (folder / ".env").write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def loaded(folder, content, environ=None):
    return load(environ or {}, written(folder, content))


def problems_of(folder, content, environ=None):
    with pytest.raises(ConfigError) as caught:
        loaded(folder, content, environ)
    return caught.value.problems


def values(config):
    return tuple(rule.value for rule in config.rules)


QUOTED = [
    "CONNECTOR_HASHTAGS='python, #kafka, #news'",
    'CONNECTOR_HASHTAGS="python, #kafka, #news"',
    'export CONNECTOR_HASHTAGS = "python, #kafka, #news"  # what we follow',
    "CONNECTOR_HASHTAGS=#python,#kafka,#news",
    "CONNECTOR_HASHTAGS=#python,#kafka,#news # what we follow",
    "CONNECTOR_HASHTAGS=python,kafka,news\t# what we follow",
]


@pytest.mark.parametrize("line", QUOTED)
def test_hashtags_in_quotes_or_together(tmp_path, line):
    """What no comment cuts is read whole, and a comment that can be nothing else is one."""
    assert ("#python", "#kafka", "#news") == values(loaded(tmp_path, REST + line).connector)


CUT = [
    ("CONNECTOR_HASHTAGS=python, #kafka, #news", "#kafka, #news", "python, #kafka, #news"),
    ("CONNECTOR_HASHTAGS=python #kafka", "#kafka", "python #kafka"),
    ("CONNECTOR_HASHTAGS=#python, # kafka", "# kafka", "#python, # kafka"),
    ("CONNECTOR_HASHTAGS=python, #kafka, #c++", "#kafka, #c++", "python, #kafka, #c++"),
    ("CONNECTOR_HASHTAGS= #python", "#python", "#python"),
    ("export CONNECTOR_HASHTAGS = #python", "#python", "#python"),
    ('CONNECTOR_RULES=[{"value": "cats #kitten"}]', '#kitten"}]', '[{"value": "cats #kitten"}]'),
]


@pytest.mark.parametrize(("line", "cut", "whole"), CUT)
def test_what_a_comment_cuts_is_said(tmp_path, line, cut, whole):
    """Never are some of the hashtags followed without a word: what is cut is said, where, and how to quote it."""
    problems = problems_of(tmp_path, f"{REST}\n{line}\n")
    name = line.replace("export ", "").partition("=")[0].strip()

    assert problems[0].startswith(f"{name} is cut: {cut!r} in line 4 of {tmp_path}/.env counts as a comment")
    assert f"{name}='{whole}'" in problems[0]
    assert not any("required" in problem for problem in problems)


def test_a_password_that_a_comment_cuts(tmp_path):
    """A secret is not shown, not even the part that was cut."""
    login = "CONNECTOR_KAFKA_SECURITY_PROTOCOL=SASL_SSL\nCONNECTOR_KAFKA_SASL_USERNAME=robin\n"
    problems = problems_of(tmp_path, login + "CONNECTOR_KAFKA_SASL_PASSWORD=Sesame #Open47\n")

    assert 1 == len(problems)
    assert "CONNECTOR_KAFKA_SASL_PASSWORD is cut: what follows the # in line 3" in problems[0]
    assert "Sesame" not in problems[0]
    assert "Open47" not in problems[0]


def test_a_path_that_a_comment_cuts(tmp_path):
    """A file of that whole name is there, so the comment is a part of it."""
    (tmp_path / "my #1.toml").write_text('[[rules]]\nvalue = "cats"\n')
    problems = problems_of(tmp_path, REST + "CONNECTOR_RULES_FILE=my #1.toml\n")

    assert problems[0].startswith("CONNECTOR_RULES_FILE is cut: '#1.toml' in line 3")


COMMENTS = [
    "CONNECTOR_GROUP_ID=birds #of prey",
    "CONNECTOR_WEB_PORT=9000 #9001",
    "CONNECTOR_X_BEARER_TOKEN=AAAAother # from the portal",
    'CONNECTOR_RULES=[{"value": "cats"}] # ours',
    "CONNECTOR_NAME=posts # as all call it",
    "CONNECTOR_TIME_LIMIT_SECS= # none",
]


@pytest.mark.parametrize("line", COMMENTS)
def test_a_comment_is_a_comment(tmp_path, line):
    """Where an option takes no such text, what follows the # is no part of its value."""
    assert loaded(tmp_path, REST + "CONNECTOR_HASHTAGS=python\n" + line).connector.topic == "posts"


def test_the_environment_wins_over_what_is_cut(tmp_path):
    """What the environment sets is not in doubt."""
    config = loaded(tmp_path, REST + "CONNECTOR_HASHTAGS=a, #b\n", {"CONNECTOR_HASHTAGS": "kafka"}).connector

    assert ("#kafka",) == values(config)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CONNECTOR_HASHTAGS='python', '#kafka'", "has a value in line 3 that begins with ' and does not end with it"),
        ('CONNECTOR_HASHTAGS="python', 'has a value in line 3 that begins with " and does not end with it'),
        ("CONNECTOR_HASHTAGS: python", "has no NAME=value in line 3: correct it."),
    ],
)
def test_quotes_that_do_not_end(tmp_path, line, said):
    """The sentence names the quotes, where quotes are the reason."""
    assert any(said in problem for problem in problems_of(tmp_path, REST + line))


@pytest.mark.parametrize(
    ("lines", "notice"),
    [
        (
            "CONNECTOR_HASHTAGS=python\nCONNECTOR_HASHTAGS=kafka\n",
            "sets CONNECTOR_HASHTAGS in line 3 and again, to something else, in line 4: line 4 counts.",
        ),
        (
            "CONNECTOR_HASHTAGS=kafka\nconnector_plan=enterprise\n",
            "has 'connector_plan' in line 4, which has no effect: write CONNECTOR_PLAN.",
        ),
        (
            'CONNECTOR_HASHTAGS=kafka\n"CONNECTOR_PLAN"=enterprise\n',
            "has '\"CONNECTOR_PLAN\"' in line 4, which has no effect: write CONNECTOR_PLAN.",
        ),
        (
            "CONNECTOR_HASHTAGS=kafka\nCONNECTOR_PLAN\n",
            "names 'CONNECTOR_PLAN' in line 4 and gives it no value: write CONNECTOR_PLAN=value.",
        ),
    ],
)
def test_what_has_no_effect_is_said(tmp_path, lines, notice):
    """Of two values one counts, and a name that is none of ours says nothing: neither without a word."""
    found = loaded(tmp_path, REST + lines)

    assert f"{tmp_path}/.env {notice}" in found.notices
    assert ("#kafka",) == values(found.connector)


def test_the_same_twice_is_no_matter(tmp_path):
    """One value twice is one value."""
    assert () == loaded(tmp_path, REST + "CONNECTOR_HASHTAGS=a\nCONNECTOR_HASHTAGS='a'\n").notices


ENCODED = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
}


@pytest.mark.parametrize("encode", ENCODED.values(), ids=ENCODED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_of_another_system(tmp_path, encode, end):
    """What an editor of Windows writes is read, the first variable too."""
    text = f"CONNECTOR_HASHTAGS=straße{end}CONNECTOR_TOPIC=posts{end}CONNECTOR_X_BEARER_TOKEN={TOKEN}{end}"

    assert ("#straße",) == values(loaded(tmp_path, encode(text)).connector)


@pytest.mark.parametrize("encode", ENCODED.values(), ids=ENCODED)
@pytest.mark.parametrize("name", ["rules.toml", "rules.json"])
def test_rules_of_another_system(tmp_path, encode, name):
    """Likewise rules, in both forms."""
    text = '[[rules]]\nvalue = "straße"\n' if name.endswith("toml") else json.dumps([{"value": "straße"}])
    (tmp_path / name).write_bytes(encode(text))

    assert ("straße",) == values(loaded(tmp_path, f"{REST}CONNECTOR_RULES_FILE={name}\n").connector)


def test_no_parser_needs_to_know_the_mark(tmp_path, monkeypatch):
    """The oldest python-dotenv that we allow keeps a byte order mark in the first name."""

    class Reader(parser.Reader):
        def __init__(self, stream):
            super().__init__(stream)
            stream.seek(0)
            self.string = stream.read()

    monkeypatch.setattr(parser, "Reader", Reader)

    assert "posts" == loaded(tmp_path, codecs.BOM_UTF8 + (REST + "CONNECTOR_HASHTAGS=a").encode()).connector.topic


@pytest.mark.parametrize(
    "content", [b"CONNECTOR_TOPIC=a\0b\n", "CONNECTOR_TOPIC=a\n".encode("utf-16-le"), b"\xff\xfeA"]
)
def test_what_is_no_text(tmp_path, content):
    """Bytes that are no text are a problem of the file, and nothing of it is used."""
    environ = {}
    load_dotenv_into(environ, written(tmp_path, content))

    assert {} == environ
    assert f"{tmp_path}/.env is not UTF-8 text: write it again." in problems_of(tmp_path, content)


@pytest.mark.slow
def test_a_worker_says_it(tmp_path):
    """From the file to the exit code."""
    written(tmp_path, REST + "CONNECTOR_HASHTAGS=python, #kafka, #news\n")
    done = subprocess.run(
        [sys.executable, "-m", "connector", "worker"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 78 == done.returncode
    assert "CONNECTOR_HASHTAGS is cut: '#kafka, #news' in line 3" in done.stderr
