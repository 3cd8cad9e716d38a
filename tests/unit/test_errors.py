import inspect

import pytest

from connector import errors
from connector.errors import BudgetReached, ConfigError, ConnectorError, NotAuthorized, RateLimited

CLASSES = [kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, ConnectorError)]


def test_tree_of_the_docstring():
    """The tree that the module shows is the tree that it has."""
    above, seen = {0: ConnectorError}, {ConnectorError}
    tree = errors.__doc__.split("\n\n")[1].splitlines()
    for line in tree[1:]:
        branch = line.find("──") - 1
        name = line[branch + 3 :].split()[0]
        kind = getattr(errors, name)
        depth = (branch - 4) // 4
        assert kind.__base__ is above[depth], name
        above[depth + 1] = kind
        seen.add(kind)

    apart = {errors.Superseded, errors.NotFound}
    assert set(CLASSES) == seen | apart | {errors.RetriableError}
    assert all(kind.__name__ in errors.__doc__ for kind in apart)


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind not in {ConfigError, BudgetReached}])
def test_keeps_xs_own_words(kind):
    """An error carries X's title, detail and status beside its message, and knows its name."""
    error = kind("X answered 429: slow down", title="Too Many Requests", detail="slow down", status=429)

    assert "X answered 429: slow down" == str(error)
    assert ("Too Many Requests", "slow down", 429) == (error.title, error.detail, error.status)
    assert kind.__name__ == error.name


def test_words_may_be_absent():
    """Where X said nothing there is nothing."""
    error = NotAuthorized("no token")

    assert ("", "", None) == (error.title, error.detail, error.status)
    assert RateLimited("429").reset_at is None
    assert 5.0 == RateLimited("429", reset_at=5.0, status=429).reset_at


def test_budget_knows_when_it_goes_on():
    """X has not said anything: the limit is the operator's own."""
    error = BudgetReached("used up", resume_at=5.0)

    assert 5.0 == error.resume_at
    assert ("used up", "BudgetReached", None) == (str(error), error.name, error.status)


def test_all_problems_at_once():
    """A configuration's problems are kept apart, and are all of the message."""
    error = ConfigError(["A is required.", "B is wrong."])

    assert ("A is required.", "B is wrong.") == error.problems
    assert "A is required.\nB is wrong." == str(error)
