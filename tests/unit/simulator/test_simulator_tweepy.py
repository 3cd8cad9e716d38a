"""tweepy as it is, but for the host."""

import threading
from urllib.parse import urlsplit, urlunsplit

import pytest
import requests
import tweepy
from requests.adapters import HTTPAdapter
from simulator_clients import eventually

from connector.simulator import ManualClock

HOST = "https://api.twitter.com"


class Rewriting(HTTPAdapter):
    """Sends what is for X to the simulator; tweepy itself is untouched."""

    def __init__(self, url):
        super().__init__()
        self._to = urlsplit(url)

    def send(self, request, **kwargs):
        parts = urlsplit(request.url)
        request.url = urlunsplit((self._to.scheme, self._to.netloc, parts.path, parts.query, ""))
        return super().send(request, **kwargs)


class Listener(tweepy.StreamingClient):
    """Remembers what tweepy calls."""

    def __init__(self, sim, **kwargs):
        super().__init__(sim.settings.token, **kwargs)
        self.session.mount(HOST, Rewriting(sim.url))
        self.tweets, self.errors, self.statuses, self.exceptions = [], [], [], []
        self.keep_alives = self.closes = self.connects = 0

    def on_connect(self):
        self.connects += 1

    def on_tweet(self, tweet):
        self.tweets.append(tweet)

    def on_errors(self, errors):
        self.errors.append(errors)

    def on_request_error(self, status_code):
        self.statuses.append(status_code)
        self.disconnect()

    def on_exception(self, exception):
        self.exceptions.append(exception)

    def on_keep_alive(self):
        self.keep_alives += 1

    def on_closed(self, response):
        self.closes += 1
        response.close()
        self.disconnect()


@pytest.fixture
def listen():
    """Run tweepy's stream in a thread; stop it afterwards."""
    running = []

    def begin(sim, **parameters):
        listener = Listener(sim)
        thread = threading.Thread(target=listener.filter, kwargs=parameters)
        thread.start()
        running.append((listener, thread))
        return listener

    yield begin
    for listener, thread in running:
        listener.disconnect()
        thread.join(10)
        assert not thread.is_alive()
        listener.session.close()


def test_tweepy_reads_the_filtered_stream(start, listen):
    """Posts, fields, users and keep-alives reach its callbacks; its rule calls work."""
    sim = start(keepalive_s=0.2)
    rules = Listener(sim)
    added = rules.add_rules([tweepy.StreamRule("#python", "py"), tweepy.StreamRule("--b")])
    held = rules.get_rules()

    assert [(rule.value, rule.tag) for rule in added.data] == [("#python", "py")]
    assert added.errors[0]["title"] == "UnprocessableEntity"
    assert [(rule.value, rule.tag) for rule in held.data] == [("#python", "py")]

    listener = listen(sim, tweet_fields=["created_at", "lang"], expansions=["author_id"], user_fields=["created_at"])
    eventually(lambda: sim.call(sim.simulator.streams.live))
    ids = sim.emit(50)
    eventually(lambda: len(listener.tweets) == 50)
    eventually(lambda: listener.keep_alives > 1)

    assert [str(tweet.id) for tweet in listener.tweets] == ids
    assert all(tweet.created_at for tweet in listener.tweets)
    deleted = rules.delete_rules([held.data[0].id])
    assert deleted.meta["summary"]["deleted"] == 1
    rules.session.close()


def test_tweepy_sees_a_clean_close(sim, listen):
    """`on_closed`."""
    listener = listen(sim)
    eventually(lambda: sim.call(sim.simulator.streams.live))
    sim.fault("clean_close")
    eventually(lambda: listener.closes)

    assert listener.connects == 1


def test_tweepy_sees_in_stream_errors(sim, listen):
    """`on_errors`, then the close."""
    listener = listen(sim)
    eventually(lambda: sim.call(sim.simulator.streams.live))
    sim.fault("disconnect")
    eventually(lambda: listener.closes)

    assert listener.errors[0][0]["disconnect_type"] == "UpstreamOperationalDisconnect"


@pytest.mark.parametrize("variant", ["no_tag", "no_name", "no_fraction"])
def test_hostile_payloads_end_tweepys_stream(sim, listen, variant):
    """What section 13 of the reference measured: its default reader raises and stops."""
    listener = listen(sim, tweet_fields=["created_at"], expansions=["author_id"])
    eventually(lambda: sim.call(sim.simulator.streams.live))
    sim.fault("hostile", variant=variant)
    sim.emit_post("#python")
    eventually(lambda: listener.exceptions)

    expected = ValueError if variant == "no_fraction" else KeyError
    assert isinstance(listener.exceptions[0], expected)


@pytest.mark.parametrize(("fault", "status"), [("E429a", 429), ("E402", 402), ("E503b", 503), ("E401", 401)])
def test_tweepy_gets_the_status_of_a_refusal(sim, listen, fault, status):
    """`on_request_error`."""
    sim.fault(fault)
    listener = listen(sim)
    # tweepy waits 5 s or more after an error before it sees the disconnect.
    listener.http_error_wait = listener.http_420_error_wait_start = listener.http_error_wait_start = 0
    eventually(lambda: listener.statuses == [status])


def test_tweepys_client_searches_and_counts(start):
    """Search with its paginator, counts, over the same posts."""
    clock = ManualClock(time=1_795_500_000)
    sim = start(clock=clock)
    for number in range(35):
        sim.emit_post(f"#python number {number}")
    clock.advance(31)
    client = tweepy.Client(sim.settings.token)
    client.session.mount(HOST, Rewriting(sim.url))
    found = list(tweepy.Paginator(client.search_recent_tweets, "#python", max_results=10).flatten())
    counted = client.get_recent_tweets_count("#python", granularity="day")

    assert [tweet.text for tweet in found] == [f"#python number {number}" for number in range(34, -1, -1)]
    assert counted.meta["total_tweet_count"] == 35
    with pytest.raises(tweepy.BadRequest):
        client.search_recent_tweets("filter:x")
    client.session.close()


def test_a_token_for_tweepy_comes_from_key_and_secret(sim):
    """The exchange gives what `StreamingClient` takes, as it is."""
    answer = requests.post(
        f"{sim.url}/oauth2/token",
        auth=("simulated-key", "simulated-secret"),
        data={"grant_type": "client_credentials"},
        timeout=30,
    )
    client = tweepy.StreamingClient(answer.json()["access_token"])
    client.session.mount(HOST, Rewriting(sim.url))

    assert len(client.get_rules().data) == 1
    client.session.close()


def test_tweepy_reads_lines_of_any_length(start, listen):
    """A long line and a short one; nothing between them is lost."""
    sim = start(rules=(("#python", "py"),), keepalive_s=0.2)
    listener = listen(sim)
    eventually(lambda: sim.call(sim.simulator.streams.live))
    sim.emit_post("#python " + "word " * 50_000)
    sim.emit_post("#python short")
    eventually(lambda: len(listener.tweets) == 2)

    assert len(listener.tweets[0].text) > 250_000
    assert listener.tweets[1].text == "#python short"
