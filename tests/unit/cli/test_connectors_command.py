"""The command `connectors` against Connect's routes over connectors in memory."""

import asyncio
import json
import socket
import threading

import click
import pytest
import requests
from click.testing import CliRunner

from connector.cli.connectors import command
from connector.cli.connectors.client import Client, Failed, Login, Unreachable
from connector.cli.connectors.command import COMMANDS, group_of
from connector.cli.connectors.setup import EX_FAILED, EX_INTERRUPTED, EX_OK, EX_UNREACHABLE, EX_USAGE, login_of, url_of
from connector.cluster import sentences
from connector.cluster.refused import Conflicting, Unavailable
from connector.config.secret import Secret
from connector.config.worker import WebUser, WorkerSettings
from connector.web.connect.ports import TargetState
from tests.brokers import free_port
from tests.connect.file_source import INPUT
from tests.connect.in_memory import InMemoryConnectors
from tests.connect.serving import serving

BIRDS = {"name": "birds", "connector.class": "FileStreamSource", "file": INPUT, "topic": "posts"}


class Group:
    """A group with one connector, and the command on it."""

    def __init__(self, connectors, url):
        self.connectors, self.url = connectors, url
        self.settings = WorkerSettings(rest_url=url)

    def __call__(self, *args, code=EX_OK, **kwargs):
        """What the command prints; its exit code is checked."""
        done = CliRunner().invoke(group_of(self.settings), [str(arg) for arg in args], **kwargs)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert code == done.exit_code, done.output
        return done.output

    def json(self, *args, **kwargs):
        return next(
            json.loads(line) for line in self(*args, "--json", **kwargs).splitlines() if line.startswith(("[", "{"))
        )

    def config(self, name="birds"):
        return self.connectors.connectors[name].config

    def state(self, name="birds"):
        return self.connectors.connectors[name].state


@pytest.fixture(scope="module")
def served():
    connectors = InMemoryConnectors()
    with serving(connectors) as url:
        yield Group(connectors, url)


@pytest.fixture
def group(served):
    served.connectors.connectors.clear()
    served.connectors.committed.clear()
    asyncio.run(served.connectors.create("birds", dict(BIRDS)))
    return served


@pytest.fixture
def file(tmp_path):
    def write(config, name="birds.json"):
        path = tmp_path / name
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return path

    return write


# -- reading


def test_list(group):
    """Each connector with its state, its tasks and its topic."""
    assert ["connector", "state", "tasks", "topic", "birds", "RUNNING", "1", "RUNNING", "posts"] == group(
        "list"
    ).split()
    assert "RUNNING" == group.json("list")["birds"]["status"]["connector"]["state"]
    group.connectors.connectors.clear()
    assert "There is no connector.\n" == group("list")


def test_show(group):
    """State, tasks and configuration of one; an unknown one is told in the worker's words."""
    text = group("show", "birds")

    assert "birds  RUNNING" in text
    assert "task 0  RUNNING on connect:8083" in text
    assert f"file             {INPUT}" in text
    assert {"info", "status"} == group.json("show", "birds").keys()
    assert "Connector owls not found\n" == group("show", "owls", code=EX_FAILED)


def test_no_colours_without_a_terminal(group):
    """What is written into a file or a pipe has no escapes."""
    assert "\x1b" not in group("list") + group("show", "birds")


def test_validate(group, file):
    """Errors end with 1, warnings do not; both are printed, and nothing is created."""
    bad = {**BIRDS, "tasks.max": "0", "colour": "red"}

    assert "error    Invalid value 0 for configuration tasks.max: Value must be at least 1" in group(
        "validate", file(bad), code=EX_FAILED
    )
    text = group("validate", file({**BIRDS, "name": "owls", "colour": "red"}))
    assert "warning  colour is not known and has no effect." in text
    assert "The configuration is valid." in text
    assert 0 == group.json("validate", file(BIRDS))["error_count"]
    assert ["birds"] == group.connectors.names()
    assert "has no connector.class" in group("validate", file({"name": "owls"}), code=EX_USAGE)


# -- changing


