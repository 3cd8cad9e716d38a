"""
Makes X hold the rules that the connectors of a stream want.

At X, rules belong to the app, not to a connection.  X also holds rules of other connectors, other programs and earlier
runs; they deliver posts (and cost money) until somebody deletes them.  A connector's rules are those whose tag begins
with `<connector name>/`; no rule of any other name is ever changed.

X identifies a rule by its value and holds each value once.  So there are two special cases:

* A rule of ours has the right value and the wrong tag.  X cannot change a tag, so the rule is deleted and added again.
* Another program holds the value, under its own tag.  X refuses to add the value (DuplicateRule).  The rule counts as
  present, because X delivers its posts to every connection of the app.  It is reported as *held elsewhere*: its posts
  show the other program's tag, and are missing if that program deletes the rule.

If several connectors want one value, X holds it under the tag of one of them, and its posts are for all of them.  When
that connector no longer wants the value, the rule is deleted and added again under the tag of another.

X may store a value in another form than we sent, for instance with other blanks.  The stored rule is recognised by its
tag, which no other rule of ours has, if the two forms differ only in blanks or the label is made from the value.
Otherwise the value is sent again, and X refuses it as a duplicate of the stored rule.
"""

import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, TypeVar

from connector.config.rules import HASH_LABEL, label_of
from connector.errors import AnswerTooLong, InvalidRequest, RulesRefused
from connector.sources.rest.api import HTTP_UNPROCESSABLE, Api, error_messages

RULES_PATH = "/2/tweets/search/stream/rules"

RULES_PER_PAGE = 1000
"""The most rules on one page, which is also X's default (OpenAPI 2.167)."""

RULES_PER_CALL = 100
"""
Rules in one POST.

X does not document a limit.  100 of the longest rules are half a megabyte; the 1,000 rules of pay-per-use take 10 of
the 100 POSTs that X allows in 15 minutes (docs.x.com: rate-limits).
"""

MAX_PAGES = 1_000
MAX_CHARACTERS = 64 * 1024 * 1024
"""
The most characters of all rules together.

Enterprise accounts have some 25,000 rules of 2,048 characters (docs.x.com: high-volume-capacity).
"""

DUPLICATE = "DuplicateRule"
CAP_EXCEEDED = "RulesCapExceeded"

_SEVERAL = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule at X, or to be added: then *id* is empty.  A rule without a tag has the tag `""`."""

    value: str
    tag: str
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """
    The additions and deletions after which X holds the wanted rules; from `apply`, those that were made.

    A value in *add* may also be in *delete*, under another tag; then the deletion must come first.
    """

    add: tuple[Rule, ...] = ()
    delete: tuple[Rule, ...] = ()
    held_elsewhere: tuple[str, ...] = ()
    """Wanted values that X holds under a tag of no connector of the stream."""
    held: tuple[Rule, ...] = ()
    """All rules that X holds after the change, ours and others'; only `apply` sets this."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """The tag under which each wanted value is held, unless it is held elsewhere."""
    same: Mapping[str, str] = field(default_factory=dict)
    """Wanted values that X takes for the value of another rule, and the id of that rule; only `apply` sets this."""

    def __bool__(self) -> bool:
        """Whether there is a rule to add or to delete."""
        return bool(self.add or self.delete)

    def without(self, values: Container[str]) -> "RuleChange":
        """Return the change that leaves rules alone which X holds and whose value is one of *values*."""
        kept = {rule.value for rule in self.delete if rule.value in values}
        return replace(
            self,
            add=tuple(rule for rule in self.add if rule.value not in kept),
            delete=tuple(rule for rule in self.delete if rule.value not in kept),
        )

    def held_for(self, name: str, wanted: Mapping[str, str]) -> tuple[Rule, ...]:
        """Return the rules at X whose posts are for connector *name*, which has *wanted* these values."""
        prefix = f"{name}/"
        values = {_normal(value) for value in wanted}
        tags = {self.tags[value] for value in wanted if value in self.tags}
        ids = {self.same[value] for value in wanted if value in self.same}
        return tuple(
            rule
            for rule in self.held
            if rule.tag.startswith(prefix) or rule.tag in tags or _normal(rule.value) in values or rule.id in ids
        )

    def added_again(self, wanted: "Wanted", before: "Wanted", held_before: Iterable[Rule] = ()) -> frozenset[str]:
        """
        Return the connectors for which a rule had to be added that X was to hold *before*: it was gone meanwhile.

        A rule that has another id than in *held_before* was added, too: by a call that failed afterwards, or by others.
        """
        ids = {rule.value: rule.id for rule in held_before}
        added = {rule.value for rule in self.held if ids.get(rule.value, rule.id) != rule.id}
        added.update(rule.value for rule in self.add)
        return frozenset(
            name for name, values in wanted.items() if not added.isdisjoint(values.keys() & before.get(name, {}).keys())
        )


