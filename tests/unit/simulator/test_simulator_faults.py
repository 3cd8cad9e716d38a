"""Each fault, as a client sees it."""

import json
import re
import time

import pytest
import requests
from simulator_clients import RULES, STREAM, Client, Socket, chunks, eventually, next_line, next_post, pass_over

from connector.simulator import UnknownFault
from connector.simulator.faults.schedule import parse_schedule

RULE = (("#python", "py"),)


def test_a_clean_close_sends_the_last_chunk(sim):
    """The client sees the end of the body, not an error."""
    with Client(sim).stream() as response:
        sim.emit_post("#python")
        sim.fault("clean_close")
        lines = [line for line in response.lines if line]

    assert len(lines) == 1
    assert sim.connections[0].clean


def test_a_close_without_the_last_chunk_breaks_the_body(sim):
    """requests raises as it did in the recordings; the connection is not clean."""
    with Client(sim).stream() as response:
        sim.emit_post("#python")
        next_post(response)
        sim.fault("no_last_chunk")
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match=r"Response ended prematurely|InvalidChunk"):
            list(response.lines)
    eventually(lambda: sim.connections[0].end == "no_last_chunk")

    assert not sim.connections[0].clean


def test_a_reset_is_a_reset(sim):
    """ECONNRESET, as from a balancer that went away."""
    with Socket(sim) as stream:
        stream.read_head()
        sim.fault("rst")
        with pytest.raises(ConnectionResetError):
            stream.read_to_end()
    assert sim.connections[0].end == "rst"


@pytest.mark.parametrize("fault", ["rst", "no_last_chunk"])
def test_a_connection_can_end_in_the_middle_of_a_line(sim, fault):
    """The next post is cut: half of it arrives, and it is logged as cut."""
    with Socket(sim) as stream:
        stream.read_head()
        sim.fault(fault, mid_line=True)
        post = sim.emit_post("#python " + "word " * 40)
        try:
            data = stream.read_to_end()
        except ConnectionResetError:
            data = stream.data
    eventually(lambda: sim.connections[0].end == fault)

    assert b"\n" not in data.partition(b"\r\n")[2]
    if fault == "no_last_chunk":
        assert data.partition(b"\r\n")[2].startswith(b'{"data"')
    (emission,) = sim.emissions
    assert (emission.post_id, emission.outcome, emission.complete) == (post, "cut", False)
    assert sim.emissions.complete_ids() == []


def test_a_cut_may_wait_for_the_next_connection(sim):
    """Without a connection the fault meets the next one."""
    sim.fault("rst", mid_line=True)
    with Socket(sim) as stream:
        stream.read_head()
        sim.emit_post("#python")
        with pytest.raises(ConnectionResetError):
            stream.read_to_end()


def test_a_broken_chunk_has_no_length(sim):
    """urllib3 raises InvalidChunkLength."""
    with Client(sim).stream() as response:
        sim.fault("broken_chunk")
        with pytest.raises(requests.exceptions.ChunkedEncodingError, match="InvalidChunkLength"):
            list(response.lines)


def test_a_stall_is_silent_and_then_goes_on(start):
    """No byte, no keep-alive; posts of that time come afterwards."""
    sim = start(rules=RULE, keepalive_s=0.1)
    with Socket(sim) as stream:
        stream.read_head()
        sim.fault("stall", seconds=0.7)
        post = sim.emit_post("#python")
        stream.socket.settimeout(0.35)
        with pytest.raises(TimeoutError):
            stream.wait_for(b"\n")
        stream.socket.settimeout(30)
        stream.wait_for(post.encode())
    # a timer wrote it, no call of ours that would have returned later: it is here before it is in the log
    eventually(lambda: len(sim.emissions))

    assert sim.emissions.complete_ids() == [post]


def test_posts_of_a_stall_that_nobody_waits_for_are_cut(start):
    """The client left: they are logged with its connection, not complete."""
    sim = start(rules=RULE)
    with Socket(sim) as stream:
        stream.read_head()
        sim.fault("stall", seconds=30)
        sim.emit_post("#python")
    eventually(lambda: sim.connections[0].end)

    assert [(e.outcome, e.connection) for e in sim.emissions] == [("cut", sim.connections[0].id)]


def test_a_slow_reader_can_be_accused(sim):
    """The close of a full buffer, on demand."""
    with Socket(sim) as stream:
        stream.read_head()
        sim.fault("slow_reader")
        assert not stream.read_to_end().endswith(b"0\r\n\r\n")
    assert sim.connections[0].end == "slow_reader"


