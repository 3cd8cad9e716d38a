import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.rules import label_of
from connector.errors import InvalidRequest, RateLimited, RulesRefused
from connector.sources.rest import rules
from connector.sources.rest.rules import Rule, assign, difference

NAME = "posts"
values = st.sampled_from(["#a", "#b", "#c", "#d", "cat has:images"])
labels = st.sampled_from(["a", "b", "c"])
tags = st.sampled_from(["posts/a", "posts/b", "posts/c", "posts", "posts2/a", "other", ""])


class RuleStore:
    """X's rules behind the methods of `Api`: it identifies a rule by its value, and has a cap."""

    def __init__(self, held=(), *, cap=1000, page=2, invalid=(), same=lambda value: value):
        self.rules = {}
        self.cap, self.page, self.invalid, self.same = cap, page, invalid, same
        self.posts = []
        self.next_id = 1
        for value, tag in held:
            self._store(value, tag)

    def _store(self, value, tag):
        rule = {"id": str(self.next_id), "value": value}
        if tag:
            rule["tag"] = tag
        self.rules[rule["id"]] = rule
        self.next_id += 1
        return rule

    @property
    def held(self):
        return {(rule["value"], rule.get("tag", "")) for rule in self.rules.values()}

    def get(self, path, params):
        assert path == rules.RULES_PATH
        start = int(params.get("pagination_token", 0))
        listed = list(self.rules.values())
        meta = {"sent": "2026-11-01T00:00:00.000Z"}
        if start + self.page < len(listed):
            meta["next_token"] = str(start + self.page)
        return {"data": listed[start : start + self.page], "meta": meta} if listed else {"meta": meta}

    def post(self, path, json, params=None):
        self.posts.append(json)
        if params:
            assert {"dry_run": "true"} == params
            tried = copy.deepcopy(self)
            return tried.post(path, json)
        return self._add(json["add"]) if "add" in json else self._delete(json["delete"]["ids"])

    def _add(self, asked):
        if len(self.rules) + len(asked) > self.cap:
            raise InvalidRequest("cap", title="RulesCapExceeded", status=422)
        data, errors = [], []
        for rule in asked:
            known = {self.same(held["value"]): held["id"] for held in self.rules.values()}
            if rule["value"] in self.invalid:
                words = ["Rules must contain a non-negation term (at position 1)"]
                errors.append({"value": rule["value"], "details": words, "title": "UnprocessableEntity"})
            elif self.same(rule["value"]) in known:
                held_id = known[self.same(rule["value"])]
                errors.append({"value": rule["value"], "id": held_id, "title": "DuplicateRule"})
            else:
                data.append(self._store(rule["value"], rule["tag"]))
        return {key: found for key, found in (("data", data), ("errors", errors)) if found}

    def _delete(self, ids):
        unknown = {"errors": [{"parameters": {}, "message": "Rule does not exist"}]}
        errors = [unknown for rule_id in ids if self.rules.pop(rule_id, None) is None]
        return {"errors": errors} if errors else {}


def at_x(held):
    return [Rule(value=value, tag=tag, id=str(number)) for number, (value, tag) in enumerate(held.items())]


@given(st.dictionaries(values, tags), st.dictionaries(values, labels))
def test_the_difference_makes_what_is_held_what_is_wanted(held, wanted):
    """After it X holds the wanted rules and those of others, and no value twice."""
    change = difference(at_x(held), wanted, NAME)
    result = dict(held)
    for rule in change.delete:
        del result[rule.value]
    for rule in change.add:
        assert rule.value not in result
        result[rule.value] = rule.tag

    foreign = {value: tag for value, tag in held.items() if not tag.startswith("posts/")}
    assert {value: f"posts/{label}" for value, label in wanted.items()} | foreign == result
    assert set(change.held_elsewhere) == set(wanted) & set(foreign)
    assert not set(change.delete) & {rule for rule in at_x(held) if rule.value in foreign}
    assert not difference(at_x(result), wanted, NAME)


