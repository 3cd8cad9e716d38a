"""What CI says last, of several runs of pytest."""

import importlib.util
import re
import tomllib

import pytest

from tests import ROOT
from tests.containers import PROGRAMS

CI = ROOT / ".ci"


@pytest.fixture
def closing_line():
    spec = importlib.util.spec_from_file_location("closing_line", CI / "closing_line.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda *lines: module.closing_line("\n".join(lines), 2).strip("= ")


UNIT = "================ 2726 passed in 61.03s (0:01:01) ================"
REST = "==== 3 failed, 88 passed, 1 skipped, 2 errors in 1000.50s (0:16:40) ===="


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([UNIT, UNIT], "5452 passed in 122.06s (0:02:02)"),
        ([UNIT, REST], "3 failed, 2814 passed, 1 skipped, 2 errors in 1061.53s (0:17:41)"),
        ([REST, UNIT], "3 failed, 2814 passed, 1 skipped, 2 errors in 1061.53s (0:17:41)"),
        ([UNIT, "= 80 passed, 2726 deselected in 9.00s ="], "2806 passed, 2726 deselected in 70.03s (0:01:10)"),
        ([UNIT, "INTERNALERROR> the disk is full"], "2726 passed, 1 error in 61.03s (0:01:01)"),
        (["make: *** [test] Error 1"], "2 errors in 0.00s (0:00:00)"),
        ([UNIT, "= no tests ran in 0.10s ="], "2726 passed in 61.13s (0:01:01)"),
        ([UNIT, "a log line of a test: 7 failed in 3.0s of work", UNIT], "5452 passed in 122.06s (0:02:02)"),
    ],
)
def test_both_runs_count(closing_line, lines, said):
    """A failure, an error or a skip of either run is in the last line, and so is a run that never ended."""
    assert said == closing_line("collected 1 item", *lines, "SKIPPED [1] x.py: no java")


def test_each_python_that_is_claimed_is_tried():
    """By `make test`, or by `make test-pythons`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    claimed = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line]
    tried = re.search(r"PYTHONS:-([\d. ]+)", (CI / "pythons").read_text())[1].split()

    assert claimed == tried[: len(claimed)]
    assert project["requires-python"] == f">={claimed[0]}"


def test_ci_installs_each_program_that_tests_ask_for():
    """A test that does not find its program is skipped, and CI lets nothing be skipped."""
    pages = [path.read_text() for path in (ROOT / "tests").rglob("*.py")]
    asked = {name for page in pages for name in re.findall(r'which\("([\w-]+)"\)', page)}
    script = (CI / "run").read_text()
    installed = set(re.findall(r"command -v ([\w-]+)", script))
    (several,) = re.findall(r"for each in ([\w -]+); do command -v \$each", script)
    others = {
        "java": "javac",
        "clang": "cc",
        "gcc": "cc",
        "git": "git",
    }  # comes with it; whoever has a checkout has git

    assert "systemd-analyze" in asked
    assert set() == {others.get(name, name) for name in asked} - installed - {"git"}
    assert set(PROGRAMS) == set(several.split())
