from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.cli.connectors.files import Wanted
from connector.cli.connectors.plan import Difference, Kind, compare, plan
from connector.config.masks import hide

SECRET = "AAAAsynthetic"  # noqa: S105  # opens nothing
CONFIG = {"name": "birds", "topic": "posts", "x.bearer.token": SECRET}


def wanted(config, name="birds"):
    return Wanted(name=name, config=config, path=Path("birds.json"))


def test_a_new_connector():
    """All its options are told, and its secret is not."""
    change = compare(wanted(CONFIG), None)

    assert Kind.CREATE == change.kind
    assert Difference("x.bearer.token", None, "[hidden]") in change.differences
    assert SECRET not in repr(change.differences)


def test_a_changed_option():
    """What is set, changed and removed."""
    present = {"name": "birds", "topic": "posts", "tasks.max": "1"}
    change = compare(wanted({"name": "birds", "topic": "other", "print": "true"}), present)

    assert Kind.UPDATE == change.kind
    assert (
        Difference("print", None, "true"),
        Difference("tasks.max", "1", None),
        Difference("topic", "posts", "other"),
    ) == change.differences


@pytest.mark.parametrize("mask", ["[hidden]", "******"])
def test_a_secret_that_cannot_be_compared(mask):
    """A literal secret is sent again, which is no difference; a mask in the file keeps what is stored."""
    change = compare(wanted(CONFIG), CONFIG | {"x.bearer.token": mask})
    kept = compare(wanted(CONFIG | {"x.bearer.token": "[hidden]"}), CONFIG | {"x.bearer.token": mask})

    assert (Kind.KEEP, ("x.bearer.token",), True) == (change.kind, change.resent, change.sends)
    assert (Kind.KEEP, (), False) == (kept.kind, kept.resent, kept.sends)


def test_from_a_secret_to_a_reference():
    """A reference instead of a secret is a difference that is shown."""
    change = compare(wanted(CONFIG | {"x.bearer.token": "${env:CONNECTOR_T}"}), CONFIG | {"x.bearer.token": "[hidden]"})

    assert (Difference("x.bearer.token", "[hidden]", "${env:CONNECTOR_T}"),) == change.differences


def test_prune():
    """What no file has is deleted only when that is wanted."""
    present = {"birds": CONFIG, "owls": {"name": "owls"}}

    assert [Kind.KEEP] == [each.kind for each in plan([wanted(CONFIG)], present, prune=False)]
    assert [("birds", Kind.KEEP), ("owls", Kind.DELETE)] == [
        (each.name, each.kind) for each in plan([wanted(CONFIG)], present, prune=True)
    ]


CONFIGS = st.dictionaries(st.sampled_from(["topic", "x.bearer.token", "a.password", "print"]), st.text(max_size=5))


@given(
    st.dictionaries(st.sampled_from("abc"), CONFIGS), st.dictionaries(st.sampled_from("abc"), CONFIGS), st.booleans()
)
def test_carried_out_it_changes_nothing_more(files, group, prune):
    """After a plan is carried out, the next one changes nothing, and no plan shows a secret."""
    named = [wanted(config, name) for name, config in files.items()]
    changes = plan(named, {name: hide(config) for name, config in group.items()}, prune=prune)
    for change in changes:
        if change.wanted is None:
            del group[change.name]
        elif change.sends:
            group[change.name] = dict(change.wanted.config)
    after = plan(named, {name: hide(config) for name, config in group.items()}, prune=prune)

    assert [] == [change for change in after if change.changes]
    assert [] == [
        each
        for change in changes
        for each in change.differences
        if each.option in {"x.bearer.token", "a.password"} and {each.before, each.after} - {None, "", "[hidden]"}
    ]