@given(st.dictionaries(values, tags), st.dictionaries(values, labels))
def test_applying_it_does_the_same_at_x(held, wanted):
    """`apply` brings X there in calls that X accepts, and a second one changes nothing."""
    x = RuleStore(held.items())

    change = rules.apply(x, {NAME: wanted})
    calls = len(x.posts)

    foreign = {(value, tag) for value, tag in held.items() if not tag.startswith("posts/")}
    elsewhere = {value for value, _ in foreign}
    assert x.held == foreign | {(v, f"posts/{label}") for v, label in wanted.items() if v not in elsewhere}
    assert set(change.held_elsewhere) == set(wanted) & elsewhere
    assert not rules.apply(x, {NAME: wanted})
    assert calls == len(x.posts)


def test_rules_of_others_are_never_deleted():
    """Not even those without a tag, or with a tag that begins like ours."""
    held = [("a", ""), ("b", "posts"), ("c", "posts2/c"), ("d", "other/d"), ("e", "posts/e")]
    x = RuleStore(held)

    change = rules.apply(x, {NAME: {}})

    assert ["e"] == [rule.value for rule in change.delete]
    assert set(held[:4]) == x.held


def test_new_rules_are_added_before_old_ones_are_deleted():
    """At no moment does X hold fewer rules than it did, so a change loses no post."""
    x = RuleStore([("#a", "posts/a"), ("#b", "posts/b")])

    rules.apply(x, {NAME: {"#c": "c", "#d": "d"}})

    assert ["add", "delete"] == [next(iter(post)) for post in x.posts]


def test_calls_are_of_bounded_size():
    """1,000 rules are ten calls of the hundred that X allows in 15 minutes."""
    x = RuleStore(page=1000)

    rules.apply(x, {NAME: {f"#t{number}": f"t{number}" for number in range(1000)}})

    assert [100] * 10 == [len(post["add"]) for post in x.posts]


@pytest.mark.parametrize("room", [lambda: 0, lambda: None])
def test_without_room_the_old_rules_go_first(room):
    """Known from the counts or from X's refusal, it is cured by deleting first."""
    x = RuleStore([("#a", "posts/a"), ("#x", "other")], cap=2)

    change = rules.apply(x, {NAME: {"#b": "b"}}, room=room)

    assert {("#b", "posts/b"), ("#x", "other")} == x.held
    assert (1, 1) == (len(change.add), len(change.delete))
    assert ("delete" in x.posts[0]) == (room() == 0)


def test_rules_that_never_fit_are_refused():
    """With X's own words."""
    with pytest.raises(InvalidRequest, match="cap"):
        rules.apply(RuleStore([("#x", "other")], cap=1), {NAME: {"#b": "b"}})


def test_the_counts_are_only_asked_where_they_matter():
    """No request more for a first start or a plain deletion."""

    def room():
        raise AssertionError

    rules.apply(RuleStore(), {NAME: {"#a": "a"}}, room=room)
    rules.apply(RuleStore([("#a", "posts/a")]), {NAME: {}}, room=room)


def test_refused_rules_are_all_named_with_xs_words():
    """HTTP 200 does not mean that a rule exists; valid rules of the batch stay, and nothing was deleted."""
    x = RuleStore([("#old", "posts/old")], invalid={"-a", "-b"})

    with pytest.raises(InvalidRequest, match=r"'-a': Rules must contain a non-negation.*'-b': Rules must") as caught:
        rules.apply(x, {NAME: {"-a": "a", "#new": "new", "-b": "b"}})

    assert "UnprocessableEntity" == caught.value.title
    assert {("#old", "posts/old"), ("#new", "posts/new")} == x.held


def test_a_rule_that_x_neither_creates_nor_refuses_is_an_error():
    """An answer that does not mention a rule is not taken for success."""
    x = RuleStore()
    x._add = lambda _: {"meta": {}}

    with pytest.raises(InvalidRequest, match="did not create it"):
        rules.apply(x, {NAME: {"#a": "a"}})


