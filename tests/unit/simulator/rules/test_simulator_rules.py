"""Rules over HTTP, answered as recorded."""

import re

import pytest
from simulator_clients import RULES, Client

SENT = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def client(start):
    return Client(start())


def summary(answer):
    return answer.json()["meta"]["summary"]


def test_a_rule_is_added_and_listed(client):
    """201; value, tag, id on add and id, value, tag on get; GET omits a tag that is not there."""
    added = client.post(RULES, {"add": [{"value": "cat has:images", "tag": "synthetic rule"}, {"value": "dog"}]})
    listed = client.get(RULES)

    assert added.status_code == 201
    body = added.json()
    assert list(body) == ["data", "meta"]
    assert [list(rule) for rule in body["data"]] == [["value", "tag", "id"], ["value", "id"]]
    assert body["meta"]["summary"] == {"created": 2, "not_created": 0, "valid": 2, "invalid": 0}
    assert SENT.fullmatch(body["meta"]["sent"])
    assert listed.status_code == 200
    assert [list(rule) for rule in listed.json()["data"]] == [["id", "value", "tag"], ["id", "value"]]
    assert listed.json()["meta"]["result_count"] == 2


def test_no_rules_is_no_data(client):
    """An empty listing has no `data` and a count of 0."""
    body = client.get(RULES).json()

    assert list(body) == ["meta"]
    assert body["meta"]["result_count"] == 0


def test_a_duplicate_names_the_rule_there_is(client):
    """201, no data, the id of the existing rule to converge on."""
    (rule,) = client.post(RULES, {"add": [{"value": "cat"}]}).json()["data"]
    answer = client.post(RULES, {"add": [{"value": "cat", "tag": "other"}]})

    assert answer.status_code == 201
    assert "data" not in answer.json()
    assert answer.json()["errors"] == [
        {
            "value": "cat",
            "id": rule["id"],
            "title": "DuplicateRule",
            "type": "https://api.twitter.com/2/problems/duplicate-rules",
        }
    ]
    assert summary(answer) == {"created": 0, "not_created": 1, "valid": 0, "invalid": 1}


def test_an_invalid_rule_is_a_200_with_details(client):
    """The recorded answer to `--b`."""
    answer = client.post(RULES, {"add": [{"value": "--b"}]})

    assert answer.status_code == 200
    assert answer.json()["errors"] == [
        {
            "value": "--b",
            "details": [
                "Rules must contain a non-negation term (at position 1)",
                "Rules must contain at least one positive, non-stopword clause (at position 1)",
            ],
            "title": "UnprocessableEntity",
            "type": "https://api.twitter.com/2/problems/invalid-rules",
        }
    ]
    assert summary(answer) == {"created": 0, "not_created": 1, "valid": 0, "invalid": 1}


def test_a_mixed_batch_creates_what_is_right(client):
    """The valid rules are there, the rest is reported in the same answer."""
    answer = client.post(RULES, {"add": [{"value": "cat"}, {"value": "cat"}, {"value": "filter:x"}]})

    assert answer.status_code == 201
    assert [rule["value"] for rule in answer.json()["data"]] == ["cat"]
    assert [error["title"] for error in answer.json()["errors"]] == ["DuplicateRule", "UnprocessableEntity"]
    assert summary(answer) == {"created": 1, "not_created": 2, "valid": 1, "invalid": 2}
    assert client.get(RULES).json()["meta"]["result_count"] == 1


def test_a_dry_run_validates_only(client):
    """Nothing is stored; what would be valid is counted."""
    answer = client.post(RULES, {"add": [{"value": "cat"}, {"value": "--b"}]}, dry_run="true")

    assert summary(answer) == {"created": 0, "not_created": 1, "valid": 1, "invalid": 1}
    assert client.get(RULES).json()["meta"]["result_count"] == 0


def test_rules_are_deleted_by_id_value_or_all(client):
    """Each form says how many went."""
    rules = client.post(RULES, {"add": [{"value": name} for name in "abcde"]}).json()["data"]

    by_id = client.post(RULES, {"delete": {"ids": [rules[0]["id"]]}})
    by_value = client.post(RULES, {"delete": {"values": ["b", "c"]}})
    everything = client.post(RULES, delete_all="true")

    assert summary(by_id) == {"deleted": 1, "not_deleted": 0}
    assert summary(by_value) == {"deleted": 2, "not_deleted": 0}
    assert summary(everything) == {"deleted": 2, "not_deleted": 0}
    assert client.get(RULES).json()["meta"]["result_count"] == 0


