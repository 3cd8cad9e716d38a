"""A stream looks like X's: head, lines, keep-alives, chunks, slots."""

import asyncio
import gzip
import json
import re
import time
import zlib
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import aiohttp
import pytest
import requests
from simulator_clients import RULES, STREAM, Client, Socket, chunks, eventually, next_line, next_post

from connector.simulator import ManualClock, Simulator, SimulatorSettings
from connector.simulator.snowflakes import time_ms

RULE = (("#python", "py"),)


def test_the_head_comes_before_the_first_post(sim):
    """The 200 is flushed at once: chunked, without a length, with the rate window."""
    with Socket(sim) as stream:
        head = stream.read_head().decode()

    assert head.startswith("HTTP/1.1 200 OK\r\ncache-control: no-cache, no-store, max-age=0\r\ndate: ")
    assert "\r\ntransfer-encoding: chunked\r\n" in head
    assert "content-length" not in head
    assert re.search(
        r"\r\nx-rate-limit-limit: 50\r\nx-rate-limit-remaining: 49\r\nx-rate-limit-reset: \d{10}\r\n", head
    )


def test_a_post_is_one_line_with_its_default_fields(sim):
    """id, text, edit history and the matching rules; nothing that was not asked for."""
    with Client(sim).stream() as response:
        sent = sim.emit_post("learn #python today & <now>")
        line = next_line(response)

    post = json.loads(line)
    assert post["data"] == {
        "id": sent,
        "text": "learn #python today &amp; &lt;now&gt;",
        "edit_history_tweet_ids": [sent],
    }
    assert post["matching_rules"] == [{"id": str(next(iter(sim.simulator.rules)).id), "tag": "py"}]
    assert list(post) == ["data", "matching_rules"]


def test_an_untagged_rule_has_an_empty_tag(start):
    """The schema makes the tag optional, live lines send it empty."""
    sim = start(rules=(("#python", None),))
    with Client(sim).stream() as response:
        sim.emit_post("#python")

        assert next_post(response)["matching_rules"][0]["tag"] == ""


def test_a_post_matching_several_rules_comes_once(start):
    """One delivery, all rules in it."""
    sim = start(rules=(("#python", "a"), ("lang:en learn", "b"), ("never", "c")))
    with Client(sim).stream() as response:
        sim.emit_post("learn #python")
        sim.emit_post("learn more")

        assert [rule["tag"] for rule in next_post(response)["matching_rules"]] == ["a", "b"]
        assert [rule["tag"] for rule in next_post(response)["matching_rules"]] == ["b"]
    assert len(sim.emissions) == 2


def test_fields_and_expansions_are_those_asked_for(sim):
    """Requested but empty objects stay as {}; the main post is the first included one; metrics are 0."""
    fields = {
        "tweet__fields": "created_at,attachments,geo,public_metrics,lang",
        "expansions": "author_id,referenced_tweets.id",
        "user__fields": "verified",
    }
    with Client(sim).stream(**fields) as response:
        sim.emit_post("#python", author="hana")
        post = next_post(response)

    data = post["data"]
    assert data["attachments"] == {}
    assert data["geo"] == {}
    assert set(data["public_metrics"].values()) == {0}
    assert data["created_at"].endswith(".000Z")
    assert post["includes"]["tweets"] == [data]
    assert set(post["includes"]["users"][0]) == {"id", "name", "username", "verified"}
    assert post["includes"]["users"][0]["username"] == "hana"


def test_a_retweet_brings_its_original(sim):
    """`referenced_tweets` appears with its expansion, the text is cut at 140 code points."""
    with Client(sim).stream(expansions="referenced_tweets.id") as response:
        for _ in range(20):
            sim.emit_post("#python", kind="retweet")
        texts = []
        for _ in range(20):
            post = next_post(response)
            texts.append(post["data"]["text"])
            (reference,) = post["data"]["referenced_tweets"]
            assert reference["type"] == "retweeted"
            assert [t["id"] for t in post["includes"]["tweets"]] == [post["data"]["id"], reference["id"]]

    assert all(text.startswith("RT @") and len(text) <= 140 for text in texts)


