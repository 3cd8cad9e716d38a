"""A secret is shown by nothing but `reveal`."""

import copy
import json
import pickle

import orjson
import pytest

from connector.config.secret import Secret

WORD = "Sesame-Open-47"


def test_only_reveal_shows_it():
    """Whatever makes a text of it, or of what holds it, shows asterisks."""
    secret = Secret(WORD)
    texts = [str(secret), repr(secret), f"{secret}", f"{secret!r}", "%s %r" % (secret, secret), str([secret])]  # noqa: UP031
    texts += [json.dumps({"a": secret}, default=str), orjson.dumps([secret], default=str).decode()]

    assert WORD == secret.reveal()
    assert [] == [text for text in texts if WORD in text]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_is_not_pickled(protocol):
    """A pickle would hold it in the clear; the refusal does not show it either."""
    with pytest.raises(TypeError) as caught:
        pickle.dumps(Secret(WORD), protocol)

    assert WORD not in str(caught.value)


def test_serializers_without_a_default_refuse_it():
    """They cannot look inside."""
    with pytest.raises(TypeError):
        json.dumps(Secret(WORD))
    with pytest.raises(TypeError):
        orjson.dumps(Secret(WORD))


def test_equal_secrets_are_equal():
    """Configurations are compared; a text is no secret."""
    assert (True, False) == (Secret("a") == Secret("a"), Secret("a") == Secret("b"))
    assert Secret("a") != "a"
    assert 1 == len({Secret("a"), Secret("a")})


def test_copies_hide_it_too():
    """Copying a configuration does not open its secrets."""
    secret = Secret(WORD)

    assert secret is copy.copy(secret) is copy.deepcopy([secret])[0]