def test_a_duplicate_that_somebody_added_meanwhile_is_held_elsewhere():
    """It counts as present, and is named."""
    x = RuleStore()
    listed = x.get
    x.get = lambda path, params: {} if not x.posts else listed(path, params)
    x._store("#a", "other")

    change = rules.apply(x, {NAME: {"#a": "a"}})

    assert ("#a",) == change.held_elsewhere
    assert () == change.add


def test_a_rule_that_x_takes_for_an_old_one_of_ours_is_added_after_it_is_gone():
    """A change of case in a hashtag does not end in no rule at all."""
    x = RuleStore([("#Tag", "posts/Tag")], same=str.casefold)

    change = rules.apply(x, {NAME: {"#tag": "tag"}})

    assert {("#tag", "posts/tag")} == x.held
    assert () == change.held_elsewhere


def test_a_rule_that_is_already_gone_counts_as_deleted():
    """X says so in an error inside a 200; what is held then decides, not its words."""
    x = RuleStore([("#a", "posts/a")])
    post = x.post

    def meanwhile(path, json):
        x.rules.clear()
        return post(path, json)

    x.post = meanwhile

    assert 1 == len(rules.apply(x, {NAME: {}}).delete)


def test_a_rule_that_x_does_not_delete_is_an_error():
    """It would go on delivering, and costing."""
    x = RuleStore([("#a", "posts/a")])
    x._delete = lambda _: {"errors": [{"title": "Invalid Request", "detail": "no"}]}

    with pytest.raises(InvalidRequest, match="does not delete 1 rule"):
        rules.apply(x, {NAME: {}})


def test_what_was_created_before_an_error_is_used():
    """After a rate limit the next call goes on from there."""
    x = RuleStore(page=1000)
    post = x.post

    def limited(path, json):
        if len(x.posts) == 2:
            raise RateLimited("later")
        return post(path, json)

    x.post = limited
    wanted = {f"#t{number}": f"t{number}" for number in range(250)}
    with pytest.raises(RateLimited):
        rules.apply(x, {NAME: wanted})
    x.post = post

    rules.apply(x, {NAME: wanted})

    assert [100, 100, 50] == [len(post["add"]) for post in x.posts]


def test_a_rule_without_a_tag_is_read():
    """X leaves the key out; tweepy's reader would die of it in a post."""
    x = RuleStore([("#a", ""), ("#b", "posts/b"), ("#c", "")])

    assert [("#a", ""), ("#b", "posts/b"), ("#c", "")] == [(rule.value, rule.tag) for rule in rules.held_rules(x)]


# -- connectors that share a stream

tagged = st.lists(st.tuples(values, labels), unique_by=(lambda rule: rule[0], lambda rule: rule[1])).map(dict)
several = st.dictionaries(st.sampled_from(["posts", "birds", "cats"]), tagged, max_size=3)
their_tags = st.one_of(tags, st.builds("{}/{}".format, st.sampled_from(["birds", "cats"]), labels))


@given(st.dictionaries(values, their_tags), several, several)
def test_connectors_have_all_their_values_and_no_others(held, wanted, later):
    """Also after they want others: each value is held once, for all who want it; others' rules stay as they are."""
    x = RuleStore(held.items())
    foreign = {(v, tag) for v, tag in held.items() if not any(tag.startswith(f"{name}/") for name in wanted)}
    change = rules.apply(x, wanted)

    everything = {value for values_of in wanted.values() for value in values_of}
    assert everything | {value for value, _ in foreign} == {value for value, _ in x.held}
    assert len(x.held) == len({value for value, _ in x.held})
    assert foreign <= x.held
    for name, its in wanted.items():
        assert set(its) == {rule.value for rule in change.held_for(name, its)}
    assert not rules.apply(x, wanted)
    every = {name: {} for name in wanted} | later
    before = x.held
    change = rules.apply(x, every)
    for name, its in later.items():
        assert set(its) == {rule.value for rule in change.held_for(name, its)}
    fresh = {value for value, _ in x.held - before}
    again = {name for name, its in every.items() if fresh & its.keys() & wanted.get(name, {}).keys()}
    assert again == change.added_again(every, wanted)