Wanted = Mapping[str, Mapping[str, str]]
"""The rules that connectors want: by connector name, each value and its label.  All rules of a name without any go."""


def difference(held: Iterable[Rule], wanted: Mapping[str, str], name: str) -> RuleChange:
    """
    Return the change from the rules *held* to those that connector *name* wants.  Pure.

    *wanted* maps values to labels; the tag of a rule is `<name>/<label>`.
    """
    prefix = f"{name}/"
    ours: dict[str, Rule] = {}
    foreign: set[str] = set()
    for rule in held:
        if rule.tag.startswith(prefix):
            ours[rule.value] = rule
        else:
            foreign.add(rule.value)
    by_tag = {rule.tag: rule for rule in ours.values()}
    add: list[Rule] = []
    outdated = dict(ours)
    for value, label in wanted.items():
        tag = prefix + label
        present = ours.get(value)
        if present is None and (same := by_tag.get(tag)) and _is_stored_form(value, label, same.value):
            present = same
        if present is None:
            if value not in foreign:
                add.append(Rule(value=value, tag=tag))
        elif present.tag == tag:
            outdated.pop(present.value, None)
        else:
            add.append(Rule(value=value, tag=tag))
    elsewhere = tuple(value for value in wanted if value in foreign and value not in ours)
    # rules that are added again under another tag are deleted last, in the order of the additions
    again = {rule.value: outdated.pop(rule.value) for rule in add if rule.value in outdated}
    return RuleChange(add=tuple(add), delete=(*outdated.values(), *again.values()), held_elsewhere=elsewhere)


def differences(held: Sequence[Rule], wanted: Wanted) -> RuleChange:
    """
    Return the change from the rules *held* to those that the connectors of a stream want.  Pure.

    A value that several connectors want is added for the first of them, unless X holds it for one of them already.
    """
    prefixes = {name: f"{name}/" for name in wanted}
    present = {(rule.value, rule.tag) for rule in held}
    owners: dict[str, str] = {}
    for name, values in wanted.items():
        for value, label in values.items():
            if value not in owners or (value, prefixes[name] + label) in present:
                owners[value] = name
    changes = []
    for name, values in wanted.items():
        others = [prefix for other, prefix in prefixes.items() if other != name]
        seen = [rule for rule in held if not any(map(rule.tag.startswith, others))]
        own = {value: label for value, label in values.items() if owners[value] == name}
        changes.append(difference(seen, own, name))
    return RuleChange(
        add=tuple(chain.from_iterable(change.add for change in changes)),
        delete=tuple(chain.from_iterable(change.delete for change in changes)),
        held_elsewhere=tuple(chain.from_iterable(change.held_elsewhere for change in changes)),
        tags={value: prefixes[name] + wanted[name][value] for value, name in owners.items()},
    )


def _is_stored_form(value: str, label: str, stored: str) -> bool:
    return _normal(value) == _normal(stored) or (label == label_of(value) and label.startswith(HASH_LABEL))


def _normal(value: str) -> str:
    return " ".join(unicodedata.normalize("NFC", value).split())


def held_rules(api: Api) -> list[Rule]:
    """
    Return all rules that X holds for this app, ours and others'.

    Raises:
        ConnectorError: as `Api.get`.
    """
    rules: list[Rule] = []
    characters = 0
    page: dict[str, Any] = {"max_results": RULES_PER_PAGE}
    for _ in range(MAX_PAGES):
        answer = api.get(RULES_PATH, page)
        characters += sum(len(str(entry.get("value"))) for entry in _entries(answer, "data"))
        if characters > MAX_CHARACTERS:
            break
        # X leaves out `tag` for a rule without one; a rule without a value or an id cannot be used, and is skipped
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
    raise AnswerTooLong(f"X lists rules without end: {len(rules):,} came on pages that were read, and there are more")


def refusals(api: Api, change: RuleChange) -> tuple[str, ...]:
    """
    Let X check the additions of *change* without making them; return X's words on each that it would refuse.

    A rule that is deleted and added again is not checked, as X holds it.  Room for new rules is not checked if there
    are deletions, which make some.

    Raises:
        ConnectorError: as `Api.get`.
    """
    held = {rule.value for rule in change.delete}
    try:
        refused = try_out(api, [rule for rule in change.add if rule.value not in held])
    except InvalidRequest as error:
        return () if change.delete and _is_cap(error) else (str(error),)
    return tuple(each.words for each in refused)


