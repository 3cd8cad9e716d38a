"""The rules that the account holds, and X's answers to calls about rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connector.simulator.clock import Clock, rfc3339
from connector.simulator.http.problems import (
    Problem,
    Refused,
    bad_value,
    invalid_request,
)
from connector.simulator.rules.grammar import InvalidRule, parse
from connector.simulator.rules.matching import RuleIndex
from connector.simulator.snowflakes import Snowflakes
from connector.simulator.tokens import decode_page, encode_page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from connector.simulator.rules.tree import Node
    from connector.simulator.settings import SimulatorSettings

MAX_IDS = 1000
PAGE_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rule:
    """A rule of the account; posts are matched with the rule from `active_at` on."""

    id: int
    value: str
    tag: str | None
    node: Node
    active_at: float

    def added(self) -> dict[str, str]:
        """Return the rule in the key order of an add answer."""
        tag = {} if self.tag is None else {"tag": self.tag}
        return {"value": self.value, **tag, "id": str(self.id)}

    def listed(self) -> dict[str, str]:
        """Return the rule in the key order of a get answer."""
        tag = {} if self.tag is None else {"tag": self.tag}
        return {"id": str(self.id), "value": self.value, **tag}

    def matching(self) -> dict[str, str]:
        """Return the rule as in the lines of a stream, where a missing tag is an empty tag."""
        return {"id": str(self.id), "tag": self.tag or ""}


@dataclass(slots=True, kw_only=True)
class Refusal:
    """A fault: X refuses the next *count* rules, with these details."""

    count: int
    details: list[str]


def _schema_mismatch(part: str) -> Refused:
    return Refused(invalid_request({"parameters": {part: []}, "message": "JSON doesn't match expected schema"}))


class RuleStore:
    """The rules of the account; a change acts on open connections, without a reconnect."""

    def __init__(self, settings: SimulatorSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._ids = Snowflakes(place=11 << 5 | 6)
        self._rules: dict[str, Rule] = {}
        self._index: RuleIndex[Rule] | None = None
        self._index_until = 0.0
        self.refusal: Refusal | None = None
        for value, tag in settings.rules:
            self._store(self._make(value, tag, delay=0))

    # For the streams.

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(list(self._rules.values()))

    def active(self) -> list[Rule]:
        """Return the rules in force now."""
        now = self._clock.now()
        return [rule for rule in self._rules.values() if rule.active_at <= now]

    @property
    def index(self) -> RuleIndex[Rule]:
        """Return the rules in force, ready to be matched."""
        now = self._clock.now()
        if self._index is None or now >= self._index_until:
            self._index = RuleIndex((rule, rule.node) for rule in self.active())
            waiting = [r.active_at for r in self._rules.values() if r.active_at > now]
            self._index_until = min(waiting, default=float("inf"))
        return self._index

    # For tests: what the API does, without HTTP.

    def add(self, value: str, tag: str | None = None) -> Rule:
        """
        Add a rule.

        Raises:
            InvalidRule: X would refuse it.
        """
        rule = self._make(value, tag, delay=self._settings.rule_delay_s)
        self._store(rule)
        return rule

    def clear(self) -> int:
        """Delete all rules; return how many there were."""
        count = len(self._rules)
        self._rules.clear()
        self._index = None
        return count

    # The three calls of the API.

    def post(self, body: Any, *, dry_run: bool, delete_all: bool) -> tuple[int, dict[str, Any]]:
        """
        Answer an add or a delete with a status and a body.

        Raises:
            Refused: the body has none of the accepted forms, or the account would have too many rules.
        """
        if delete_all:
            return 200, self._deleted(len(self._rules) if dry_run else self.clear(), [])
        if not isinstance(body, dict) or len(body) != 1:
            raise _schema_mismatch("add")
        if isinstance(body.get("add"), list):
            return self._add(body["add"], dry_run=dry_run)
        if "delete" in body:
            return 200, self._delete(body["delete"], dry_run=dry_run)
        raise _schema_mismatch("add")

    def get(self, *, ids: str | None, max_results: str | None, page: str | None) -> dict[str, Any]:
        """
        Answer a listing of rules.

        Raises:
            Refused: a parameter is wrong.
        """
        size = MAX_IDS if max_results is None else _in_range(max_results)
        rules = list(self._rules.values())
        if ids is not None:
            wanted = set(ids.split(","))
            rules = [rule for rule in rules if str(rule.id) in wanted]
        if page is not None:
            after = decode_page(page, "rules", length=PAGE_TOKEN_LENGTH)
            if after is None:
                raise bad_value("pagination_token", page, "is not valid")
            rules = [rule for rule in rules if rule.id > after]
        shown = rules[:size]
        meta: dict[str, Any] = {"sent": self._sent(), "result_count": len(shown)}
        if len(rules) > size:
            meta["next_token"] = encode_page(shown[-1].id, "rules", length=PAGE_TOKEN_LENGTH)
        data = {"data": [rule.listed() for rule in shown]} if shown else {}
        return {**data, "meta": meta}

    def counts(self) -> dict[str, Any]:
        """Answer the counts; X writes the caps as strings."""
        cap = str(self._settings.profile.rules)
        client = {
            "client_app_id": self._settings.client_id,
            "rule_count": len(self._rules),
        }
        return {
            "data": {
                "all_project_client_apps": [client],
                "cap_per_client_app": cap,
                "cap_per_project": cap,
                "client_app_rules_count": client,
                "project_rules_count": str(len(self._rules)),
            }
        }

    # Inside.

    def _sent(self) -> str:
        return rfc3339(self._clock.now())

    def _make(self, value: str, tag: str | None, *, delay: float) -> Rule:
        now = self._clock.now()
        return Rule(
            id=self._ids.take(int(now * 1000)),
            value=value,
            tag=tag,
            node=parse(value, max_length=self._settings.profile.rule_length),
            active_at=now + delay,
        )

    def _store(self, rule: Rule) -> None:
        self._rules[rule.value] = rule
        self._index = None

    def _add(self, entries: list[Any], *, dry_run: bool) -> tuple[int, dict[str, Any]]:
        made: dict[str, Rule] = {}
        errors: list[dict[str, Any]] = []
        duplicates = 0
        for entry in entries:
            value, tag = self._entry(entry)
            known = self._rules.get(value) or made.get(value)
            if known is not None:
                duplicates += 1
                errors.append(_duplicate(known))
                continue
            try:
                self._refuse()
                made[value] = self._make(value, tag, delay=self._settings.rule_delay_s)
            except InvalidRule as error:
                errors.append(_invalid(value, error.details))
        if len(self._rules) + len(made) > self._settings.profile.rules:
            raise Refused(self._cap_exceeded())
        if not dry_run:
            for rule in made.values():
                self._store(rule)
        meta = {
            "sent": self._sent(),
            "summary": {
                "created": 0 if dry_run else len(made),
                "not_created": len(errors),
                "valid": len(made),
                "invalid": len(errors),
            },
        }
        answer: dict[str, Any] = {"meta": meta}
        if made:
            answer = {"data": [rule.added() for rule in made.values()], **answer}
        if errors:
            answer["errors"] = errors
        return (201 if made or duplicates else 200), answer

    def _entry(self, entry: Any) -> tuple[str, str | None]:
        if not isinstance(entry, dict) or not entry.keys() <= {"value", "tag"}:
            raise _schema_mismatch("add")
        value, tag = entry.get("value"), entry.get("tag")
        if not isinstance(value, str) or not isinstance(tag, str | None):
            raise _schema_mismatch("add")
        return value, tag

    def _refuse(self) -> None:
        if self.refusal is None:
            return
        refusal = self.refusal
        refusal.count -= 1
        if refusal.count <= 0:
            self.refusal = None
        raise InvalidRule(refusal.details)

    def _cap_exceeded(self) -> Problem:
        cap = self._settings.profile.rules
        return Problem(
            status=self._settings.rules_cap_status,
            body={
                "title": "RulesCapExceeded",
                "detail": f"The cap of {cap} rules would be exceeded.",
                "type": "https://{host}/2/problems/rule-cap",
            },
        )

    def _delete(self, body: Any, *, dry_run: bool) -> dict[str, Any]:
        if not isinstance(body, dict) or len(body) != 1:
            raise _schema_mismatch("delete")
        (by, wanted), *_ = body.items()
        if by not in ("ids", "values") or not isinstance(wanted, list):
            raise _schema_mismatch("delete")
        found, unknown = [], []
        by_id = {str(rule.id): rule for rule in self._rules.values()}
        known = by_id if by == "ids" else self._rules
        for name in map(str, wanted):
            if name in known:
                found.append(known[name])
            else:
                unknown.append(name)
        if not dry_run:
            for rule in found:
                self._rules.pop(rule.value, None)
            self._index = None
        return self._deleted(len(found), unknown)

    def _deleted(self, count: int, unknown: list[str]) -> dict[str, Any]:
        errors = [
            {
                "errors": [{"parameters": {}, "message": "Rule does not exist"}],
                "title": "Invalid Request",
                "detail": "One or more parameters to your request was invalid.",
                "type": "https://{host}/2/problems/invalid-request",
            }
            for _ in unknown
        ]
        meta = {
            "sent": self._sent(),
            "summary": {"deleted": count, "not_deleted": len(unknown)},
        }
        return {**({"errors": errors} if errors else {}), "meta": meta}


def _duplicate(rule: Rule) -> dict[str, Any]:
    return {
        "value": rule.value,
        "id": str(rule.id),
        "title": "DuplicateRule",
        "type": "https://{host}/2/problems/duplicate-rules",
    }


def _invalid(value: str, details: list[str]) -> dict[str, Any]:
    return {
        "value": value,
        "details": details,
        "title": "UnprocessableEntity",
        "type": "https://{host}/2/problems/invalid-rules",
    }


def _in_range(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_IDS:
        raise bad_value("max_results", text, f"is not between 1 and {MAX_IDS}")
    return int(text)