def test_a_value_of_two_connectors_outlives_the_one_that_holds_it():
    """It gets the tag of the other; in between, X does not hold it."""
    x = RuleStore([("#other", "other")])
    rules.apply(x, {"birds": {"#a": "a"}, "posts": {"#a": "mine"}})
    assert {("#a", "birds/a"), ("#other", "other")} == x.held

    wanted = {"birds": {}, "posts": {"#a": "mine"}}
    change = rules.apply(x, wanted)
    assert {("#a", "posts/mine"), ("#other", "other")} == x.held
    assert {"posts"} == change.added_again(wanted, {"birds": {"#a": "a"}, "posts": {"#a": "mine"}})


def test_a_value_stays_with_the_connector_that_holds_it():
    """Who comes and wants it too costs nobody a gap."""
    x = RuleStore([("#a", "posts/mine")])

    assert not rules.apply(x, {"birds": {"#a": "a"}, "posts": {"#a": "mine"}})


def test_a_refusal_names_the_connector():
    """The rules of the others are there; a rule that X stores in another form is for all who want it."""
    x = RuleStore(invalid={"-a"})
    with pytest.raises(RulesRefused, match=r"1 rule\(s\).*non-negation") as refused:
        rules.apply(x, {"birds": {"#a": "a"}, "posts": {"-a": "a", "#b": "b"}})

    assert {"posts": "'-a': Rules must contain a non-negation term (at position 1)"} == refused.value.by_connector
    assert {("#a", "birds/a"), ("#b", "posts/b")} == x.held


def test_a_full_account_names_those_whose_rules_are_not_there():
    """Those that are there already go on."""
    x = RuleStore([("#a", "birds/a")], cap=1)
    with pytest.raises(RulesRefused) as refused:
        rules.apply(x, {"birds": {"#a": "a"}, "posts": {"#b": "b"}})

    assert {"posts": "cap"} == refused.value.by_connector


# -- values that X stores in another form


def test_a_value_in_another_form_is_for_all_who_want_it():
    """X says that it is the same, or the connector that holds it does."""
    store = NormalStore(form=reordered)
    wanted = {"birds": {"dog   cat": HASHED}, "posts": {"dog   cat": HASHED}, "cats": {"cat  dog": "pets"}}
    for _ in range(2):
        change = rules.apply(store, wanted)
        assert {("cat dog", f"birds/{HASHED}")} == store.held
        for name, its in wanted.items():
            assert ["cat dog"] == [rule.value for rule in change.held_for(name, its)]


class NormalStore(RuleStore):
    """Stores what it was sent in a form of its own: *form* of each value."""

    def __init__(self, held=(), *, form, **options):
        self.form = form
        super().__init__(held, same=form, **options)

    def _store(self, value, tag):
        return super()._store(self.form(value), tag)


def blanks(value):
    return " ".join(value.split())


def reordered(value):
    return " ".join(sorted(value.split()))


HASHED = label_of("dog   cat")


@pytest.mark.parametrize("form", [blanks, reordered])
@pytest.mark.parametrize("label", [HASHED, "pets"])
def test_what_x_stores_counts_from_then_on(form, label):
    """Created once, known again at each start, never deleted and made anew, whatever X does to the value."""
    store, wanted = NormalStore(form=form), {"dog   cat": label, "#a": "a"}

    first = rules.apply(store, {NAME: wanted})
    ids = set(store.rules)
    again = [rules.apply(store, {NAME: wanted}) for _ in range(3)]

    assert {(form("dog   cat"), f"posts/{label}"), ("#a", "posts/a")} == store.held
    assert store.held == {(rule.value, rule.tag) for rule in first.held}
    assert {form("dog   cat"), "#a"} == {rule.value for rule in first.add}
    assert all(rule.id for rule in first.add)
    assert ids == set(store.rules)
    assert [((), (), ())] * 3 == [(change.add, change.delete, change.held_elsewhere) for change in again]