def test_create(group, file):
    """A connector from a file, perhaps in another state; a name that is taken is refused."""
    owls = {**BIRDS, "name": "owls"}

    assert "owls is created.\n" == group("create", file(owls), "--state", "paused")
    assert TargetState.PAUSED == group.state("owls")
    assert "Connector owls already exists\n" == group("create", file(owls), code=EX_FAILED)
    assert "owl2" == group.json("create", file({"name": "owl2", "config": {**BIRDS, "name": "owl2"}}))["name"]


def test_update_by_a_file(group, file):
    """The configuration is replaced; there is no update of what is not there."""
    assert "birds is updated.\n" == group("update", file({**BIRDS, "topic": "other"}))
    assert "other" == group.config()["topic"]
    assert "There is no connector owls: create makes one.\n" == group(
        "update", file({**BIRDS, "name": "owls"}), code=EX_FAILED
    )


def test_update_of_options(group):
    """Single options are set and removed."""
    group("update", "birds", "--set", "topic=a=b", "--set", "tasks.max=1", "--remove", "file")

    assert ("a=b", "1") == (group.config()["topic"], group.config()["tasks.max"])
    assert "file" not in group.config()
    assert "is no OPTION=VALUE" in group("update", "birds", "--set", "topic", code=EX_USAGE)


def test_states(group):
    """Pause, resume and stop, of several at once."""
    asyncio.run(group.connectors.create("owls", {**BIRDS, "name": "owls"}))

    assert "birds is paused.\nowls is paused.\n" == group("pause", "birds", "owls")
    assert TargetState.PAUSED == group.state("owls")
    group("resume", "birds")
    assert TargetState.RUNNING == group.state()
    assert {"birds": "stop"} == group.json("stop", "birds")
    assert TargetState.STOPPED == group.state()
    assert "Unknown connector wrens\n" == group("pause", "wrens", code=EX_FAILED)


def test_restart(group):
    """A connector with its tasks, or one task."""
    assert "birds is being restarted.\n" == group("restart", "birds")
    assert "RESTARTING" == group.json("restart", "birds")["tasks"][0]["state"]
    assert "RUNNING" == group.json("restart", "birds", "--only-failed")["tasks"][0]["state"]
    assert "Task 0 of birds is being restarted.\n" == group("restart", "birds", "--task", "0")
    assert "Unknown task: birds-7\n" == group("restart", "birds", "--task", "7", code=EX_FAILED)


def test_delete(group):
    """Without a terminal only with --yes."""
    assert "--yes says so" in group("delete", "birds", code=EX_USAGE)
    assert ["birds"] == group.connectors.names()
    assert "birds is deleted.\n" == group("delete", "birds", "--yes")
    assert [] == group.connectors.names()


def test_offsets(group, file):
    """Shown; changed and removed of a stopped connector alone."""
    partition = {"filename": INPUT}

    assert f"filename={INPUT}\n  position: 12\n" == group("offsets", "birds")
    wanted = file({"offsets": [{"partition": partition, "offset": {"position": 5}}]}, "offsets.json")
    assert "must be in the STOPPED state" in group("offsets", "birds", "--set", wanted, code=EX_FAILED)
    group("stop", "birds")
    assert "altered successfully" in group("offsets", "birds", "--set", wanted)
    assert [{"partition": partition, "offset": {"position": 5}}] == group.json("offsets", "birds")["offsets"]
    assert "--yes says so" in group("offsets", "birds", "--reset", code=EX_USAGE)
    assert "reset successfully" in group("offsets", "birds", "--reset", "--yes")
    assert "No offset is committed.\n" == group("offsets", "birds")
    assert "use one of them" in group("offsets", "birds", "--reset", "--set", wanted, code=EX_USAGE)
    assert "is no JSON" in group("offsets", "birds", "--set", file("{", "offsets.json"), code=EX_USAGE)


# -- apply


