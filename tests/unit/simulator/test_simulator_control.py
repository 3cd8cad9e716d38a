"""Steering from outside: control endpoints and the command line."""

import dataclasses
import json
import signal
import subprocess
import sys

import pytest
import requests
from click.testing import CliRunner
from simulator_clients import STREAM, Client, Socket, eventually, next_post

from connector.simulator import Burst, SimulatorSettings
from connector.simulator.command import HELP, main, options, read

RULE = (("#python", "py"),)


def ndjson(response):
    return [json.loads(line) for line in response.content.splitlines()]


def test_the_state_tells_counts_connections_money_and_rate(sim):
    """One object for a dashboard or a test in another process."""
    client = Client(sim)
    with client.stream() as response:
        sim.emit_post("#python")
        next_post(response)
        eventually(lambda: sim.emissions.counts["written"])
        state = client.control("state")

    assert state["rules"] == 1
    assert state["emissions"] == {"next": 1, "written": 1, "cut": 0, "dropped": 0, "missed": 0}
    assert state["connections"]["live"][0]["posts"] == 1
    assert state["meter"]["reads"] == 1
    assert state["meter"]["spent_usd"] == 0.005
    assert state["rate"] == 0


def test_posts_can_be_made_from_outside(sim):
    """A given text through the rules, generated ones, a recorded shape; nonsense is a 400."""
    client = Client(sim)
    with client.stream(tweet__fields="lang,author_id", expansions="author_id") as response:
        given = client.control("post", {"text": "ein #python", "lang": "de", "author": "lena"})["id"]
        client.control("post", {"text": "of no interest"})
        generated = client.control("emit", {"count": 3})["ids"]
        sample = client.control("post", {"sample": "poll"})["id"]
        posts = [next_post(response) for _ in range(5)]

    assert [post["data"]["id"] for post in posts] == [given, *generated, sample]
    assert posts[0]["data"]["lang"] == "de"
    assert posts[0]["includes"]["users"][0]["username"] == "lena"
    for body in ({}, {"text": 1}, {"text": "a", "mood": "b"}, {"sample": "none"}, {"text": "a", "kind": "odd"}, [1]):
        answer = client.post("/control/post", body)
        assert answer.status_code == 400
        assert answer.json()["error"]


def test_emissions_and_connections_can_be_read_from_a_number_on(sim):
    """`since` asks for what is new; the connection of an emission is in the other log."""
    client = Client(sim)
    with Socket(sim) as stream:
        stream.read_head()
        ids = sim.emit(5)
        eventually(lambda: sim.emissions.counts["written"] == 5)
    everything = ndjson(client.get("/control/emissions"))
    latest = ndjson(client.get("/control/emissions", since=3))
    eventually(lambda: sim.connections[0].end)
    (connection,) = ndjson(client.get("/control/connections"))

    assert [entry["post_id"] for entry in everything] == ids
    assert [entry["n"] for entry in latest] == [3, 4]
    assert {entry["connection"] for entry in everything} == {connection["id"]}
    assert (connection["end"], connection["posts"]) == ("client", 5)
    assert client.get("/control/emissions", since="x").status_code == 400


def test_faults_and_rate_are_steered_over_http(sim):
    """A fault now, the list of them, the way back; the rate while it runs."""
    client = Client(sim)
    listed = client.control("faults")["faults"]
    client.control("faults", {"fault": "E500", "count": 5})
    assert client.get(STREAM).status_code == 500
    assert client.control("state")["faults"]["armed"] == ["E500"]
    assert client.delete("/control/faults").json() == {"cleared": True}
    with client.stream() as response:
        client.control("rate", {"rate": 200})
        assert next_post(response)

    assert {"clean_close", "rst", "stall", "E429a", "invalidate_token", "ghost"} <= set(listed)
    assert client.post("/control/faults", {"fault": "earthquake"}).status_code == 400
    assert client.post("/control/faults", {"fault": "ghost", "seconds": "soon"}).status_code == 400
    assert client.post("/control/rate", {"rate": -1}).status_code == 400
    assert client.get("/control/nothing").status_code == 404


def test_the_log_can_be_a_file(start, tmp_path):
    """One JSON line for each emission, there as soon as it is in the log."""
    path = tmp_path / "emissions.jsonl"
    sim = start(rules=RULE, emissions_log=str(path))
    ids = sim.emit(3)

    assert [json.loads(line)["post_id"] for line in path.read_text().splitlines()] == ids


