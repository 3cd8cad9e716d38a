"""Search, counts, usage and connections over the same posts."""

from datetime import UTC, datetime

import pytest
from simulator_clients import STREAM, Client, Socket, eventually, next_post

from connector.simulator import ManualClock
from connector.simulator.snowflakes import first_id

SEARCH = "/2/tweets/search/recent"
COUNTS = "/2/tweets/counts/recent"
CONNECTIONS = "/2/connections"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC).timestamp()


def iso(seconds):
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def clock():
    return ManualClock(time=NOON)


@pytest.fixture
def sim(start, clock):
    return start(clock=clock)


def test_a_post_is_found_when_it_is_30_seconds_old(sim, clock):
    """Not before: an early search is incomplete. Empty pages have no data and no ids."""
    client = Client(sim)
    post = sim.emit_post("#python at noon")
    early = client.get(SEARCH, query="#python").json()
    clock.advance(29.9)
    still = client.get(SEARCH, query="#python").json()
    clock.advance(0.2)
    late = client.get(SEARCH, query="#python").json()

    assert early == still == {"meta": {"result_count": 0}}
    assert [found["id"] for found in late["data"]] == [post]
    assert late["meta"] == {"newest_id": post, "oldest_id": post, "result_count": 1}


def test_pages_go_from_the_newest_to_the_oldest(sim, clock):
    """Tokens of 45 characters; each post once; new posts do not move the pages."""
    client = Client(sim)
    ids = []
    for number in range(45):
        ids.append(sim.emit_post(f"#python {number}"))
        clock.advance(1)
    clock.advance(30)
    seen, token = [], None
    while True:
        page = client.get(SEARCH, query="#python", max_results=20, **({"next_token": token} if token else {})).json()
        seen += [found["id"] for found in page["data"]]
        assert page["meta"]["newest_id"] == page["data"][0]["id"]
        assert page["meta"]["result_count"] == len(page["data"])
        sim.emit_post("#python new")
        clock.advance(31)
        token = page["meta"].get("next_token")
        if token is None:
            break
        assert len(token) == 45

    assert seen == ids[::-1]
    other = client.get(SEARCH, query="#kafka", next_token="x" * 45)
    assert other.status_code == 400


def test_bounds_by_id_are_exclusive_and_by_time_as_given(sim, clock):
    """`since_id` and `until_id` leave their posts out; `start_time` is inside, `end_time` is not."""
    client = Client(sim)
    ids = []
    for _ in range(5):
        ids.append(sim.emit_post("#python"))
        clock.advance(10)
    clock.advance(60)

    def found(**bounds):
        data = client.get(SEARCH, query="#python", **bounds).json().get("data", [])
        return [ids.index(post["id"]) for post in data]

    assert found(since_id=ids[1], until_id=ids[4]) == [3, 2]
    assert found(start_time=iso(NOON + 10), end_time=iso(NOON + 30)) == [2, 1]
    assert found(since_id=first_id(int(NOON * 1000)) - 1, until_id=first_id(int(NOON * 1000 + 1))) == [0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"query": "a", "max_results": 5}, "The `max_results` query parameter value [5] is not between 10 and 100"),
        ({}, "The `query` query parameter can not be empty"),
        ({"query": "a", "since_id": "1", "start_time": "2026-11-24T00:00:00Z"}, "cannot be combined"),
        ({"query": "a", "start_time": "yesterday"}, "RFC3339"),
        ({"query": "a", "start_time": "2026-11-01T00:00:00Z"}, "last 7 days"),
        ({"query": "a", "until_id": "abc"}, "not a valid post id"),
        ({"query": "x" * 513}, "longer than 512"),
        ({"query": "is:retweet"}, "positive, non-stopword"),
        ({"query": "filter:x"}, "There were errors processing your request: Reference to invalid operator 'filter'."),
        ({"query": "a sample:5"}, "Reference to invalid operator 'sample'"),
    ],
)
def test_a_wrong_parameter_is_a_400(sim, params, message):
    """E400 with the sentence that says what is wrong."""
    answer = Client(sim).get(SEARCH, **params)

    assert answer.status_code == 400
    assert message in answer.json()["errors"][0]["message"]