def test_a_changed_rule_of_the_same_tag_is_changed():
    """The tag alone does not say that a value is the same in another form."""
    store = NormalStore([("cat dog", "posts/pets")], form=blanks)

    rules.apply(store, {NAME: {"cat  OR   dog": "pets"}})

    assert {("cat OR dog", "posts/pets")} == store.held


def test_a_rule_in_another_form_that_somebody_else_holds_is_held_elsewhere():
    """It counts as present, like any other."""
    store = NormalStore([("cat dog", "other")], form=reordered)

    change = rules.apply(store, {NAME: {"dog   cat": "pets"}})

    assert ("dog   cat",) == change.held_elsewhere
    assert {("cat dog", "other")} == store.held


def entry(value, tag="", rule_id="1", **more):
    return {"value": value, "tag": tag, "id": rule_id, **more}


ONE, TWO, THREE = (Rule(value=f"{name}   x", tag=f"posts/{name}") for name in ("a", "b", "c"))


@pytest.mark.parametrize(
    ("data", "errors", "created", "refused", "unheard"),
    [
        # by value, in any order
        ([entry(TWO.value), entry(ONE.value)], [], [TWO, ONE], [], [THREE]),
        # by tag, in any order
        ([entry("B", TWO.tag), entry("A", ONE.tag)], [], [TWO, ONE], [], [THREE]),
        # but for blanks
        ([], [entry("b x")], [], [TWO], [ONE, THREE]),
        # by the order, once all the others are known
        ([entry("A"), entry("B"), entry("C")], [], [ONE, TWO, THREE], [], []),
        ([entry("A", ONE.tag)], [entry("B"), entry("C")], [ONE], [TWO, THREE], []),
        # which of two it is nobody can tell
        ([entry("A", ONE.tag)], [entry("B")], [ONE], [None], [TWO, THREE]),
        ([], [{"title": "x"}, {"value": 1}], [], [None, None], [ONE, TWO, THREE]),
        ([{}, {"value": [], "tag": {}}], [], [], [], [ONE, TWO, THREE]),
    ],
)
def test_the_answer_tells_which_rule_it_is_about(data, errors, created, refused, unheard):
    """By value, tag or order."""
    told = assign([ONE, TWO, THREE], data, errors)

    assert created == [rule for rule, _ in told.created]
    assert refused == [rule for rule, _ in told.refused]
    assert unheard == told.unheard


# -- a check, and what is left alone


def test_x_checks_additions_without_making_them():
    """All refusals in X's words; what X holds and is only tagged anew is not sent."""
    store = RuleStore([("#a", "posts/old"), ("#b", "posts/b")], invalid=("#bad", "#worse"))
    change = difference(rules.held_rules(store), {"#a": "a", "#bad": "bad", "#worse": "worse", "#c": "c"}, NAME)

    refused = rules.refusals(store, change)

    assert ["'#bad'", "'#worse'"] == [words.partition(":")[0] for words in refused]
    assert [["#bad", "#worse", "#c"]] == [[rule["value"] for rule in post["add"]] for post in store.posts]
    assert {("#a", "posts/old"), ("#b", "posts/b")} == store.held


@pytest.mark.parametrize(("wanted", "refused"), [({"#a": "a", "#b": "b"}, True), ({"#b": "b"}, False)])
def test_a_check_tells_of_no_room_where_nothing_is_deleted(wanted, refused):
    """A deletion comes first then, and makes room."""
    store = RuleStore([("#a", "posts/a")], cap=1)
    change = difference(rules.held_rules(store), wanted, NAME)

    assert refused == bool(rules.refusals(store, change))


def test_rules_that_are_to_be_left_alone_are():
    """Neither deleted nor tagged anew; X's other rules are brought to what is wanted."""
    store = RuleStore([("#a", "posts/a"), ("#b", "posts/old"), ("#c", "posts/c")])

    change = rules.apply(store, {NAME: {"#b": "b", "#d": "d"}}, keep={"#a", "#b"})

    assert {("#a", "posts/a"), ("#b", "posts/old"), ("#d", "posts/d")} == store.held
    assert ["#d"] == [rule.value for rule in change.add]
    assert ["#c"] == [rule.value for rule in change.delete]