def test_an_unknown_field_is_refused(sim):
    """E400b names the parameter, the value and the list."""
    answer = Client(sim).get(STREAM, **{"tweet.fields": "id,bogus"})

    assert answer.status_code == 400
    body = answer.json()
    assert body["title"] == "Invalid Request"
    assert body["type"] == "https://api.twitter.com/2/problems/invalid-request"
    (error,) = body["errors"]
    assert error["parameters"] == {"tweet.fields": ["id", "bogus"]}
    assert error["message"].startswith("The `tweet.fields` query parameter value [bogus] is not one of [article,attach")


def test_ids_carry_the_time_of_creation(sim):
    """An id is a snowflake of now, and `created_at` its second."""
    with Client(sim).stream(tweet__fields="created_at") as response:
        before = time.time()
        ids = sim.emit(50)
        posts = [next_post(response)["data"] for _ in ids]

    assert [post["id"] for post in posts] == ids
    assert len(set(ids)) == 50
    for post in posts:
        created = time_ms(int(post["id"])) / 1000
        assert before - 1 < created < time.time() + 1
        assert post["created_at"] == f"{datetime.fromtimestamp(int(created), tz=UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def test_astral_characters_are_escaped_and_others_raw(start):
    """Uppercase surrogate escapes beyond the BMP; a switch sends them raw."""
    sim = start(rules=RULE)
    with Client(sim).stream() as response:
        sim.emit_post("#python 🥁 é 灯")
        line = next_line(response)
    raw = start(rules=RULE, astral="raw")
    with Client(raw).stream() as response:
        raw.emit_post("#python 🥁")
        raw_line = next_line(response)

    assert b"\\uD83E\\uDD41" in line
    assert "é 灯".encode() in line
    assert "🥁".encode() in raw_line
    assert "🥁" in json.loads(line)["data"]["text"]


def test_keys_are_shuffled_or_alphabetical(start):
    """The order of keys is no promise; a switch sorts them as in 2022."""
    shuffled, sorted_ = start(rules=RULE), start(rules=RULE, key_order="alphabetical")
    orders = {}
    for sim in (shuffled, sorted_):
        with Client(sim).stream(tweet__fields="lang,author_id,created_at") as response:
            sim.emit(20)
            orders[sim] = {tuple(next_post(response)["data"]) for _ in range(20)}

    assert len(orders[shuffled]) > 5
    assert [list(order) for order in orders[sorted_]] == [sorted(*orders[sorted_])]


def test_a_keep_alive_comes_after_the_last_byte(start):
    """A bare CR LF in a chunk of its own, `keepalive_s` after the last byte and not before."""
    sim = start(rules=RULE, keepalive_s=0.2)
    with Socket(sim) as stream:
        stream.read_head()
        time.sleep(0.12)
        began = time.monotonic()  # before the post is written: not what the simulator's thread notes after it
        sim.emit_post("#python")
        stream.wait_for(b"#python")
        stream.data = stream.data.partition(b"#python")[2]
        stream.wait_for(b"2\r\n\r\n\r\n")
        first = time.monotonic() - began
        stream.data = b""
        stream.wait_for(b"2\r\n\r\n\r\n")
        second = time.monotonic() - began

    assert 0.19 < first < 1
    assert 0.39 < second < 1.5


@pytest.mark.parametrize("framing", ["message", "merged", "split"])
def test_framing_changes_chunks_and_not_lines(start, framing):
    """Whatever a chunk holds, the lines are the same posts in the same order."""
    sim = start(rules=RULE, framing=framing, keepalive_s=60)
    with Socket(sim) as stream:
        stream.read_head()
        ids = sim.emit(40)
        eventually(lambda: sim.emissions.counts["written"] == 40)
        sim.fault("clean_close")
        payloads = chunks(stream.read_to_end())

    assert payloads.pop() == b""
    lines = b"".join(payloads).split(b"\r\n")
    assert lines.pop() == b""
    assert [json.loads(line)["data"]["id"] for line in lines] == ids
    ends = [payload.endswith(b"\r\n") for payload in payloads]
    if framing == "message":
        assert len(payloads) == 40
        assert all(ends)
    elif framing == "merged":
        assert len(payloads) < 20
        assert all(ends)
    else:
        assert not all(ends)
        assert any(payload.endswith(b"\r") for payload in payloads)
        assert any(b"\r\n" in payload[:-2] for payload in payloads)