def test_old_entries_are_let_go_and_numbers_go_on(start):
    """The log is bounded; `since` still means the same."""
    sim = start(rules=RULE, emissions_kept=100)
    sim.emit(300)

    assert len(sim.emissions) <= 125
    assert sim.emissions.next_number == 300
    assert sim.emissions.since(298)[0].n == 298


def test_a_burst_raises_the_rate_for_a_while(start):
    """`bursts`: at, duration, rate."""
    sim = start(rules=RULE, bursts=(Burst(at=0, duration=1.0, rate=400),))
    eventually(lambda: sim.emissions.next_number > 60)
    eventually(lambda: sim.simulator._pacer._current() == 0)

    assert sim.emissions.next_number <= 500


def test_every_setting_has_an_option():
    """`--keepalive-s 5` is `keepalive_s`; texts are taken apart."""
    runner = CliRunner()
    shown = runner.invoke(main, ["--help"]).output
    names = set(SimulatorSettings.__dataclass_fields__)
    for name in names - {"rules", "bursts"}:
        assert f"--{name.replace('_', '-')}" in shown, name
    assert len(options()) == len(names)

    chosen = read(
        {
            "keepalive_s": 5.0,
            "hashtags": "#a, b",
            "languages": "en=60,ja=40",
            "rules": ("#a => tag", "b"),
            "bursts": ("1:2:300",),
            "absent": "usage",
            "rate_limits": "filtered_stream=9",
        }
    )
    assert chosen == SimulatorSettings(
        keepalive_s=5.0,
        hashtags=("a", "b"),
        languages={"en": 60, "ja": 40},
        rules=(("#a", "tag"), ("b", None)),
        bursts=(Burst(at=1, duration=2, rate=300),),
        absent=frozenset({"usage"}),
        rate_limits={"filtered_stream": 9},
    )


def test_secrets_are_not_shown():
    """Neither in the help nor in the representation of the settings."""
    assert "simulated-secret" not in CliRunner().invoke(main, ["--help"]).output
    assert "simulated-secret" not in repr(SimulatorSettings())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rule", "--b"], "positive, non-stopword"),
        (["--bursts", "1"], "No such option"),
        (["--burst", "soon"], "could not convert"),
        (["--fault-file", "x"], "No such option"),
        (["--faults", "/nowhere/faults.json"], "No such file"),
        (["--plan", "gold"], "is not one of"),
    ],
)
def test_a_wrong_option_is_one_sentence(arguments, sentence):
    """Nothing starts, the exit code is not 0, the reason is said."""
    result = CliRunner().invoke(main, arguments)

    assert result.exit_code != 0
    assert sentence in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_starts_says_so_and_stops(number, tmp_path):
    """One line with URL and token; a signal ends it with 0, streams are closed cleanly."""
    faults = tmp_path / "faults.json"
    faults.write_text('[{"at": 0, "fault": "E500", "on": "rules"}]')
    command = [sys.executable, "-m", "connector.simulator", "--port", "0", "--rule", "#python=>py", "--rate", "50"]
    with subprocess.Popen(  # noqa: S603 - our own
        [*command, "--faults", str(faults), "--token", "abc"], stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        url = line.split(" at ")[1].split(",")[0]
        headers = {"Authorization": "Bearer abc"}
        assert requests.get(url + "/2/tweets/search/stream/rules", headers=headers, timeout=30).status_code == 500
        with requests.get(url + STREAM, headers=headers, stream=True, timeout=30) as response:
            lines = response.iter_lines(chunk_size=1)
            assert json.loads(next(lines))["matching_rules"][0]["tag"] == "py"
            process.send_signal(number)
            list(lines)  # raises if the last chunk were missing
        assert process.wait(10) == 0

    assert line.startswith("Simulator of the X API v2 at http://127.0.0.1:")
    assert "bearer token abc" in line


def test_a_taken_port_is_one_sentence(sim):
    """Exit code 1."""
    command = [sys.executable, "-m", "connector.simulator", "--port", str(sim.simulator.port)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - our own

    assert result.returncode == 1
    assert result.stderr == f"The simulator cannot listen on 127.0.0.1:{sim.simulator.port}: the port is taken.\n"


def test_every_option_says_what_it_does():
    """`simulate --help` has a sentence of its own for each setting, and none that sends the reader elsewhere."""
    assert {field.name for field in dataclasses.fields(SimulatorSettings)} == set(HELP)
    assert len(HELP) == len(set(HELP.values()))
