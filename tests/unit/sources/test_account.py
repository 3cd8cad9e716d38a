import pytest

from connector.errors import RateLimited, TokenRejected
from connector.sources.rest.account import Account, HeldConnection, RuleCounts, Usage, find_own
from connector.sources.rest.api import Api
from connector.sources.rest.credentials import BearerToken

from .scripted import ScriptedServer, answer

AT = 1_772_445_600.0  # 2026-03-02T10:00:00Z


def entry(number, *, at="2026-03-02T10:00:00Z", endpoint="filtered_stream"):
    return {"connected_at": at, "endpoint_name": endpoint, "client_ip": "192.0.2.10", "id": f"id-{number}"}


def ask(script, question, said=None):
    unavailable = (lambda feature, reason: said.append((feature, reason))) if said is not None else None
    with ScriptedServer(script) as server, Api(server.url, BearerToken("t")) as api:
        account = Account(api, *filter(None, [unavailable]))
        return question(account), server.requests


def test_connections_are_listed_over_all_pages():
    """Only those of the endpoint; an entry without a time cannot be told apart and is left out."""
    script = [
        answer(200, {"data": [entry(1), {"id": "broken"}], "meta": {"next_token": "more"}}),
        answer(200, {"data": [entry(2), entry(3, endpoint="sample_stream")], "meta": {"result_count": 2}}),
    ]

    held, requests = ask(script, lambda account: account.connections("filtered_stream"))

    assert ["id-1", "id-2"] == [connection.id for connection in held]
    assert AT == held[0].connected_at
    assert "endpoints=filtered_stream" in requests[0].path
    assert "pagination_token=more" in requests[1].path


def test_where_a_connection_was_opened():
    """X is asked for it by who wants to know; a text that is no address is left out."""
    strange = {**entry(2), "client_ip": "\x1b[2J"}
    script = [answer(200, {"data": [entry(1), strange]}), answer(200, {"data": [{**entry(1), "client_ip": None}]})]

    def both(account):
        return account.connections("filtered_stream", addresses=True), account.connections("filtered_stream")

    (known, untold), requests = ask(script, both)
    assert ["192.0.2.10", "", ""] == [connection.address for connection in [*known, *untold]]
    assert ["client_ip" in request.path for request in requests] == [True, False]


def test_no_connections_are_an_empty_list():
    """X leaves `data` out."""
    assert [] == ask([answer(200, {"meta": {"result_count": 0}})], lambda account: account.connections("x"))[0]


@pytest.mark.parametrize("status", [400, 403, 404])
@pytest.mark.parametrize(
    "question",
    [
        lambda account: account.connections("filtered_stream"),
        lambda account: account.end(["1"]),
        lambda account: account.rule_counts(),
        lambda account: account.usage(),
    ],
)
def test_an_endpoint_that_x_lacks_costs_only_its_feature(status, question):
    """None, and a reason for the log."""
    said = []

    assert ask([answer(status)], question, said)[0] is None
    assert 1 == len(said)


@pytest.mark.parametrize(("status", "kind"), [(401, TokenRejected), (429, RateLimited)])
def test_other_refusals_pass(status, kind):
    """A refused token is not a missing feature."""
    with pytest.raises(kind):
        ask([answer(status)], lambda account: account.connections("filtered_stream"))


def test_connections_are_ended_by_id():
    """In calls of at most a hundred; what X says it ended counts."""
    script = [answer(200, {"data": {"successful_kills": kills, "failed_kills": 0}}) for kills in (100, 19)]

    ended, requests = ask(script, lambda account: account.end([f"id-{number:03}" for number in range(120)]))

    assert 119 == ended
    assert [100, 20] == [len(request.json["uuids"]) for request in requests]
    assert {"DELETE"} == {request.method for request in requests}


@pytest.mark.parametrize("number", [str, int])
def test_rule_counts_are_strings_or_numbers(number):
    """OpenAPI 2.167 and 2.166 differ."""
    data = {
        "all_project_client_apps": [],
        "cap_per_client_app": number(1000),
        "cap_per_project": number(20),
        "client_app_rules_count": {"client_app_id": "1", "rule_count": 2},
        "project_rules_count": number(5),
    }

    counts = ask([answer(200, {"data": data})], lambda account: account.rule_counts())[0]

    assert RuleCounts(app_rules=2, app_cap=1000, project_rules=5, project_cap=20) == counts
    assert 15 == counts.room


def test_room_is_what_is_known():
    """Nothing known is None, more than allowed is none."""
    assert None is RuleCounts(app_rules=None, app_cap=5, project_rules=1, project_cap=None).room
    assert 0 == RuleCounts(app_rules=7, app_cap=5, project_rules=None, project_cap=None).room
    assert None is ask([answer(200, {})], lambda account: account.rule_counts())[0].room


def test_usage_is_read():
    """Numbers come as strings."""
    data = {"cap_reset_day": 28, "project_cap": "3000000", "project_usage": "11174", "project_id": "1"}

    assert (
        Usage(posts=11174, cap=3000000, days_left=28)
        == ask([answer(200, {"data": data})], lambda account: account.usage())[0]
    )


def held(*times):
    return [HeldConnection(id=f"{time}", endpoint="filtered_stream", connected_at=time) for time in times]


def test_our_connection_is_the_only_one_of_that_moment():
    """Within 2 s; two candidates, or none, are no answer."""
    assert "100.0" == find_own(held(100.0, 50.0), 102.0)
    assert None is find_own(held(100.0, 103.0), 101.5)
    assert None is find_own(held(100.0), 102.5)
    assert None is find_own([], 102.5)