def test_keyword_queries_find_no_retweets(start, clock):
    """Since May 2026; queries without keywords do, and a switch brings them back."""
    for switch in (False, True):
        sim = start(clock=clock, search_retweets=switch)
        sim.emit_post("#python of ivy", author="ivy", kind="retweet")
        clock.advance(31)
        client = Client(sim)

        assert client.get(SEARCH, query="#python").json()["meta"]["result_count"] == int(switch)
        assert client.get(SEARCH, query="from:ivy").json()["meta"]["result_count"] == 1


def test_fields_and_both_spellings_work(sim, clock):
    """The spelling of the request selects that of the answer; includes leave the page's own posts out."""
    client = Client(sim)
    sim.emit_post("#python", author="jo", kind="quote")
    clock.advance(31)
    old = client.get(
        SEARCH, query="from:jo", **{"tweet.fields": "public_metrics", "expansions": "author_id,referenced_tweets.id"}
    ).json()
    new = client.get(
        SEARCH, query="from:jo", **{"post.fields": "public_metrics", "expansions": "author_id,referenced_posts"}
    ).json()

    assert set(old["data"][0]) >= {"edit_history_tweet_ids", "referenced_tweets", "author_id"}
    assert [user["username"] for user in old["includes"]["users"]] == ["jo"]
    assert [post["id"] for post in old["includes"]["tweets"]] == [old["data"][0]["referenced_tweets"][0]["id"]]
    assert set(new["data"][0]) >= {"edit_history_post_ids", "referenced_posts"}
    assert "repost_count" in new["data"][0]["public_metrics"]
    assert "posts" in new["includes"]


def test_counts_agree_with_search(sim, clock):
    """Buckets by minute from start to end, empty ones too; the total is what search finds."""
    client = Client(sim)
    for _ in range(7):
        sim.emit_post("#python")
        clock.advance(30)
    clock.advance(60)
    bounds = {"start_time": iso(NOON - 60), "end_time": iso(NOON + 240)}
    counted = client.get(COUNTS, query="#python", granularity="minute", **bounds).json()
    found = client.get(SEARCH, query="#python", **bounds).json()

    assert [bucket["tweet_count"] for bucket in counted["data"]] == [0, 2, 2, 2, 1]
    assert counted["data"][0] == {
        "end": f"{iso(NOON)[:-1]}.000Z",
        "start": f"{iso(NOON - 60)[:-1]}.000Z",
        "tweet_count": 0,
    }
    assert counted["meta"]["total_tweet_count"] == found["meta"]["result_count"] == 7
    week = client.get(COUNTS, query="#python").json()
    assert week["meta"]["total_tweet_count"] == 7
    assert 168 <= len(week["data"]) <= 169


@pytest.mark.slow
def test_the_store_is_bounded_by_count_and_age(start, clock):
    """The oldest go first; after 7 days a post is no longer found; packed posts are as before."""
    sim = start(clock=clock, store_posts=3000, match_rules=False)
    client = Client(sim)
    sim.emit_post("zebra", author="kim")
    sim.emit(2500)
    clock.advance(40)
    assert client.get(SEARCH, query="zebra from:kim").json()["data"][0]["text"] == "zebra"
    sim.emit(700)
    clock.advance(40)
    gone = client.get(SEARCH, query="zebra from:kim").json()
    sim.emit_post("lion")
    clock.advance(7 * 86400 + 1)
    sim.emit_post("tiger")

    assert gone["meta"]["result_count"] == 0
    assert len(sim.simulator.store) == 1


def test_archive_search_takes_larger_pages(sim, clock):
    """`search/all`: 10-500 posts a page, 300 requests a window."""
    sim.emit_post("#python")
    clock.advance(31)
    answer = Client(sim).get("/2/tweets/search/all", query="#python", max_results=500)

    assert answer.json()["meta"]["result_count"] == 1
    assert answer.headers["x-rate-limit-limit"] == "300"