def test_apply(group, file, tmp_path):
    """The group becomes what the folder says, the diff first; a second time nothing changes."""
    file({**BIRDS, "topic": "other", "tasks.max": 1})
    file("name=owls\nconnector.class=FileStreamSource\nfile=/owls\ntopic=owls\n", "owls.properties")
    of_wrens = 'connector.class = "FileStreamSource"\ntopic = "wrens"\n'
    file(f'name = "wrens"\ninitial_state = "PAUSED"\n[config]\n{of_wrens}', "w.toml")
    file("not a connector", "README.md")

    dry = group("apply", tmp_path, "--dry-run")
    assert "~ birds is updated\n    + tasks.max = 1\n    ~ topic = other  (was posts)\n+ owls is created\n" in dry
    assert "Nothing was changed: 2 created, 1 updated, 0 unchanged, 0 deleted by apply." in dry
    assert ["birds"] == group.connectors.names()

    assert "2 created, 1 updated, 0 unchanged, 0 deleted.\n" in group("apply", tmp_path)
    assert ["birds", "owls", "wrens"] == group.connectors.names()
    assert ("other", TargetState.PAUSED) == (group.config()["topic"], group.state("wrens"))
    assert "0 created, 0 updated, 3 unchanged, 0 deleted.\n" in group("apply", tmp_path)
    assert ["keep"] * 3 == [each["change"] for each in group.json("apply", tmp_path)["connectors"]]


def test_apply_prunes_only_when_asked(group, file, tmp_path):
    """Connectors that no file has stay, unless --prune is given."""
    file({**BIRDS, "name": "owls"}, "owls.json")

    group("apply", tmp_path)
    assert ["birds", "owls"] == group.connectors.names()
    assert "- birds is deleted" in group("apply", tmp_path, "--prune", "--dry-run")
    assert ["birds", "owls"] == group.connectors.names()
    group("apply", tmp_path, "--prune")
    assert ["owls"] == group.connectors.names()


def test_warnings_of_what_changes(group, file, tmp_path):
    """A warning is said when a connector changes, and not each time that its file is applied."""
    file({**BIRDS, "colour": "red"})

    assert f"{tmp_path}/birds.json: colour is not known" in group("apply", tmp_path, "--dry-run")
    assert "colour is not known" in group("apply", tmp_path)
    assert "colour is not known" not in group("apply", tmp_path)


def test_prune_leaves_declared_connectors(group, file, tmp_path, monkeypatch):
    """What the environment of a worker declares is told and left alone; that is no failure."""
    file({**BIRDS, "name": "owls"}, "owls.json")

    async def declared(name):
        raise Conflicting(
            f"The connector {name} is declared by the environment of the worker w:1 (CONNECTOR_ variables)"
        )

    monkeypatch.setattr(group.connectors, "delete", declared)
    assert "1 created, 0 updated, 0 unchanged, 0 deleted, 1 left alone." in group("apply", tmp_path, "--prune")
    assert ["birds"] == group.json("apply", tmp_path, "--prune")["left_alone"]


def test_apply_checks_all_files_first(group, file, tmp_path):
    """One wrong file, and nothing is changed; all that is wrong is said."""
    file({**BIRDS, "name": "owls"}, "a.json")
    file({**BIRDS, "name": "wrens", "tasks.max": "0"}, "b.json")
    text = group("apply", tmp_path, code=EX_FAILED)

    assert f"{tmp_path}/b.json: Invalid value 0 for configuration tasks.max: Value must be at least 1" in text
    assert "Nothing was changed." in text
    assert ["birds"] == group.connectors.names()
    file("[", "c.json")
    file({**BIRDS, "name": "owls"}, "d.json")
    text = group("apply", tmp_path, code=EX_USAGE)
    assert f"{tmp_path}/c.json is no json: " in text
    assert f"{tmp_path}/d.json and {tmp_path}/a.json both hold the connector 'owls': keep one of them." in text


def test_apply_goes_on_after_one_that_is_refused(group, file, tmp_path, monkeypatch):
    """What the group refuses is told, the others are carried out, and the command ends with 1."""
    file({**BIRDS, "topic": "other"})
    file({**BIRDS, "name": "owls"}, "owls.json")

    async def refused(name, config):
        raise sentences.exists(name)

    monkeypatch.setattr(group.connectors, "put_config", refused)
    text = group("apply", tmp_path, code=EX_FAILED)

    assert "birds: Connector birds already exists" in text
    assert "0 created, 0 updated, 0 unchanged, 0 deleted, 2 failed." in text


# -- what goes wrong