def test_split_framing_cuts_inside_characters(start):
    """A chunk may end inside a UTF-8 sequence."""
    sim = start(rules=(("灯台", None),), framing="split", keepalive_s=60)
    with Socket(sim) as stream:
        stream.read_head()
        for _ in range(60):
            sim.emit_post("灯台" * 60, lang="ja")
        eventually(lambda: sim.emissions.counts["written"] == 60)
        sim.fault("clean_close")
        payloads = chunks(stream.read_to_end())

    broken = 0
    for payload in payloads:
        try:
            payload.decode()
        except UnicodeDecodeError:
            broken += 1
    assert broken > 5


def test_a_gzip_stream_is_flushed_per_message(start):
    """With the switch, and if the client accepts it, each post can be read at once."""
    sim = start(rules=RULE, stream_gzip=True)
    with Client(sim).stream() as response:
        sim.emit_post("#python one")
        assert response.headers["content-encoding"] == "gzip"
        assert next_post(response)["data"]["text"] == "#python one"
        sim.emit_post("#python two")
        assert next_post(response)["data"]["text"] == "#python two"
    with Socket(sim) as plain:
        assert b"gzip" not in plain.read_head()
    with Socket(sim, headers=["Accept-Encoding: gzip"]) as stream:
        stream.read_head()
        sim.emit_post("#python three")
        eventually(lambda: sim.emissions.counts["written"] >= 3)
        sim.fault("clean_close")
        whole = b"".join(chunks(stream.read_to_end()))
    assert b"three" in gzip.decompress(whole)
    assert zlib.decompressobj(wbits=31).decompress(whole) == gzip.decompress(whole)


def test_without_rules_the_stream_is_refused(start):
    """E409, with the headers of a REST answer."""
    answer = Client(start()).get(STREAM)

    assert answer.status_code == 409
    assert answer.json() == {
        "title": "ConnectionException",
        "detail": "You must define rules using the POST /2/tweets/search/stream/rules endpoint before connecting"
        " to filtered stream.",
        "connection_issue": "RuleConfigurationIssue",
        "type": "https://api.twitter.com/2/problems/streaming-connection",
    }
    assert answer.headers["x-rate-limit-remaining"] == "49"
    assert answer.headers["x-access-level"] == "read"


def test_a_second_connection_is_refused_and_counts(sim):
    """E429a: one connection on pay-per-use; the refused connect takes one of the 50."""
    client = Client(sim)
    with client.stream():
        answer = client.get(STREAM)

    assert answer.status_code == 429
    assert answer.json()["connection_issue"] == "TooManyConnections"
    assert answer.json()["detail"] == "This stream is currently at the maximum allowed connection limit."
    assert answer.headers["x-rate-limit-remaining"] == "48"


def test_refused_connects_can_be_free(start):
    """`count_refused` off: the window is as before."""
    sim = start(rules=RULE, count_refused=False)
    with Client(sim).stream():
        Client(sim).get(STREAM)
        assert Client(sim).get(STREAM).status_code == 429
    eventually(lambda: not sim.call(sim.simulator.streams.live))
    with Client(sim).stream() as response:
        assert response.headers["x-rate-limit-remaining"] == "48"


def test_a_second_connection_can_end_the_first(start):
    """`second_connection` = kick_old: the quickstart's version of the story."""
    sim = start(rules=RULE, second_connection="kick_old")
    with Socket(sim) as old:
        old.read_head()
        with Client(sim).stream() as new:
            assert old.read_to_end().endswith(b"0\r\n\r\n")
            sim.emit_post("#python")
            assert next_post(new)["matching_rules"]
    assert sim.connections[0].end == "kicked"
    assert sim.connections[0].clean


def test_a_dead_client_keeps_its_slot(start):
    """`ghost_slot_s`: refused until the time is over, then let in."""
    clock = ManualClock(time=time.time())
    sim = start(clock=clock, rules=RULE, ghost_slot_s=60)
    with Socket(sim) as stream:
        stream.read_head()
    eventually(lambda: sim.connections[0].end)

    clock.advance(59)
    assert Client(sim).get(STREAM).status_code == 429
    clock.advance(2)
    with Client(sim).stream() as response:
        assert response.status_code == 200


