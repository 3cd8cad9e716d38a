"""Two versions of the connector beside each other: what is pure of it, and what git says."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import revisions
from benchmarks.ratios import Number, Taken, ratio, sentence, table
from benchmarks.revisions import BEFORE, NEW, Unavailable, Version, packages_that_differ
from tests.absent import skip

BENCHMARKS = Path(revisions.__file__).parent
RATE = Number("posts/s", ",.0f", more_is_better=True)
CPU = Number("CPU", ".2f")


def taken(*values):
    """What a run has noted: way, number, values of the new version by round, and those of the one before."""
    all_ = Taken()
    for way, number, *sides in values:
        for side, of_rounds in zip((NEW, BEFORE), sides, strict=True):
            for round_, value in enumerate(of_rounds):
                if value is not None:
                    all_.add(way, number, side, round_, value)
    return all_.ratios()


# -- ratios


def test_a_ratio_is_of_the_same_round():
    """A disturbance that met both sides of a round leaves its ratio as it is."""
    of = ratio({0: 110.0, 1: 55.0, 2: 121.0}, {0: 100.0, 1: 50.0, 2: 110.0})

    assert [pytest.approx(1.1)] * 3 == of.each
    assert (110.0, 100.0) == (of.new, of.before)


def test_a_round_that_failed_has_no_ratio():
    """The others count, and medians are of all that was measured."""
    of = ratio({0: 100.0, 2: 300.0, 3: 90.0}, {0: 50.0, 1: 40.0, 2: 100.0})

    assert [2.0, 3.0] == of.each
    assert 2.5 == of.median
    assert (100.0, 50.0) == (of.new, of.before)


@pytest.mark.parametrize(("new", "before"), [({}, {0: 1.0}), ({0: 1.0}, {1: 1.0}), ({0: 1.0}, {0: 0.0})])
def test_without_a_pair_there_is_no_ratio(new, before):
    assert ratio(new, before) is None


# -- what is told


def test_the_table():
    """Way by way, whatever was measured first; a number that one side lacks has dashes."""
    ratios = taken(
        ("exactly-once", RATE, [1000, 3000, 2000], [1000, 2000, 2500]),
        ("at-least-once", RATE, [10, 10, 10], [None, None, None]),
        ("exactly-once", CPU, [7, 7.5, 8], [7, 7, 7]),
    )

    assert table(ratios).splitlines() == [
        "|                        |   new | before | new / before |       range |",
        "|------------------------|------:|-------:|-------------:|------------:|",
        "| exactly-once: posts/s  | 2,000 |  2,000 |        1.000 | 0.800-1.500 |",
        "| exactly-once: CPU      |  7.50 |   7.00 |        1.071 | 1.000-1.143 |",
        "| at-least-once: posts/s |     - |      - |            - |           - |",
    ]


@pytest.mark.parametrize(
    ("number", "new", "said"),
    [
        (RATE, [105, 104, 110], "Better by more than 3 %: a: posts/s (+5.0 %). The others differ by less."),
        (RATE, [95, 96, 90], "Worse by more than 3 %: a: posts/s (-5.0 %). The others differ by less."),
        (CPU, [95, 96, 90], "Better by more than 3 %: a: CPU (-5.0 %). The others differ by less."),
        (CPU, [99, 105, 110], "Worse by more than 3 %: a: CPU (+5.0 %, not in each round). The others differ by less."),
        (CPU, [97, 102, 104], "No number differs by more than 3 %."),
        (CPU, [None, None, None], "Nothing could be compared."),
    ],
)
def test_the_sentence(number, new, said):
    """More posts are better, and more of anything else is worse."""
    assert said == sentence(taken(("a", number, new, [100, 100, 100])))


def test_both_ways_are_told_apart():
    ratios = taken(("a", RATE, [110], [100]), ("b", RATE, [90], [100]), ("b", CPU, [80], [100]))

    assert (
        "Worse by more than 3 %: b: posts/s (-10.0 %)."
        " Better by more than 3 %: a: posts/s (+10.0 %); b: CPU (-20.0 %). The others differ by less."
    ) == sentence(ratios)


def test_packages_that_differ():
    one = Version(side=NEW, revision="b", venv=Path(), packages={"aiokafka": "0.14.1", "orjson": "3.1", "rich": "14"})
    other = Version(side=BEFORE, revision="a", venv=Path(), packages={"aiokafka": "0.14.0", "rich": "14"})

    assert "aiokafka 0.14.1 and 0.14.0, orjson 3.1 and none" == packages_that_differ(one, other)
    assert not packages_that_differ(one, one)


# -- git


@pytest.fixture
def clone(tmp_path):
    """A repository of one commit; `git(...)` in it."""
    if shutil.which("git") is None:
        skip("no `git` on the PATH")
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")

    def git(*arguments):
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603

    git("init", "--quiet")
    (tmp_path / "one.py").write_text("1")
    git("add", "one.py")
    git("commit", "--quiet", "--message", "one")
    return git


def test_a_clean_tree_is_its_commit(clone, tmp_path):
    new, before = revisions.revisions("HEAD", tmp_path)

    assert new == before
    assert clone("rev-parse", "HEAD") == new.tree
    assert clone("rev-parse", "--short", "HEAD") == new.said


def test_what_is_not_committed_is_in_the_tree(clone, tmp_path):
    """Changed, new and removed files are; the user's index and branch stay as they are."""
    (tmp_path / "gone.py").write_text("")
    clone("add", "gone.py")
    clone("commit", "--quiet", "--message", "gone")
    (tmp_path / "one.py").write_text("2")
    (tmp_path / "two.py").write_text("")
    (tmp_path / "gone.py").unlink()
    status = clone("status", "--porcelain")
    new, before = revisions.revisions("HEAD~1", tmp_path)

    assert ["one.py", "two.py"] == clone("ls-tree", "--name-only", new.tree).splitlines()
    assert "2" == clone("show", f"{new.tree}:one.py")
    assert f"{clone('rev-parse', '--short', 'HEAD')} with changes" == new.said
    assert clone("rev-parse", "HEAD~1") == before.tree
    assert status == clone("status", "--porcelain")