def test_usage_counts_reads_as_strings(sim, clock):
    """Cap, usage and the days left."""
    sim.emit_post("#python")
    clock.advance(31)
    client = Client(sim)
    client.get(SEARCH, query="#python")

    assert client.get("/2/usage/tweets").json() == {
        "data": {
            "cap_reset_day": 6,
            "project_cap": "3000000",
            "project_id": "1000000000000000001",
            "project_usage": "1",
        }
    }
    assert client.get("/2/usage/tweets", days=91).status_code == 400


def test_connections_are_listed_and_killed(start):
    """Active ones by default, ended ones with their reason; a kill ends the stream and frees the slot."""
    sim = start(rules=(("#python", None),))
    client = Client(sim)
    empty = client.get(CONNECTIONS).json()
    with Socket(sim) as stream:
        stream.read_head()
        (active,) = client.get(CONNECTIONS, endpoints="filtered_stream").json()["data"]
        killed = client.delete(CONNECTIONS, {"uuids": [active["id"], "unknown"]}).json()["data"]
        assert stream.read_to_end().endswith(b"0\r\n\r\n")
    eventually(lambda: sim.connections[0].end)
    (inactive,) = client.get(CONNECTIONS, status="inactive").json()["data"]

    assert empty == {"meta": {"result_count": 0}}
    assert set(active) == {"connected_at", "endpoint_name", "client_ip", "id"}
    assert active["endpoint_name"] == "filtered_stream"
    assert (killed["successful_kills"], killed["failed_kills"]) == (1, 1)
    assert killed["results"][0] == {"uuid": active["id"], "success": True}
    assert "error_message" in killed["results"][1]
    assert inactive["disconnect_reason"] == "operator_disconnect"
    assert inactive["disconnected_at"].endswith("Z")
    assert client.get(CONNECTIONS).json()["meta"]["result_count"] == 0


def test_a_dead_clients_connection_is_listed_while_it_holds_its_slot(start):
    """What counts is listed, and can be ended by its id: only then can the one who knows the id free the slot."""
    sim = start(rules=(("#python", None),), ghost_slot_s=60)
    client = Client(sim)
    with Socket(sim) as dead:
        dead.read_head()
    eventually(lambda: sim.connections[0].end)
    (ghost,) = client.get(CONNECTIONS).json()["data"]

    assert "disconnected_at" not in ghost
    assert client.get(STREAM).status_code == 429
    assert client.delete(CONNECTIONS, {"uuids": [ghost["id"]]}).json()["data"]["successful_kills"] == 1
    assert client.get(CONNECTIONS).json()["meta"]["result_count"] == 0
    with client.stream() as response:
        sim.emit_post("#python")
        assert next_post(response)


@pytest.mark.parametrize("path", ["/2/connections/filtered_stream", "/2/connections/all"])
def test_all_connections_can_be_killed_at_once(start, path):
    """The remedy against ghosts: live ones and dead ones go."""
    sim = start(rules=(("#python", None),), ghost_slot_s=60)
    client = Client(sim)
    with Socket(sim) as dead:
        dead.read_head()
    eventually(lambda: sim.connections[0].end)
    assert client.get(STREAM).status_code == 429

    assert client.delete(path).json()["data"]["successful_kills"] == 1
    with client.stream() as response:
        sim.emit_post("#python")
        assert next_post(response)
        assert client.delete(path).json()["data"]["successful_kills"] == 1
        assert list(response.lines)[-1:] in ([], [b""])


def test_pages_of_connections(start):
    """The newest first, `max_results` a page, no connection twice."""
    sim = start(rules=(("#python", None),))
    for _ in range(5):
        with Socket(sim) as stream:
            stream.read_head()
        eventually(lambda: sim.connections[-1].end)
    client = Client(sim)
    seen, token = [], None
    while True:
        params = {"pagination_token": token} if token else {}
        page = client.get(CONNECTIONS, status="all", max_results=2, **params).json()
        seen += [connection["id"] for connection in page["data"]]
        token = page["meta"].get("next_token")
        if token is None:
            break

    assert seen == [connection.id for connection in reversed(sim.connections)]
    assert client.get(CONNECTIONS, status="odd").status_code == 400