def test_enterprise_has_two_connections_with_the_same_posts(start):
    """Redundancy: both get everything, a third is refused."""
    sim = start(rules=RULE, plan="enterprise")
    with Client(sim).stream() as one, Client(sim).stream() as two:
        sim.emit(5)
        assert [next_post(one)["data"]["id"] for _ in range(5)] == [next_post(two)["data"]["id"] for _ in range(5)]
        assert Client(sim).get(STREAM).status_code == 429


def test_rules_act_on_a_live_connection(start):
    """A rule added or deleted changes the stream without a reconnect."""
    sim = start(rules=(("zebra", "z"),))
    client = Client(sim)
    with client.stream() as response:
        client.post(RULES, {"add": [{"value": "#fig", "tag": "f"}]})
        sim.emit_post("#fig")
        assert next_post(response)["matching_rules"][0]["tag"] == "f"
        client.post(RULES, {"delete": {"values": ["zebra"]}})
        sim.emit_post("zebra")
        sim.emit_post("#fig again")
        assert next_post(response)["data"]["text"] == "#fig again"


def test_rule_changes_can_take_time(start):
    """`rule_delay_s`: a rule is held at once and acts later."""
    clock = ManualClock(time=time.time())
    sim = start(clock=clock, rules=(("zebra", "z"),), rule_delay_s=60)
    client = Client(sim)
    with client.stream() as response:
        client.post(RULES, {"add": [{"value": "#fig", "tag": "f"}]})
        sim.emit_post("#fig early")
        clock.advance(61)
        sim.emit_post("#fig late")
        assert next_post(response)["data"]["text"] == "#fig late"


def test_rate_is_kept_and_can_change(start):
    """`rate` matching posts a second, also after it was changed."""
    sim = start(rules=RULE, rate=200)
    with Client(sim).stream():
        for _ in range(10):  # while something else takes the processor it is late, and hurries afterwards
            began, before = time.monotonic(), sim.emissions.counts["written"]
            time.sleep(0.5)
            reached = (sim.emissions.counts["written"] - before) / (time.monotonic() - began)
            if 150 <= reached <= 220:
                break
        sim.rate = 0
        time.sleep(0.1)
        stopped = sim.emissions.counts["written"]
        time.sleep(0.2)

        assert 150 <= reached <= 220
        assert sim.emissions.counts["written"] == stopped


def test_posts_that_nobody_heard_are_logged_as_missed(sim):
    """They matched rules and no connection was there: what a repair has to find."""
    before = sim.emit_post("#python before")
    sim.emit_post("of no interest")
    with Socket(sim) as stream:
        stream.read_head()
        during = sim.emit_post("#python during")
    eventually(lambda: sim.connections[0].end)
    after = sim.emit_post("#python after")

    assert sim.emissions.missed_ids() == [before, after]
    assert sim.emissions.complete_ids() == [during]
    missed = sim.emissions[0]
    assert (missed.connection, missed.tags, missed.complete) == (None, ("py",), False)


def test_the_log_tells_what_was_written_to_whom(sim):
    """Post, connection, rules and bytes; the connection its remote port, bytes and end."""
    with Socket(sim) as stream:
        port = stream.socket.getsockname()[1]
        head = stream.read_head()
        post = sim.emit_post("#python")
        eventually(lambda: len(sim.emissions))
        sim.fault("clean_close")
        body = stream.read_to_end()
    (emission,) = sim.emissions
    (connection,) = sim.connections
    (payload, last) = chunks(body)

    assert (emission.post_id, emission.connection, emission.outcome) == (post, connection.id, "written")
    assert emission.tags == ("py",)
    assert emission.bytes == len(payload)
    assert last == b""
    assert connection.remote == ("127.0.0.1", port)
    assert (connection.end, connection.clean, connection.posts) == ("clean_close", True, 1)
    assert connection.bytes == len(head) + len(body)
    assert connection.first_id == connection.last_id == post


def test_a_clean_close_flushes_what_was_written(start):
    """Every post logged as written before a clean close is at the client."""
    sim = start(rules=RULE, socket_send_bytes=8192)
    with Socket(sim, receive_bytes=8192) as stream:
        stream.read_head()
        sim.emit(400)
        sim.fault("clean_close")
        payloads = chunks(stream.read_to_end())
    received = [json.loads(line)["data"]["id"] for line in b"".join(payloads).split(b"\r\n") if line]
    eventually(lambda: sim.connections[0].end)

    assert sim.connections[0].clean
    assert received == sim.emissions.complete_ids()
    assert len(received) == 400