def test_a_moment_later(group, monkeypatch):
    """While another change is under way the request is sent again, for a bounded time."""
    refusals = [sentences.stale(), Unavailable("Kafka does not answer")]
    set_state = group.connectors.set_state

    async def later(name, state):
        if refusals:
            raise refusals.pop()
        await set_state(name, state)

    monkeypatch.setattr(group.connectors, "set_state", later)
    assert "birds is paused.\n" == group("pause", "birds")
    refusals += [sentences.stale()] * 1000
    assert "Cannot complete request momentarily" in group("pause", "birds", "--wait", "0.3", code=EX_FAILED)
    assert 990 < len(refusals)


@pytest.mark.parametrize(
    ("command", "created", "code", "said"),
    [
        ("create", True, EX_FAILED, "Connector birds already exists: an earlier try of this command may have created"),
        ("delete", False, EX_OK, "birds is deleted."),
    ],
)
def test_an_earlier_try_has_done_it(group, file, monkeypatch, command, created, code, said):
    """The answer to the first try was lost; the next try finds the work done."""
    method = getattr(group.connectors, command)
    lost = [Unavailable("Kafka does not answer")]

    async def carried_out(name, *args, **kwargs):
        done = await method(name, *args, **kwargs)
        if lost:
            raise lost.pop()
        return done

    if created:
        group.connectors.connectors.clear()
    monkeypatch.setattr(group.connectors, command, carried_out)
    args = [file(BIRDS)] if created else ["birds", "--yes"]

    assert said in group(command, *args, code=code)
    assert created == ("birds" in group.connectors.connectors)


@pytest.mark.parametrize("ended", [click.Abort, KeyboardInterrupt])
def test_ctrl_c_at_a_question(group, monkeypatch, ended):
    """It changes nothing, and ends like every command that is cut short."""

    def asked(question, *, yes):
        raise ended

    monkeypatch.setattr(command, "confirm", asked)

    assert "Cut short." in group("delete", "birds", code=EX_INTERRUPTED)
    assert "birds" in group.connectors.connectors


def test_waits_grow_and_end():
    """Pauses double up to a bound, and no try begins after the time to wait."""
    pauses, now = [], [0.0]

    def sleep(secs):
        pauses.append(secs)
        now[0] += secs

    client = Client("http://127.0.0.1:1", None, wait_secs=30, sleep=sleep, clock=lambda: now[0])
    client._ask = lambda *_: (_ for _ in ()).throw(Failed(503, "Kafka does not answer"))
    with pytest.raises(Failed):
        client.send("PUT", "connectors", "birds", "pause")

    assert [0.25, 0.5, 1, 2, 4, 5, 5, 5, 5] == pauses


