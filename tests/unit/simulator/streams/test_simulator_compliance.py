"""What is deleted at X: the compliance streams, and the lookup of posts by their ids."""

import json

import pytest
import requests
from simulator_clients import Client, eventually, next_line, next_post

from connector.simulator.streams.endpoints import partition_of

POSTS, USERS, LOOKUP = "/2/tweets/compliance/stream", "/2/users/compliance/stream", "/2/tweets"


@pytest.fixture
def sim(start):
    return start(plan="enterprise", rules=(("#python", "py"),))


def partition(subject):
    return partition_of(int(subject), 4)


def test_a_deletion_is_told_on_the_partition_of_the_post(sim):
    """`delete` has the post, its author and a time; the other partitions are silent."""
    client = Client(sim)
    post = client.control("post", {"text": "#python", "author": "lena"})["id"]
    author = sim.call(lambda: sim.simulator.user_id("lena"))
    other = partition(post) % 4 + 1
    with client.stream(POSTS, partition=partition(post)) as response, client.stream(POSTS, partition=other) as silent:
        client.control("delete", {"post": post})
        line = json.loads(next_line(response))
        client.control("compliance", {"kind": "drop", "subject": str(int(post) + 1)})
        written = [event["written"] for event in map(json.loads, client.get("/control/compliance").iter_lines())]
        assert silent.status_code == 200

    event = line["data"]["delete"]
    assert event["tweet"] == {"id": post, "author_id": author}
    assert event["event_at"].endswith("Z")
    assert written[0] == 1


def test_a_user_is_told_on_the_stream_of_users(sim):
    """All posts of a deleted user are gone from search and lookup; the event names the user alone."""
    client = Client(sim)
    posts = [client.control("post", {"text": "#python", "author": "lena"})["id"] for _ in range(2)]
    kept = client.control("post", {"text": "#python", "author": "bo"})["id"]
    user = sim.call(lambda: sim.simulator.user_id("lena"))
    with client.stream(USERS, partition=partition(user)) as response:
        gone = client.control("delete", {"user": "lena", "kind": "user_suspend"})["ids"]
        event = json.loads(next_line(response))["data"]["user_suspend"]

    assert sorted(gone) == sorted(posts)
    assert event["user"] == {"id": user}
    answer = client.get(LOOKUP, ids=",".join([*posts, kept])).json()
    assert [post["id"] for post in answer["data"]] == [kept]
    assert sorted(error["resource_id"] for error in answer["errors"]) == sorted(posts)


def test_past_events_come_again_by_backfill_and_by_recovery(sim):
    """A backfill repeats the last minutes and stays open; a recovery has one interval and ends."""
    client = Client(sim)
    post = client.control("post", {"text": "#python"})["id"]
    client.control("delete", {"post": post})
    with client.stream(POSTS, partition=partition(post), backfill_minutes=1) as response:
        assert post.encode() in next_line(response)
    begin, end = sim.call(lambda: (sim.simulator.clock.now() - 60, sim.simulator.clock.now() + 60))
    times = {"start_time": _iso(begin), "end_time": _iso(end)}
    with client.stream(POSTS, partition=partition(post), **times) as response:
        lines = [line for line in response.lines if line]
    assert [post.encode() in line for line in lines] == [True]


def _iso(seconds):
    from connector.simulator.clock import rfc3339_second

    return rfc3339_second(seconds).replace(".000Z", "Z")


def test_posts_do_not_come_on_a_compliance_stream(sim):
    """A connection of compliance gets events alone, and one of posts gets no events."""
    client = Client(sim)
    with client.stream() as posts:
        first = client.control("post", {"text": "#python"})["id"]
        with client.stream(POSTS, partition=partition(first)) as events:
            second = client.control("post", {"text": "#python"})["id"]
            client.control("delete", {"post": first})
            assert b"delete" in next_line(events)
        assert [next_post(posts)["data"]["id"] for _ in range(2)] == [first, second]


def test_compliance_is_for_enterprise(start):
    """Other plans are refused; a partition is required; a lookup is for all, and bills what it finds."""
    client = Client(start(plan="ppu"))
    assert client.get(POSTS, partition=1).status_code == 403
    post = client.control("post", {"text": "x"})["id"]
    client.get(LOOKUP, ids=f"{post},{int(post) + 1}")
    assert client.control("state")["meter"]["reads"] == 1
    enterprise = Client(start(plan="enterprise"))
    assert enterprise.get(USERS).status_code == 400
    assert enterprise.get(LOOKUP).status_code == 400
    assert enterprise.get(LOOKUP, ids=",".join(map(str, range(1, 102)))).status_code == 400


def test_what_is_said_wrong_is_refused(sim):
    """Nonsense to the control endpoints is a 400."""
    client = Client(sim)
    for path, body in (
        ("delete", {"post": "x"}),
        ("delete", {}),
        ("delete", {"user": "lena", "kind": "delete"}),
        ("compliance", {"kind": "odd", "subject": "1"}),
        ("compliance", {"kind": "drop", "subject": "lena"}),
        ("compliance", {"kind": "drop"}),
    ):
        with pytest.raises(requests.HTTPError, match="400"):
            client.control(path, body)


def test_a_deleted_post_is_not_found_by_search(start):
    """Search leaves out what was deleted, and goes on to count the rest."""
    sim = start(plan="enterprise", search_freshness_s=0)
    client = Client(sim)
    posts = [client.control("post", {"text": "#python"})["id"] for _ in range(2)]
    client.control("delete", {"post": posts[0]})

    def found():
        return [post["id"] for post in client.get("/2/tweets/search/recent", query="#python").json().get("data", ())]

    assert eventually(found) == [posts[1]]