@pytest.mark.parametrize(
    ("spelling", "kind", "host"),
    [
        ("upstream", "UpstreamOperationalDisconnect", "api.x.com"),
        ("operational", "OperationalDisconnect", "api.twitter.com"),
        ("ForceDisconnect", "ForceDisconnect", "api.twitter.com"),
    ],
)
def test_an_in_stream_error_precedes_the_close(sim, spelling, kind, host):
    """Both spellings, and any other disconnect type."""
    with Client(sim).stream() as response:
        sim.fault("disconnect", spelling=spelling)
        (line,) = [line for line in response.lines if line]

    (error,) = json.loads(line)["errors"]
    assert error["title"] == "operational-disconnect"
    assert error["disconnect_type"] == kind
    assert error["type"] == f"https://{host}/2/problems/operational-disconnect"


def test_partial_errors_stand_beside_data(sim):
    """A post to keep, with `errors`; the connection lives on."""
    with Client(sim).stream(tweet__fields="referenced_tweets") as response:
        sim.fault("partial_errors")
        line = next_post(response)
        sim.emit_post("#python")
        assert next_post(response)["data"]

    (error,) = line["errors"]
    assert error["title"] == "Not Found Error"
    assert line["data"]["referenced_tweets"] == [{"type": "replied_to", "id": error["resource_id"]}]
    assert line["matching_rules"]
    assert line["data"]["id"] in sim.emissions.complete_ids()


def test_a_withheld_post_says_where(sim):
    """`withheld` beside the data, as in the specification."""
    with Client(sim).stream(tweet__fields="withheld") as response:
        sim.fault("withheld")

        assert next_post(response)["data"]["withheld"]["country_codes"] == ["FR", "DE"]


@pytest.mark.parametrize("variant", ["not_json", "no_id", "unknown_kind", "not_object", "not_utf8", "truncated"])
def test_a_bad_line_is_bad_and_the_stream_goes_on(sim, variant):
    """A line that is no post, then one that is."""
    with Client(sim).stream() as response:
        sim.fault("bad_line", variant=variant)
        sim.emit_post("#python")
        bad, good = next_line(response), next_post(response)

    try:
        content = json.loads(bad)
    except ValueError:
        content = None
    assert not (isinstance(content, dict) and "id" in content.get("data", {}))
    assert (content is None) == (variant in ("not_json", "not_utf8", "truncated"))
    assert good["data"]["text"] == "#python"


@pytest.mark.parametrize("variant", ["no_tag", "no_name", "no_fraction"])
def test_hostile_payloads_lack_what_readers_take_for_granted(sim, variant):
    """One post without a tag, a user's name or the fraction of a time; the next is whole."""
    fields = {"tweet__fields": "created_at", "expansions": "author_id", "user__fields": "created_at"}
    with Client(sim).stream(**fields) as response:
        sim.fault("hostile", variant=variant)
        sim.emit_post("#python")
        sim.emit_post("#python")
        lacking = [
            {
                "no_tag": "tag" not in post["matching_rules"][0],
                "no_name": "name" not in post["includes"]["users"][0],
                "no_fraction": post["data"]["created_at"].endswith(":" + post["data"]["created_at"][-3:]),
            }
            for post in (next_post(response), next_post(response))
        ]

    assert lacking == [dict.fromkeys(lacking[0], False) | {variant: True}, dict.fromkeys(lacking[0], False)]


def test_a_hostile_simulator_is_so_for_every_post(start):
    """The switch `hostile`: each line lacks one of the three."""
    sim = start(rules=RULE, hostile=True)
    with Client(sim).stream(tweet__fields="created_at", expansions="author_id") as response:
        sim.emit(30)
        posts = [next_post(response) for _ in range(30)]

    for post in posts:
        lacks = (
            "tag" not in post["matching_rules"][0],
            "name" not in post["includes"]["users"][0],
            "." not in post["data"]["created_at"],
        )
        assert sum(lacks) == 1


ANSWERS = [
    ("E400", 400, "invalid-request", True),
    ("E401", 401, None, False),
    ("E402", 402, "credits", True),
    ("E403a", 403, "credits", True),
    ("E403b", 403, "client-forbidden", True),
    ("E403c", 403, None, True),
    ("E403d", 403, "unsupported-authentication", True),
    ("E404", 404, None, False),
    ("E409", 409, "streaming-connection", True),
    ("E429a", 429, "streaming-connection", True),
    ("E429b", 429, None, True),
    ("E429c", 429, "usage-capped", True),
    ("E429d", 429, None, True),
    ("E500", 500, None, False),
    ("E502", 502, None, False),
    ("E503a", 503, "streaming-connection", False),
    ("E503b", 503, None, False),
    ("E504", 504, None, False),
]