@pytest.mark.slow
def test_a_slow_reader_is_cut(start):
    """A buffer not drained for `slow_reader_s` ends the connection; what was not taken is logged as cut."""
    sim = start(rules=RULE, socket_send_bytes=4096, slow_reader_s=0.3)
    with Socket(sim, receive_bytes=4096) as stream:
        stream.read_head()
        sim.emit(800)
        eventually(lambda: sim.connections[0].end)
        body = stream.read_to_end()

    assert sim.connections[0].end == "slow_reader"
    assert not sim.connections[0].clean
    assert sim.emissions.counts["cut"] > 100
    whole = len(b"".join(chunks(body)).split(b"\r\n")) - 1
    assert sim.emissions.counts["written"] <= whole + 1


def test_what_does_not_fit_the_buffer_is_dropped_and_said(start):
    """The buffer of a connection is bounded; the log names what went over."""
    sim = start(rules=RULE, socket_send_bytes=4096, buffer_bytes=20_000)
    with Socket(sim, receive_bytes=4096) as stream:
        stream.read_head()
        sim.emit(800)
        assert sim.emissions.counts["dropped"] > 100
        sim.fault("clean_close")
        stream.read_to_end()
    eventually(lambda: sim.connections[0].end)

    counts = sim.emissions.counts
    assert counts["written"] + counts["dropped"] == 800


def test_volume_streams_need_enterprise(sim):
    """E403b on pay-per-use."""
    answer = Client(sim).get("/2/tweets/sample/stream")

    assert answer.status_code == 403
    assert answer.json()["title"] == "Client Forbidden"
    assert answer.json()["reason"] == "client-not-enrolled"


def test_the_sample_has_all_posts_and_no_rules(start):
    """Volume lines carry no matching rules; `sample_percent` is the share."""
    sim = start(plan="enterprise")
    with Client(sim).stream("/2/tweets/sample/stream") as response:
        ids = sim.emit(10)
        posts = [next_post(response) for _ in range(10)]
    tenth = start(plan="enterprise", sample_percent=10)
    with Socket(tenth, "/2/tweets/sample/stream") as stream:
        stream.read_head()
        tenth.emit(500)

    assert [post["data"]["id"] for post in posts] == ids
    assert all("matching_rules" not in post for post in posts)
    assert 20 < tenth.emissions.counts["written"] < 90


def test_firehose_partitions_are_disjoint_and_complete(start):
    """Each post is in one partition; the number is required and bounded."""
    sim = start(plan="enterprise")
    client = Client(sim)
    path = "/2/tweets/sample10/stream"
    with client.stream(path, partition=1) as one, client.stream(path, partition=2) as two:
        ids = sim.emit(60)
        emitted = {c.id: sim.emissions.complete_ids(c.id) for c in sim.connections}
        assert next_post(one)["data"]["id"] in ids
        assert next_post(two)["data"]["id"] in ids

    parts = list(emitted.values())
    assert sorted(parts[0] + parts[1]) == sorted(ids)
    assert min(map(len, parts)) > 10
    missing = client.get("/2/tweets/firehose/stream")
    assert missing.status_code == 400
    assert missing.json()["errors"] == [
        {"parameters": {"partition": []}, "message": "The `partition` query parameter can not be empty"}
    ]
    assert client.get("/2/tweets/firehose/stream", partition=21).status_code == 400
    with client.stream("/2/tweets/firehose/stream/lang/ja", partition=1) as japanese:
        sim.emit(200)
        posts = sim.emissions.complete_ids(sim.connections[-1].id)
        assert next_post(japanese)["data"]["id"] == posts[0]
    assert all(sim.simulator.store.get(int(post)).data["lang"] == "ja" for post in posts)