def test_nobody_answers(group):
    """No worker at the URL is exit code 3, in one sentence."""
    port = free_port()

    assert f"No worker answers at http://127.0.0.1:{port}: Connection refused.\n" == group(
        "--url", f"http://127.0.0.1:{port}/", "list", code=EX_UNREACHABLE
    )
    for url in ("localhost:8083", "http://", "http://wren:sesame@localhost:8083"):
        text = group("list", "--url", url, code=EX_USAGE)
        assert "--url must be a URL without user, query and fragment, such as http://127.0.0.1:8083." in text
        assert "sesame" not in text


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "is no worker: it sent no JSON object."),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "is no worker: it sent no JSON object."),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "HTTP 302 Found"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", "HTTP 502 Bad Gateway"),
        (b'HTTP/1.1 500 X\r\nContent-Length: 22\r\n\r\n{"message": "no luck"}', "no luck"),
    ],
)
def test_what_is_no_worker(answer, sentence):
    """What a proxy or another server answers is told in a sentence; no redirect is followed."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        text = Group(None, f"http://127.0.0.1:{server.getsockname()[1]}")("list", "--wait", "0", code=EX_FAILED)
        thread.join(10)

    assert sentence in text
    assert 1 == text.count("\n")


def test_login():
    """The login of the environment is used; without one the command says what to set, and shows no password."""
    with serving(InMemoryConnectors(), {"wren": "sesame"}) as url:
        group = Group(None, url)
        assert "set CONNECTOR_REST_USER and CONNECTOR_REST_PASSWORD" in group("list", code=EX_FAILED)
        group.settings = WorkerSettings(rest_url=url, rest_user="wren", rest_password=Secret("sesame"))
        assert "There is no connector.\n" == group("list")
        group.settings = WorkerSettings(rest_url=url, web_users=(WebUser("wren", Secret("sesame")),))
        assert "There is no connector.\n" == group("list")
        group.settings = WorkerSettings(rest_url=url, rest_user="wren", rest_password=Secret("wrong"))
        assert "wrong" not in group("list", code=EX_FAILED)


def test_a_login_over_an_open_line_is_told():
    """A login to another machine without TLS is said."""
    login = Login("wren", Secret("sesame"))

    assert Client("http://birds.example.com", login, wait_secs=0).login_travels_open
    assert not Client("https://birds.example.com", login, wait_secs=0).login_travels_open
    assert not Client("http://127.0.0.1:8083", login, wait_secs=0).login_travels_open
    assert not Client("http://birds.example.com", None, wait_secs=0).login_travels_open


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8083"),
        ({"web_port": 9000}, "http://127.0.0.1:9000"),
        ({"web_bind": "0.0.0.0"}, "http://127.0.0.1:8083"),  # noqa: S104
        ({"web_bind": "::"}, "http://[::1]:8083"),
        ({"web_bind": "10.0.0.7"}, "http://10.0.0.7:8083"),
        ({"rest_url": "https://birds.example.com/x", "web_port": 9000}, "https://birds.example.com/x"),
    ],
)
def test_where_the_worker_is(settings, url):
    """CONNECTOR_REST_URL, or where a worker of these settings listens."""
    assert url == url_of(WorkerSettings(**settings))
    assert login_of(WorkerSettings(), url) is None


@pytest.mark.parametrize(
    ("url", "sent"),
    [("http://127.0.0.1:8083", True), ("http://10.0.0.7:8083", True), ("https://birds.example.com", False)],
)
def test_the_workers_own_login_goes_to_no_other_host(url, sent):
    """CONNECTOR_WEB_USERS of this worker is for this worker; CONNECTOR_REST_USER is for whichever is asked."""
    users = (WebUser("wren", Secret("sesame")),)
    settings = WorkerSettings(web_bind="10.0.0.7", web_users=users)

    assert sent == (login_of(settings, url) is not None)
    own = WorkerSettings(web_users=users, rest_user="robin", rest_password=Secret("word"))
    assert "robin" == login_of(own, url).user


def test_nobody_steers_the_terminal(group, file):
    """Control characters in a configuration or an answer are shown as escapes."""
    group.config()["colour"] = "\x1b]0;owned\x07 \u202ered"

    assert r"\x1b]0;owned\x07 \u202ered" in group("show", "birds")
    assert "\x1b" not in group("show", "\x1b[31mbirds", code=EX_FAILED)


def test_help_names_what_there_is(group):
    """Each subcommand, the variables and the exit codes."""
    text = " ".join(group("--help").split())

    assert [] == [command.name for command in COMMANDS if f" {command.name} " not in text]
    for word in ("CONNECTOR_REST_URL", "CONNECTOR_REST_USER", "CONNECTOR_REST_PASSWORD_FILE", "CONNECTOR_WEB_PORT"):
        assert word in text
    assert "Exit codes: 0 done, 1 refused or failed, 2 wrong arguments, 3 no worker can be reached." in text


def test_no_login_out_of_a_netrc_file(tmp_path, monkeypatch):
    """A login is what the settings say, and no other that this machine knows for the host."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine workers.example login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    sent = []

    def send(_session, request, **_):
        sent.append(request.headers.get("Authorization"))
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "send", send)
    for login in (None, Login("us", Secret("ours"))):
        with pytest.raises(Unreachable):
            Client("https://workers.example", login, wait_secs=0).get("connectors")

    assert [None, "Basic dXM6b3Vycw=="] == sent


def test_a_name_that_is_no_text(group):
    """Half of a character in a name is no connector's, and ends with the worker's sentence."""
    assert "not found" in group("show", "\udcff", code=EX_FAILED)
