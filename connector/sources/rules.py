"""
Which rules should X hold, and what is to be done about the difference?

Rules belong to the app, not to a connection: those of other connectors, of other programs and of earlier runs are
there too, and they deliver (and cost) until somebody deletes them.  Ours are those whose tag begins with
`<connector name>/`; no other rule is ever changed.

X knows a rule by its value and holds each value once.  Hence two special cases:

* One of our rules has the right value and the wrong tag: tags cannot be changed, so it is deleted and added again.
* Somebody else holds the value, under a tag of his: it cannot be added (DuplicateRule).  It counts as present, because
  X delivers its posts to every connection of the app, and is reported as *held elsewhere*: should the other one delete
  it, we lose it, and its posts show his tag.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from connector.errors import InvalidRequest
from connector.sources.api import HTTP_UNPROCESSABLE, Api, error_messages

RULES_PATH = "/2/tweets/search/stream/rules"

RULES_PER_PAGE = 1000
"""The most, and the default, of one page (OpenAPI 2.167)."""

RULES_PER_CALL = 100
"""
Rules in one POST.  X does not say how many it takes; 100 of the longest are half a megabyte, and the 1,000 rules of
pay-per-use are 10 of the 100 POSTs that X allows in 15 minutes (docs.x.com: rate-limits).
"""

DUPLICATE = "DuplicateRule"
CAP_EXCEEDED = "RulesCapExceeded"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule as X has it; *id* is empty for one that it is to have.  A rule without a tag has the tag `""`."""

    value: str
    tag: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """
    What makes X hold what is wanted, or what was done for it.

    A value in *add* may also be in *delete*, under another tag: then the deletion must come first.
    """

    add: tuple[Rule, ...] = ()
    delete: tuple[Rule, ...] = ()
    held_elsewhere: tuple[str, ...] = ()
    """Values that are wanted, and held under somebody else's tag."""
    held: tuple[Rule, ...] = ()
    """All that X holds once this is done, ours and others'; `apply` says it."""

    def __bool__(self) -> bool:
        """Whether there is something to do."""
        return bool(self.add or self.delete)


def difference(held: Iterable[Rule], wanted: Mapping[str, str], name: str) -> RuleChange:
    """
    Return how X's rules *held* become those that connector *name* wants: a mapping of value to label.

    The tag of a rule is `<name>/<label>`.  Pure.
    """
    prefix = f"{name}/"
    ours: dict[str, Rule] = {}
    foreign: set[str] = set()
    for rule in held:
        if rule.tag.startswith(prefix):
            ours[rule.value] = rule
        else:
            foreign.add(rule.value)
    add: list[Rule] = []
    delete = [rule for value, rule in ours.items() if value not in wanted]
    for value, label in wanted.items():
        tag = prefix + label
        if (present := ours.get(value)) is None:
            if value not in foreign:
                add.append(Rule(value=value, tag=tag))
        elif present.tag != tag:
            delete.append(present)
            add.append(Rule(value=value, tag=tag))
    elsewhere = tuple(value for value in wanted if value in foreign and value not in ours)
    return RuleChange(add=tuple(add), delete=tuple(delete), held_elsewhere=elsewhere)


def held_rules(api: Api) -> list[Rule]:
    """
    Return all rules that X holds for this app, ours and others'.

    Raises:
        ConnectorError: as `Api.get`.
    """
    rules: list[Rule] = []
    page: dict[str, Any] = {"max_results": RULES_PER_PAGE}
    while True:
        answer = api.get(RULES_PATH, page)
        # X leaves `tag` out for a rule that has none; a rule without a value or an id is none that we could name
        rules += [
            Rule(value=entry["value"], tag=str(entry.get("tag") or ""), id=str(entry["id"]))
            for entry in _entries(answer, "data")
            if isinstance(entry.get("value"), str) and entry.get("id")
        ]
        meta = answer.get("meta")
        token = meta.get("next_token") if isinstance(meta, dict) else None
        if not token:
            return rules
        page["pagination_token"] = token


def apply(
    api: Api, wanted: Mapping[str, str], name: str, *, room: Callable[[], int | None] = lambda: None
) -> RuleChange:
    """
    Make X hold the rules *wanted* of connector *name* (value to label), and return what was changed for that.

    New rules are added before old ones are deleted, so that a change of the rules loses no post in between.  Only if X
    has no *room* for both (asked where it matters; None: unknown), or says so, it is the other way round.  What X
    created before an error stays, and the next call goes on from there.

    Raises:
        InvalidRequest: X refuses rules; the message names all of them with X's words.  Nothing was deleted then,
            unless for want of room.
        ConnectorError: as `Api.get`.
    """
    return _Application(api, name).run(wanted, room)