def test_backfill_repeats_the_last_minutes(start):
    """Enterprise: older posts first, those seen before again; elsewhere 400."""
    sim = start(rules=RULE, plan="enterprise")
    with Client(sim).stream() as response:
        seen = sim.emit_post("#python seen")
        next_post(response)
    eventually(lambda: sim.connections[0].end)
    missed = sim.emit_post("#python missed")
    with Client(sim).stream(backfill_minutes=1) as response:
        live = sim.emit_post("#python live")
        received = [next_post(response)["data"]["id"] for _ in range(3)]
    refused = Client(start(rules=RULE)).get(STREAM, backfill_minutes=2)

    assert received == [seen, missed, live]
    assert [e.origin for e in sim.emissions if e.connection][-3:] == ["backfill", "backfill", "live"]
    assert refused.status_code == 400
    assert refused.json()["errors"][0]["parameters"] == {"backfill_minutes": ["2"]}


def test_recovery_replays_an_interval_and_closes(start):
    """Enterprise: start_time and end_time give the posts between, and a clean end."""
    sim = start(rules=RULE, plan="enterprise")
    ids = sim.emit(5)
    now = datetime.now(tz=UTC)
    times = {
        "start_time": f"{now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
        "end_time": f"{now + timedelta(seconds=2):%Y-%m-%dT%H:%M:%SZ}",
    }
    with Client(sim).stream(**times) as response:
        lines = [json.loads(line)["data"]["id"] for line in response.lines if line]
    half = Client(sim).get(STREAM, start_time=times["start_time"])

    assert lines == ids
    assert half.status_code == 400


@pytest.mark.slow
def test_a_long_replay_holds_nobody_up(start):
    """A backfill comes in parts, other requests between them; what is posted meanwhile comes after it."""
    sim = start(rules=RULE, plan="enterprise")
    stored = sim.emit(1000)
    with Client(sim).stream(backfill_minutes=1) as response:
        live = sim.emit_post("#python live")
        written = sim.emissions.counts["written"]
        received = [next_post(response)["data"]["id"] for _ in range(1001)]

    assert received == [*stored, live]
    assert written < 1000


def test_a_replay_that_is_cut_loses_what_waited(start):
    """Posts that came live behind it were for this connection: the log has them as cut, not as missed."""
    sim = start(rules=RULE, plan="enterprise")
    sim.emit(1000)
    with Client(sim).stream(backfill_minutes=1):
        live = sim.emit_post("#python live")
        sim.fault("rst")
    eventually(lambda: any(e.post_id == live for e in sim.emissions))

    assert [("cut", "live")] == [(e.outcome, e.origin) for e in sim.emissions if e.post_id == live]


@pytest.mark.slow
def test_a_recovery_gets_nothing_live(start):
    """Its connection replays and no more: a post that comes meanwhile is missed, unless another one listens."""
    sim = start(rules=RULE, plan="enterprise", store_posts=10_000)
    stored = sim.emit(1000)
    now = datetime.now(tz=UTC)
    times = {
        "start_time": f"{now - timedelta(minutes=1):%Y-%m-%dT%H:%M:%SZ}",
        "end_time": f"{now + timedelta(seconds=5):%Y-%m-%dT%H:%M:%SZ}",
    }
    with Client(sim).stream(**times) as response:
        live = sim.emit_post("#python live")
        lines = [json.loads(line)["data"]["id"] for line in response.lines if line]
    with Client(sim).stream(backfill_minutes=2):
        eventually(lambda: len(sim.connections) == 2)
    recovery, backfill = sim.connections

    assert stored == lines
    assert [*stored, live] == sim.emissions.missed_ids()
    assert (60 < recovery.interval[1] - recovery.interval[0] < 70, recovery.backfill_s) == (True, 0)
    assert (None, 120) == (backfill.interval, backfill.backfill_s)


def test_a_backfill_has_the_posts_of_the_millisecond_of_its_connection(start):
    """They were made before it, and are not live."""
    sim = start(clock=SimpleNamespace(now=lambda: 1_793_536_496.0), rules=RULE, plan="enterprise")
    stored = sim.emit(3)
    with Socket(sim, backfill_minutes=1) as stream:
        stream.read_head()
        eventually(lambda: stream.wait_for(f'"id":"{stored[-1]}"'.encode()) or True)


