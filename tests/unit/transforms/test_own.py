"""Transforms of other packages: found by their entry point; whatever is wrong with a package is one sentence."""

import sys
from pathlib import Path

import pytest

from connector.config.chain import PREDICATES, TRANSFORMS
from connector.config.checks import check
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.record import Record
from tests import ROOT

BASE = {"topic": "posts", "hashtags": "python", "x.bearer.token": "AAAAsynthetic%3Dtoken"}
EXAMPLE = ROOT / "docs" / "transforms" / "example"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay a package with the entry points *points* and the module *source* where Python finds it."""

    def laid(points, source, name="their-transforms", module="their_transforms"):
        folder = tmp_path / name
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {value}" for point, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[murmuration.transforms]", *lines, ""]))
        (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, module, raising=False)

    return laid


@pytest.fixture
def words(install):
    install(
        {"words": "murmuration_words:Words"}, (EXAMPLE / "murmuration_words.py").read_text(), module="murmuration_words"
    )


def checked(**texts):
    texts = {f"transforms.own.{name}": text for name, text in texts.items()}
    return check(
        BASE | {"transforms": "own"} | texts, environ={}, directory=Path("/"), group_id="c", catalogue=CATALOGUE
    )


def problems_of(**texts):
    return [problem.sentence for problem in checked(**texts).problems]


def record(text):
    return Record(topic="posts", key="1", value={"data": {"text": text}}, timestamp_ms=0, post_id=1)


@pytest.mark.usefixtures("words")
def test_the_example():
    """It is named by its entry point, takes its options, changes records and drops some."""
    result = checked(type="words", least="3")
    chain = Chain(result.config.chain)
    after = chain.apply(record("one two three"))

    assert ((), ()) == (result.problems, result.notices)
    assert ({"text": "one two three", "words": 3}, (("words", b"3"),)) == (after.value["data"], after.headers)
    assert chain.apply(record("one two")) is None
    assert not chain.keeps_value


@pytest.mark.usefixtures("words")
def test_its_options():
    """A wrong one is the sentence of the transform; an unknown one gets the nearest."""
    assert [
        "transforms.own.type is words, which refuses its options: least must be a whole number, not 'many'."
    ] == problems_of(type="words", least="many")
    assert ("transforms.own.leest is not known and has no effect: did you mean transforms.own.least?",) == checked(
        type="words", leest="3"
    ).notices


@pytest.mark.usefixtures("words")
def test_it_is_among_the_choices():
    """Where Connect's routes list the classes."""
    assert "words" in CATALOGUE.names(TRANSFORMS)
    assert "words" not in CATALOGUE.names(PREDICATES)
    assert [
        "transforms.own.type cannot be 'wrds', which is no transform of this worker: did you mean words?"
    ] == problems_of(type="wrds")


GOOD = """
class Good:
    def configure(self, options): pass
    def apply(self, record): return record
"""

BROKEN = [
    ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'."),
    ("raise RuntimeError('no luck')", "RuntimeError: no luck."),
    ("x = (", "SyntaxError: "),
    ("", "AttributeError: module 'their_transforms' has no attribute 'Good'."),
    ("Good = 7", "it is no class with the methods configure and apply."),
    ("class Good:\n    def apply(self, record): return record", "it is no class with the methods configure and apply."),
    (GOOD + "    OPTIONS = ['a']", "its OPTIONS are no mapping of names to sentences."),
    (GOOD + "    OPTIONS = {'a': 1}", "its OPTIONS are no mapping of names to sentences."),
    (GOOD + "    def __init__(self, x): pass", "configure raised TypeError: "),
    (GOOD.replace("pass", "1 / 0"), "configure raised ZeroDivisionError: division by zero."),
]


@pytest.mark.parametrize(("source", "words"), BROKEN)
def test_a_broken_package_is_one_sentence(install, source, words):
    """It names the option, the package, what is wrong with it, and the cure."""
    install({"good": "their_transforms:Good"}, source)
    (sentence,) = problems_of(type="good")

    assert sentence.startswith(
        "transforms.own.type cannot be good, which the package their-transforms offers as their_transforms:Good: "
        + words
    )
    assert sentence.endswith(". Repair or remove it.")


def test_a_broken_package_that_nobody_names_disturbs_nobody(install):
    """It is not even imported."""
    install({"good": "their_transforms:Good"}, "raise RuntimeError('no luck')")

    assert () == checked(type="Filter", predicate="p", negate="false").problems[1:]
    assert "their_transforms" not in sys.modules


def test_two_packages_with_one_name(install):
    """Which one is meant would be a guess."""
    install({"good": "their_transforms:Good"}, GOOD)
    install({"good": "our_transforms:Good"}, GOOD, name="our-transforms", module="our_transforms")
    (sentence,) = problems_of(type="good")

    assert (
        "transforms.own.type cannot be 'good', which several packages offer: remove all but one of the package"
        " our-transforms, the package their-transforms."
    ) == sentence