def apply(
    api: Api,
    wanted: Wanted,
    *,
    room: Callable[[], int | None] = lambda: None,
    keep: Container[str] = frozenset(),
) -> RuleChange:
    """
    Make X hold the rules that the connectors of a stream want, and return what was changed.

    Rules whose values are in *keep* are not touched.

    New rules are added before old rules are deleted, so that no post is lost.  The order is reversed only if X has no
    room for both.  *room* returns how many more rules X accepts, None if unknown; it is called only if there are both
    additions and deletions.  Rules that X created before an error stay; the next call adds the rest.

    Raises:
        InvalidRequest: X refuses rules; the message names all of them with X's words.  No rule was deleted, unless X
            had no room for the new ones.  With several connectors it is `RulesRefused`, which names these.
        ConnectorError: as `Api.get`.
    """
    return _Application(api, wanted).run(room, keep)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRule:
    """A rule that X would refuse, and X's words; *rule* is None if X's answer does not tell which one."""

    rule: Rule | None
    words: str


def try_out(api: Api, rules: Sequence[Rule]) -> list[RefusedRule]:
    """
    Ask X which of *rules* it would refuse to add (docs.x.com: `dry_run`); no rule is added.

    A rule that X holds already is not refused.  Each hundred rules are one of the POSTs that X allows in 15 minutes.

    Raises:
        InvalidRequest: X refuses all of them, as it does if the account would have too many rules.
        ConnectorError: as `Api.get`; `NotAuthorized` if the account's plan has no filtered stream.
    """
    refused: list[RefusedRule] = []
    for batch in _batches(rules, RULES_PER_CALL):
        adding = [{"value": rule.value, "tag": rule.tag} for rule in batch]
        answer = api.post(RULES_PATH, {"add": adding}, params={"dry_run": "true"})
        told = assign(batch, _entries(answer, "data"), _entries(answer, "errors"))
        refused += [
            RefusedRule(rule=rule, words=_refusal(error))
            for rule, error in told.refused
            if error.get("title") != DUPLICATE
        ]
    return refused


@dataclass(slots=True)
class _Application:
    """One run of `apply`, with X's answers so far."""

    api: Api
    wanted: Wanted
    created: dict[Rule, Rule] = field(default_factory=dict)
    """Each rule that was sent and created, and the rule as X has stored it."""
    duplicates: dict[str, str] = field(default_factory=dict)
    """The value of each rule that X refused as a duplicate, and the id of the rule that X holds instead."""

    def run(self, room: Callable[[], int | None], keep: Container[str]) -> RuleChange:
        held = held_rules(self.api)
        change = differences(held, self.wanted).without(keep)
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
            # X refused new rules as duplicates of these: these are the wanted rules in another form, so they stay
            same = {
                rule.id
                for rule in change.delete
                if any(self.duplicates.get(one.value) == rule.id and one.tag == rule.tag for one in fresh)
            }
            change = replace(change, delete=tuple(rule for rule in change.delete if rule.id not in same))
            self.duplicates = {value: id_ for value, id_ in self.duplicates.items() if id_ not in same}
            self._delete(change.delete)
        # X may have refused a value as a duplicate of a rule that is deleted now: add the value again
        gone = {rule.id for rule in change.delete}
        later += [rule for rule in fresh if self.duplicates.get(rule.value) in gone]
        for rule in later:
            self.duplicates.pop(rule.value, None)
        self._add(later)
        held = held_rules(self.api)
        return RuleChange(
            add=tuple(self.created.values()),
            delete=change.delete,
            held_elsewhere=(*change.held_elsewhere, *self._duplicates_of_others(held)),
            held=tuple(held),
            tags=change.tags,
            same=dict(self.duplicates),
        )

    def _add(self, rules: Sequence[Rule]) -> None:
        refused: list[tuple[str, str]] = []
        """The tag and X's words; no tag if it is not known which rule they mean."""
        for batch in _batches(rules, RULES_PER_CALL):
            adding = [{"value": rule.value, "tag": rule.tag} for rule in batch]
            try:
                answer = self.api.post(RULES_PATH, {"add": adding})
            except InvalidRequest as invalid:
                if len(self.wanted) < _SEVERAL:
                    raise
                raise self._refusal(invalid, [(rule.tag, "") for rule in batch]) from invalid
            # 200 and 201 do not mean that every rule exists: X creates the valid ones, and lists the others in `errors`
            told = assign(batch, _entries(answer, "data"), _entries(answer, "errors"))
            for rule, entry in told.created:
                stored = entry.get("value")
                self.created[rule] = replace(
                    rule, id=str(entry.get("id") or ""), value=stored if isinstance(stored, str) else rule.value
                )
            for refused_rule, error in told.refused:
                if error.get("title") == DUPLICATE and refused_rule is not None:
                    self.duplicates[refused_rule.value] = str(error.get("id") or "")
                else:
                    refused.append(("" if refused_rule is None else refused_rule.tag, _refusal(error)))
            if not refused:
                missing = sorted(told.unheard, key=_value_of)
                refused += [(rule.tag, f"{rule.value!r}: X did not create it and did not say why") for rule in missing]
        if refused:
            words = ".  ".join(said for _, said in refused)
            refusal = InvalidRequest(
                f"X refuses {len(refused)} rule(s): correct hashtags, rules or rules.file.  {words}",
                title="UnprocessableEntity",
                detail=words,
            )
            raise self._refusal(refusal, refused)

    def _refusal(self, error: InvalidRequest, refused: Sequence[tuple[str, str]]) -> InvalidRequest:
        """Return *error*, or with several connectors one that names those whose rules were *refused* (tag, words)."""
        if len(self.wanted) < _SEVERAL:
            return error
        by_connector: dict[str, str] = {}
        for name, values in self.wanted.items():
            its = [said for tag, said in refused if tag.startswith(f"{name}/") or (not tag and values)]
            if its:
                by_connector[name] = ".  ".join(filter(None, its)) or str(error)
        return RulesRefused(
            str(error), by_connector=by_connector, title=error.title, detail=error.detail, status=error.status
        )

    def _delete(self, rules: Sequence[Rule]) -> bool:
        unsure: list[str] = []
        for batch in _batches(rules, RULES_PER_CALL):
            answer = self.api.post(RULES_PATH, {"delete": {"ids": [rule.id for rule in batch]}})
            unsure += [_refusal(error) for error in _entries(answer, "errors")]
        if unsure:
            # mostly "Rule does not exist", which is the goal; so ask which rules are left instead of reading X's words
            left = {rule.id for rule in held_rules(self.api)} & {rule.id for rule in rules}
            if left:
                raise InvalidRequest(
                    f"X does not delete {len(left)} rule(s) ({'.  '.join(unsure)}): delete them in its console",
                    detail=".  ".join(unsure),
                )
        return True

    def _duplicates_of_others(self, held: Sequence[Rule]) -> tuple[str, ...]:
        # another program has just added the value; if another worker of this connector has, the rule is ours
        prefixes = tuple(f"{name}/" for name in self.wanted)
        ours = {rule.id for rule in held if rule.tag.startswith(prefixes)}
        return tuple(value for value, rule_id in self.duplicates.items() if rule_id not in ours)