@pytest.mark.slow
def test_a_replay_waits_for_its_reader(start):
    """What a reader does not take is not dropped: the replay goes on when there is room."""
    # the reader's window holds a segment of the loopback: a smaller one opens in steps of the kernel's, up to seconds
    sim = start(rules=RULE, plan="enterprise", socket_send_bytes=4096, buffer_bytes=40_000)
    stored = sim.emit(1_000)
    with Socket(sim, receive_bytes=65536, backfill_minutes=1) as stream:
        stream.read_head()
        time.sleep(0.1)
        written = sim.emissions.counts["written"]
        eventually(lambda: stream.wait_for(f'"id":"{stored[-1]}"'.encode()) or True)

    assert written < 1_000
    assert 0 == sim.emissions.counts["dropped"]


def test_duplicates_and_disorder_can_be_asked_for(start):
    """Every Nth post comes twice; ids leave their order; nothing gets lost."""
    sim = start(rules=RULE, duplicate_every=5, out_of_order_s=0.3)
    with Client(sim).stream() as response:
        ids = sim.emit(50)
        received = [next_post(response)["data"]["id"] for _ in range(60)]

    assert set(received) == set(ids)
    assert len(received) == 60
    first_seen = list(dict.fromkeys(received))
    assert first_seen != ids


def test_realistic_lag_has_the_measured_spread(start):
    """`delivery_lag`: median 4.8 s, 99 % within 7 s; without it posts come at once."""
    sim = start(delivery_lag="realistic")
    delays = sorted(sim.simulator.streams.disorder.delay() for _ in range(4000))

    assert 4.6 < delays[2000] < 5.0
    assert 6.5 < delays[3960] < 7.6
    assert start().simulator.streams.disorder.delay() == 0
    quick = start(delivery_lag="realistic", delivery_lag_s=0.8)
    assert 0.75 < sorted(quick.simulator.streams.disorder.delay() for _ in range(1001))[500] < 0.85


def test_edits_are_new_ids_in_one_history(start):
    """An edited post is a new line; the history goes from the oldest to the newest."""
    sim = start(rules=(("lang:en (a OR the OR in OR of)", None),), match_rules=False)
    for _ in range(300):
        sim.emit(5)
        edited = [p for p in sim.simulator.store._fresh.values() if len(p.data["edit_history_tweet_ids"]) > 1]
        if edited:
            break

    history = edited[0].data["edit_history_tweet_ids"]
    assert history[-1] == edited[0].data["id"]
    assert history == sorted(history, key=int)
    assert edited[0].data["edit_controls"]["edits_remaining"] < 5


async def test_it_runs_in_the_loop_of_a_test():
    """`async with` serves, and leaves no task and no connection behind."""
    async with Simulator(SimulatorSettings(rules=RULE)) as sim:
        headers = {"Authorization": f"Bearer {sim.settings.token}"}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(sim.url + STREAM) as response:
            (post,) = await sim.emit()
            line = await response.content.readline()
            assert json.loads(line)["data"]["id"] == post
        async with aiohttp.ClientSession(headers=headers) as session, session.get(sim.url + STREAM) as response:
            await sim.stop()
            assert await response.content.read() == b""
    await asyncio.sleep(0)

    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [c.end for c in sim.connections] == ["client", "stopped"]


def test_clients_may_vanish_at_any_moment(start):
    """Hundreds of connections dropped in the middle of everything raise nothing and leave nothing."""
    sim = start(rules=RULE, rate=500, plan="enterprise", rate_limits={"filtered_stream": 10_000})
    for number in range(60):
        with Socket(sim) as stream:
            if number % 3:
                stream.socket.recv(100 * number)
    with Socket(sim) as stream:
        stream.socket.sendall(b"nonsense\r\n\r\n")

    eventually(lambda: requests.get(sim.url + "/control/state", timeout=30).json()["connections"]["live"] == [])
    eventually(lambda: ["client"] * 61 == [connection.end for connection in sim.connections])


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n", b"413"),
        (b"GET /" + b"a" * 70_000, b"431"),
    ],
)
def test_what_is_not_http_is_answered_and_closed(sim, raw, status):
    """A malformed request gets its status and the connection ends."""
    with Socket(sim, path="/2/unknown") as stream:
        stream.wait_for(b"\r\n\r\n")
        stream.data = b""
        stream.socket.sendall(raw)

        assert stream.read_to_end().startswith(b"HTTP/1.1 " + status)