@pytest.mark.parametrize("revision", ["nope", "0123456", "--all", "HEAD:one.py"])
def test_an_unknown_revision(clone, tmp_path, revision):
    with pytest.raises(Unavailable) as caught:
        revisions.revisions(revision, tmp_path)
    assert f"git knows no revision {revision!r} here." == str(caught.value)


def test_no_repository(tmp_path):
    with pytest.raises(Unavailable, match="is not the root of a git repository, so there is no earlier revision"):
        revisions.revisions("HEAD", tmp_path)


def test_a_folder_of_another_repository(clone, tmp_path):
    """An unpacked archive that lies in somebody's clone is no revision of that."""
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(Unavailable, match="inside is not the root of a git repository"):
        revisions.revisions("HEAD", inside)


def test_no_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="without `git` on the PATH"):
        revisions.revisions("HEAD", tmp_path)


# -- modules may move


@pytest.mark.parametrize("place", ["metrics.py", "seen/numbers.py", "seen/__init__.py"])
def test_bounds_are_found_where_they_are(tmp_path, place):
    """The worker that measures latency is started in versions whose modules have other names."""
    package = tmp_path / "connector"
    (package / "seen").mkdir(parents=True)
    for name in ("__init__.py", "seen/__init__.py"):
        (package / name).touch()
    (package / place).write_text("DELIVERY_BUCKETS_SECS: tuple = (1, 2)\n")
    module = f"connector.{place.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
    (package / "__main__.py").write_text(
        f"import {module} as m, sys; print(len(m.DELIVERY_BUCKETS_SECS), sys.argv[1:])"
    )

    assert "2530 ['worker']" == _fine_worker(tmp_path).stdout.strip()


def test_bounds_that_are_gone_are_said(tmp_path):
    (tmp_path / "connector").mkdir()
    (tmp_path / "connector" / "__init__.py").touch()

    assert "connector has no DELIVERY_BUCKETS_SECS any more" == _fine_worker(tmp_path).stderr.strip()


def _fine_worker(folder):
    command = [sys.executable, "-P", str(BENCHMARKS / "fine_worker.py"), "worker"]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)  # noqa: S603


def test_the_process_that_measures_loads_no_connector():
    """
    Those that do are processes of their own: simulators, the costs of a start, of the history and of formats, a worker
    without a history, and the past of a worker.
    """
    loading = set()
    for path in BENCHMARKS.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if any(name.partition(".")[0] == "connector" for name in names):
                loading.add(path.name)
    costs = {"formats_alone.py", "history.py", "start.py"}
    assert {*costs, "paced_feed.py", "past.py", "shared_feed.py", "without_history.py"} == loading