Entry = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What X answered about each rule of an addition; a refusal has None for a rule if its rule is unknown."""

    created: Sequence[tuple[Rule, Entry]]
    refused: Sequence[tuple[Rule | None, Entry]]
    unheard: Sequence[Rule]


def assign(rules: Sequence[Rule], data: Sequence[Entry], errors: Sequence[Entry]) -> Told:
    """
    Assign each entry of *data* (created) and of *errors* (refused) to one of *rules*.  Pure.

    An entry is assigned by its value, else by its tag, else by its value without regard to blanks.  If then only *data*
    or only *errors* has entries left, as many as there are rules left, they are assigned in order.
    """
    left = list(rules)
    created: list[tuple[Rule, Entry]] = []
    refused: list[tuple[Rule | None, Entry]] = []
    open_data, open_errors = list(data), list(errors)
    keys: tuple[Callable[[Any], object], ...] = (_value, _tag, _normal_value)
    for key in keys:
        by_key = {key(rule): rule for rule in left if key(rule)}
        for entries, found in ((open_data, created), (open_errors, refused)):
            for entry in tuple(entries):
                if (word := key(entry)) and (rule := by_key.pop(word, None)):
                    left.remove(rule)
                    entries.remove(entry)
                    found.append((rule, entry))
    for entries, others, found in ((open_data, open_errors, created), (open_errors, open_data, refused)):
        if not others and len(entries) == len(left):
            found.extend(zip(left, entries, strict=True))
            left, entries[:] = [], []
    return Told(created=created, refused=[*refused, *((None, error) for error in open_errors)], unheard=left)


def _value_of(rule: Rule) -> str:
    return rule.value


def _value(of: Rule | Entry) -> object:
    return of.value if isinstance(of, Rule) else _text(of.get("value"))


def _tag(of: Rule | Entry) -> object:
    return of.tag if isinstance(of, Rule) else _text(of.get("tag"))


def _normal_value(of: Rule | Entry) -> object:
    return _normal(str(_value(of) or ""))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_cap(error: InvalidRequest) -> bool:
    # the title is documented, the status is not
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