@pytest.mark.parametrize(("fault", "status", "suffix", "rate"), ANSWERS)
def test_an_http_answer_is_given_once_and_then_not(sim, fault, status, suffix, rate):
    """Each error of the reference: status, problem type, headers; the next connect is let in."""
    sim.fault(fault)
    answer = Client(sim).get(STREAM)

    assert answer.status_code == status
    if suffix:
        assert answer.json()["type"] == f"https://api.twitter.com/2/problems/{suffix}"
    assert ("x-rate-limit-limit" in answer.headers) == rate
    assert ("x-access-level" in answer.headers) == (rate or fault == "E503a")
    assert "{" not in json.dumps(answer.json()).replace('{"', "") if answer.content else True
    with Client(sim).stream() as response:
        assert response.status_code == 200


def test_an_http_answer_can_last_and_choose_its_endpoint(sim):
    """`seconds`, `count` and `on` say for how long and for whom."""
    client = Client(sim)
    sim.fault("E503b", on="rules", count=2)
    statuses = [client.get(RULES).status_code for _ in range(3)]
    sim.fault("E500", seconds=60, on="all")
    during = [client.get(RULES).status_code, client.get("/2/usage/tweets").status_code]
    pass_over(sim, 60)

    assert statuses == [503, 503, 200]
    assert during == [500, 500]
    assert client.get(RULES).status_code == 200


def test_a_429_may_lack_its_reset_header(sim):
    """With and without `x-rate-limit-reset`."""
    sim.fault("E429b", reset=False)
    bare = Client(sim).get(STREAM)
    sim.fault("E429b")
    full = Client(sim).get(STREAM)

    assert "x-rate-limit-reset" not in bare.headers
    assert full.headers["x-rate-limit-remaining"] == "0"
    assert int(full.headers["x-rate-limit-reset"]) > time.time()
    assert full.json() == {
        "title": "Too Many Requests",
        "detail": "Too Many Requests",
        "type": "about:blank",
        "status": 429,
    }


def test_the_money_errors_are_worded_as_recorded(sim):
    """E402 and E403a name the account; E403a the day on which the next cycle begins."""
    sim.fault("E402")
    credits_ = Client(sim).get(STREAM).json()
    sim.fault("E403a")
    cap = Client(sim).get(STREAM).json()

    assert credits_["title"] == "CreditsDepleted"
    assert "[1000000000000000001]" in credits_["detail"]
    assert re.fullmatch(r"20\d\d-\d\d-01", cap["reset_date"])
    assert cap["reset_date"] in cap["detail"]


def test_tcp_can_be_refused(sim):
    """Nobody listens for a while; open connections are reset; then it is as before."""
    with Socket(sim) as stream:
        stream.read_head()
        sim.fault("refuse_tcp", seconds=0.3)
        with pytest.raises(ConnectionResetError):
            stream.read_to_end()
    with pytest.raises(requests.exceptions.ConnectionError, match="refused"):
        Client(sim).get(RULES)
    eventually(lambda: _answers(sim))


def _answers(sim):
    try:
        return Client(sim).get(RULES).status_code == 200
    except requests.exceptions.ConnectionError:
        return False


def test_it_can_be_unreachable(start):
    """Connects succeed and nothing is answered; live streams are silent."""
    sim = start(rules=RULE, keepalive_s=0.05)
    with Socket(sim) as stream:
        stream.read_head()
        sim.fault("unreachable", seconds=60)
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(sim.url + RULES, headers=Client(sim).headers, timeout=0.2)
        stream.socket.settimeout(0.1)
        stream.data = b""
        with pytest.raises(TimeoutError):
            stream.wait_for(b"\n" * 9)
    pass_over(sim, 60)

    assert Client(sim).get(RULES).status_code == 200


def test_a_token_can_be_invalidated(sim):
    """401 until a new exchange, which gives a new token; clearing restores the configured one."""
    client = Client(sim)
    first = client.exchange()
    sim.fault("invalidate_token")

    assert client.get(RULES).status_code == 401
    assert Client(sim, token=first).get(RULES).status_code == 401
    second = client.exchange()
    assert second != first
    assert Client(sim, token=second).get(RULES).status_code == 200
    sim.clear_faults()
    assert client.get(RULES).status_code == 200