@dataclass(slots=True)
class _Application:
    """One run of `apply`: what X said so far."""

    api: Api
    name: str
    created: list[Rule] = field(default_factory=list)
    duplicates: dict[str, str] = field(default_factory=dict)
    """Value of a rule that X refused as a duplicate, and the id of the rule that it duplicates."""

    def run(self, wanted: Mapping[str, str], room: Callable[[], int | None]) -> RuleChange:
        held = held_rules(self.api)
        change = difference(held, wanted, self.name)
        if not change:
            return replace(change, held=tuple(held))
        outdated = {rule.value for rule in change.delete}
        fresh = [rule for rule in change.add if rule.value not in outdated]
        later = [rule for rule in change.add if rule.value in outdated]
        deleted = False
        if fresh and change.delete and (free := room()) is not None and len(fresh) > free:
            deleted = self._delete(change.delete)
        try:
            self._add(fresh)
        except InvalidRequest as error:
            if deleted or not change.delete or not _is_cap(error):
                raise
            deleted = self._delete(change.delete)
            self._add([rule for rule in fresh if rule not in self.created])
        if not deleted:
            self._delete(change.delete)
        # X may find a value equal to an outdated one of ours that differs in letters: it is gone now
        gone = {rule.id for rule in change.delete}
        later += [rule for rule in fresh if self.duplicates.get(rule.value) in gone]
        for rule in later:
            self.duplicates.pop(rule.value, None)
        self._add(later)
        held = held_rules(self.api)
        return RuleChange(
            add=tuple(self.created),
            delete=change.delete,
            held_elsewhere=(*change.held_elsewhere, *self._duplicates_of_others(held)),
            held=tuple(held),
        )

    def _add(self, rules: Sequence[Rule]) -> None:
        refused: list[str] = []
        for batch in _batches(rules, RULES_PER_CALL):
            answer = self.api.post(RULES_PATH, {"add": [{"value": rule.value, "tag": rule.tag} for rule in batch]})
            # 200 and 201 do not mean that a rule exists: valid ones are created, the others are in `errors`
            unheard = {rule.value: rule for rule in batch}
            for error in _entries(answer, "errors"):
                rule = unheard.pop(str(error.get("value")), None)
                if error.get("title") == DUPLICATE and rule is not None:
                    self.duplicates[rule.value] = str(error.get("id") or "")
                else:
                    refused.append(_refusal(error))
            stored = {str(entry.get("value")) for entry in _entries(answer, "data")}
            self.created += [rule for value, rule in unheard.items() if value in stored]
            if not refused and (missing := unheard.keys() - stored):
                refused += [f"{value!r}: X did not create it and did not say why" for value in sorted(missing)]
        if refused:
            raise InvalidRequest(
                f"X refuses {len(refused)} rule(s): correct hashtags, rules or rules.file.  " + ".  ".join(refused),
                title="UnprocessableEntity",
                detail=".  ".join(refused),
            )

    def _delete(self, rules: Sequence[Rule]) -> bool:
        unsure: list[str] = []
        for batch in _batches(rules, RULES_PER_CALL):
            answer = self.api.post(RULES_PATH, {"delete": {"ids": [rule.id for rule in batch]}})
            unsure += [_refusal(error) for error in _entries(answer, "errors")]
        if unsure:
            # mostly "Rule does not exist", which is what we want; so look, instead of reading prose
            left = {rule.id for rule in held_rules(self.api)} & {rule.id for rule in rules}
            if left:
                raise InvalidRequest(
                    f"X does not delete {len(left)} rule(s) ({'.  '.join(unsure)}): delete them in its console",
                    detail=".  ".join(unsure),
                )
        return True

    def _duplicates_of_others(self, held: Sequence[Rule]) -> tuple[str, ...]:
        # somebody else added it just now; or another worker of ours, which is as good as we
        prefix = f"{self.name}/"
        ours = {rule.id for rule in held if rule.tag.startswith(prefix)}
        return tuple(value for value, rule_id in self.duplicates.items() if rule_id not in ours)


def _is_cap(error: InvalidRequest) -> bool:
    # X's status for it is not documented, its title is
    return error.title == CAP_EXCEEDED or error.status == HTTP_UNPROCESSABLE


def _refusal(error: Mapping[str, Any]) -> str:
    words = "; ".join(error_messages(error)) or str(error.get("detail") or error.get("title") or "no reason given")
    value = error.get("value")
    return f"{value!r}: {words}" if isinstance(value, str) else words


def _entries(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    listed = answer.get(key)
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