def test_an_unknown_id_is_reported_in_nested_errors(client):
    """200 with `errors[0].errors[]`."""
    answer = client.post(RULES, {"delete": {"ids": ["12345"]}})

    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["errors", "meta"]
    assert body["errors"][0]["errors"] == [{"parameters": {}, "message": "Rule does not exist"}]
    assert body["errors"][0]["type"].endswith("/2/problems/invalid-request")
    assert body["meta"]["summary"] == {"deleted": 0, "not_deleted": 1}


@pytest.mark.parametrize(
    "body",
    [{}, {"add": "cat"}, {"add": [{"tag": "no value"}]}, {"add": [], "delete": {}}, {"delete": {"ids": "1"}}, [1]],
)
def test_a_body_of_another_form_is_refused(client, body):
    """E400e: the JSON does not match the schema."""
    answer = client.post(RULES, body)

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["message"] == "JSON doesn't match expected schema"


def test_pages_of_rules_follow_each_other(client):
    """`max_results` and a token of 16 characters; no rule twice, none lost."""
    client.post(RULES, {"add": [{"value": f"word{n}"} for n in range(25)]})
    seen, token = [], None
    while True:
        page = client.get(RULES, max_results=10, **({"pagination_token": token} if token else {})).json()
        seen += [rule["value"] for rule in page["data"]]
        token = page["meta"].get("next_token")
        if token is None:
            break
        assert len(token) == 16

    assert seen == [f"word{n}" for n in range(25)]
    assert client.get(RULES, pagination_token="f" * 16).status_code == 400
    assert client.get(RULES, max_results=1001).status_code == 400


def test_rules_are_found_by_id(client):
    """`ids` picks rules out."""
    rules = client.post(RULES, {"add": [{"value": name} for name in "abc"]}).json()["data"]

    assert client.get(RULES, ids=f"{rules[0]['id']},{rules[2]['id']}").json()["data"] == [
        {"id": rules[0]["id"], "value": "a"},
        {"id": rules[2]["id"], "value": "c"},
    ]


def test_the_cap_refuses_the_whole_request(start):
    """RulesCapExceeded, the status by switch, and nothing of the batch stored."""
    for status in (422, 403):
        client = Client(start(rules_cap_status=status))
        client.post(RULES, {"add": [{"value": f"word{n}"} for n in range(999)]})
        refused = client.post(RULES, {"add": [{"value": "x"}, {"value": "y"}]})

        assert refused.status_code == status
        assert refused.json()["title"] == "RulesCapExceeded"
        assert refused.json()["type"] == "https://api.twitter.com/2/problems/rule-cap"
        assert client.get(RULES).json()["meta"]["result_count"] == 999


def test_length_follows_the_plan(start):
    """1,024 characters on pay-per-use, 2,048 on Enterprise."""
    rule = "x" * 1500
    ppu = Client(start()).post(RULES, {"add": [{"value": rule}]})
    enterprise = Client(start(plan="enterprise")).post(RULES, {"add": [{"value": rule}]})

    assert ppu.status_code == 200
    assert ppu.json()["errors"][0]["title"] == "UnprocessableEntity"
    assert enterprise.status_code == 201


def test_counts_say_what_is_held_and_allowed(client):
    """Caps and the project's count are strings."""
    client.post(RULES, {"add": [{"value": "cat"}, {"value": "dog"}]})

    assert client.get(f"{RULES}/counts").json() == {
        "data": {
            "all_project_client_apps": [{"client_app_id": "10000001", "rule_count": 2}],
            "cap_per_client_app": "1000",
            "cap_per_project": "1000",
            "client_app_rules_count": {"client_app_id": "10000001", "rule_count": 2},
            "project_rules_count": "2",
        }
    }


def test_the_host_of_problem_types_is_a_switch(start):
    """`problem_host` and `error_content_type` move as in 2026."""
    sim = start(problem_host="api.x.com", error_content_type="application/problem+json")
    answer = Client(sim).get("/2/tweets/search/stream")

    assert answer.json()["type"] == "https://api.x.com/2/problems/streaming-connection"
    assert answer.headers["content-type"] == "application/problem+json"