def test_rules_can_be_refused(sim):
    """200 with UnprocessableEntity for rules that are right."""
    client = Client(sim)
    sim.fault("rule_refusal", count=1, details=["Not in this plan."])
    refused = client.post(RULES, {"add": [{"value": "fig"}]})
    taken = client.post(RULES, {"add": [{"value": "fig"}]})

    assert refused.status_code == 200
    assert refused.json()["errors"][0]["details"] == ["Not in this plan."]
    assert taken.json()["meta"]["summary"]["created"] == 1


def test_a_ghost_takes_a_slot(sim):
    """TooManyConnections without a connection, until it is deleted."""
    client = Client(sim)
    sim.fault("ghost", seconds=60)

    assert client.get(STREAM).json()["connection_issue"] == "TooManyConnections"
    assert client.delete("/2/connections/filtered_stream").json()["data"]["successful_kills"] == 1
    with client.stream() as response:
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("connections", "/2/connections"), ("rules_counts", RULES + "/counts"), ("usage", "/2/usage/tweets")],
)
def test_an_endpoint_can_be_absent(start, endpoint, path):
    """404 with an empty body and no headers of X, by fault and by setting."""
    sim = start(rules=RULE)
    assert Client(sim).get(path).status_code == 200
    sim.fault("absent", endpoint=endpoint)

    for one in (sim, start(absent=frozenset({endpoint}))):
        answer = Client(one).get(path)
        assert (answer.status_code, answer.content) == (404, b"")
        assert "x-rate-limit-limit" not in answer.headers
    sim.clear_faults()
    assert Client(sim).get(path).status_code == 200


def test_a_rolling_restart_closes_one_after_the_other(start):
    """Each stream gets its disconnect; new ones are refused meanwhile."""
    sim = start(rules=RULE, plan="enterprise")
    with Client(sim).stream() as one, Client(sim).stream() as two:
        sim.fault("rolling_restart", seconds=60, pause=0.05)
        ends = [[json.loads(line) for line in stream.lines if line] for stream in (one, two)]
        assert Client(sim).get(STREAM).status_code == 503
    pass_over(sim, 60)

    assert [end[0]["errors"][0]["disconnect_type"] for end in ends] == ["OperationalDisconnect"] * 2
    assert sim.connections[0].closed_at < sim.connections[1].closed_at
    with Client(sim).stream() as response:
        assert response.status_code == 200


def test_a_schedule_runs_by_time_and_by_posts(start):
    """`at` seconds after the start, `after_posts` delivered ones."""
    schedule = parse_schedule(b'[{"after_posts": 3, "fault": "clean_close"}, {"at": 0.2, "fault": "E500"}]')
    sim = start(rules=RULE, faults=schedule)
    with Client(sim).stream() as response:
        for _ in range(3):
            sim.emit_post("#python")
        assert len([line for line in response.lines if line]) == 3
    eventually(lambda: sim.simulator.faults.ran == ["clean_close", "E500"])

    assert Client(sim).get(STREAM).status_code == 500


@pytest.mark.parametrize(
    "step",
    [{"fault": "earthquake"}, {"fault": "stall", "minutes": 1}, {"fault": "credit"}, {}],
)
def test_an_unknown_fault_is_refused_at_once(start, step):
    """A misspelt schedule does not start; a misspelt call raises."""
    sim = start(rules=RULE)

    with pytest.raises(UnknownFault):
        start(faults=(step,))
    with pytest.raises(UnknownFault):
        sim.simulator.faults.run(step)


def test_a_recorded_shape_can_be_posted(sim):
    """`samples.jsonl` on the stream, with a new id in all its places; the tag stays missing where it was."""
    with Client(sim).stream() as response:
        ids = [
            sim.call(lambda kind=kind: sim.simulator.emit_sample(kind)) for kind in ("plain", "japanese_media_no_tag")
        ]
        plain, labs = next_post(response), next_post(response)

    assert plain["data"]["id"] == plain["includes"]["tweets"][0]["id"] == ids[0]
    assert plain["matching_rules"][0]["tag"] == "py"
    assert "tag" not in labs["matching_rules"][0]
    assert sim.emissions.complete_ids() == ids


def test_faults_may_choose_their_connection(start):
    """`connection` names the one that is meant."""
    sim = start(rules=RULE, plan="enterprise")
    with Socket(sim) as one, Socket(sim) as two:
        one.read_head()
        eventually(lambda: len(sim.connections) == 2)
        two.read_head()
        by_port = {connection.remote[1]: connection.id for connection in sim.connections}
        sim.fault("clean_close", connection=by_port[one.socket.getsockname()[1]])
        assert chunks(one.read_to_end())[-1] == b""
        sim.emit_post("#python")
        two.wait_for(b"#python")
