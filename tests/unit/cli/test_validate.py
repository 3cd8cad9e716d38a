"""The command `validate` on the environments and files of people."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from connector.cli.validate import command_of
from connector.config.load import examine
from connector.transforms.catalogue import CATALOGUE
from tests import ROOT

GOOD = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python", "CONNECTOR_X_BEARER_TOKEN": "AAAAsynthetic"}
OWLS = {
    "name": "owls",
    "connector.class": "PostStreamSourceConnector",
    "topic": "owls",
    "hashtags": "owl",
    "x.bearer.token": "${env:CONNECTOR_OWLS_TOKEN}",
}
SECRET = "AAAAverysecret"  # noqa: S105  # opens nothing


@pytest.fixture
def owls(tmp_path):
    """Write a file of the connector owls, with these changes; None removes an option."""

    def write(name="owls.json", **changes):
        options = {**OWLS, **{option.replace("_", "."): value for option, value in changes.items()}}
        path = tmp_path / name
        path.write_text(json.dumps({option: value for option, value in options.items() if value is not None}))
        return path

    return write


def validate(folder, environ, *arguments, code=0):
    """What the command prints; its exit code is checked."""
    done = CliRunner().invoke(command_of(examine(environ, folder, CATALOGUE)), [str(each) for each in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert code == done.exit_code, done.output
    return done.output


def test_all_is_valid(tmp_path, owls):
    """The environment and each file, with the connector that it holds."""
    said = validate(tmp_path, {**GOOD, "CONNECTOR_OWLS_TOKEN": SECRET}, owls())

    assert "environment (connector posts): valid" in said
    assert f"{tmp_path}/owls.json (connector owls): valid" in said
    assert "0 errors, 0 warnings." in said  # a file names the variable of its secret
    assert "CONNECTOR_OWLS_TOKEN is not known" in validate(tmp_path, {**GOOD, "CONNECTOR_OWLS_TOKEN": SECRET})
    assert SECRET not in said


def test_all_problems_at_once(tmp_path, owls):
    """Those of settings, of the declared connector, and of each file, whatever is wrong before."""
    bad, worse = owls(hashtags=None), tmp_path / "worse.toml"
    worse.write_text("name = ")
    environ = {**GOOD, "CONNECTOR_WEB_PORT": "no", "CONNECTOR_PLAN": "rich", "CONNECTOR_OWLS_TOKEN": SECRET}
    said = validate(tmp_path, environ, bad, worse, tmp_path / "none.json", code=78)

    for sentence in (
        "CONNECTOR_WEB_PORT must be a whole number",
        "CONNECTOR_PLAN cannot be 'rich'",
        "hashtags is required with stream=filtered",
        "worse.toml is no toml",
        "none.json does not exist",
    ):
        assert sentence in said
    assert "5 errors" in said


def test_what_rest_refuses_is_wrong(tmp_path, owls):
    """A secret that would lie readable in Kafka, a variable that is not set here, a file that others do not have."""
    rules = tmp_path / "rules.json"
    rules.write_text("[]")
    literal = validate(tmp_path, {}, owls(x_bearer_token=SECRET), code=78)
    unset = validate(tmp_path, {}, owls(), code=78)
    of_file = validate(tmp_path, {"CONNECTOR_OWLS_TOKEN": SECRET}, owls(rules_file=str(rules)), code=78)

    assert "x.bearer.token would lie readable in Kafka" in literal
    assert SECRET not in literal
    assert "x.bearer.token refers to CONNECTOR_OWLS_TOKEN, which is not set" in unset
    assert "rules.file works only in a worker's environment" in of_file


def test_an_unknown_option_is_a_warning(tmp_path, owls):
    """With the name that is near; a warning is not wrong."""
    said = validate(tmp_path, {"CONNECTOR_OWLS_TOKEN": SECRET}, owls(topik="owls"))

    assert "topik is not known and has no effect: did you mean topic?" in said


def test_a_folder(tmp_path, owls):
    """All its files of the known kinds; a connector in two of them is a problem, and so is a folder without any."""
    folder = tmp_path / "some"
    folder.mkdir()
    empty = tmp_path / "empty"
    empty.mkdir()
    owls("some/a.json")
    owls("some/b.json")
    (folder / "notes.txt").write_text("no connector")
    said = validate(tmp_path, {"CONNECTOR_OWLS_TOKEN": SECRET}, folder, empty, code=78)

    assert f"{folder}/b.json holds the connector 'owls', and so does {folder}/a.json: keep one of them." in said
    assert f"{empty} holds no file that ends in .json, .properties, .toml." in said
    assert "notes.txt" not in said


def test_what_the_environment_declares_is_in_no_file(tmp_path, owls):
    """A worker would answer 409."""
    said = validate(tmp_path, {**GOOD, "CONNECTOR_NAME": "owls", "CONNECTOR_OWLS_TOKEN": SECRET}, owls(), code=78)

    assert "and so does the environment, which declares it" in said


def test_json(tmp_path, owls):
    """For programs: a list of places, each with its errors and warnings."""
    found = json.loads(validate(tmp_path, {"CONNECTOR_WEB_PORT": "no"}, owls(), "--json", code=78))

    assert not found["valid"]
    environment, file = found["places"]
    assert ("environment", None, ["CONNECTOR_WEB_PORT must be a whole number, not 'no'."]) == (
        environment["place"],
        environment["connector"],
        environment["errors"],
    )
    assert (str(tmp_path / "owls.json"), "owls", 1) == (file["place"], file["connector"], len(file["errors"]))


@pytest.mark.slow
@pytest.mark.parametrize("how", [["faust", "-A", "connector"], ["connector"]])
def test_wrong_settings_do_not_end_it(tmp_path, how):
    """As for a worker the exit code is 78; `--json` before the command counts, too, and colours are for terminals."""
    done = subprocess.run(  # noqa: S603  # ours
        [sys.executable, "-m", *how, "--json", "validate"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"CONNECTOR_WEB_PORT": "no", "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )

    assert 78 == done.returncode
    assert not json.loads(done.stdout)["valid"]
    assert "" == done.stderr
