import base64
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.keys import Keyring, is_sealed, read_keys
from connector.config.options import Unfit

OLD, NEW = "ab" * 32, base64.b64encode(bytes(range(32))).decode()


def write(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.fixture
def ring(tmp_path):
    def ring_of(*lines):
        return Keyring(read_keys(write(tmp_path / "keys", "\n".join(lines))))

    return ring_of


def test_forms_of_a_key(tmp_path):
    """Base64 in both alphabets and hexadecimal, with comments and blank lines, are read; the order is kept."""
    url_safe = base64.urlsafe_b64encode(b"\xff" * 32).decode()
    path = write(tmp_path / "keys", f"# of May\n{NEW}  # ours\n\n{OLD}\n{url_safe}\n")

    assert [bytes(range(32)), b"\xab" * 32, b"\xff" * 32] == [
        bytes.fromhex(key.digits.reveal()) for key in read_keys(path)
    ]


@pytest.mark.parametrize(
    ("text", "mode", "rest"),
    [
        ("", 0o600, "which holds no key: openssl rand -base64 32 makes one."),
        ("# none", 0o600, "which holds no key: openssl rand -base64 32 makes one."),
        ("AAAA", 0o600, "whose line 1 is no key: a key is 32 bytes in base64, as openssl rand -base64 32 writes them."),
        (f"{OLD}\nöö", 0o600, "whose line 2 is no key: a key is 32 bytes in base64, as openssl rand"),
        (OLD, 0o620, "which other users may change: chmod 600"),
        (OLD, 0o602, "which other users may change: chmod 600"),
    ],
)
def test_a_file_that_holds_no_keys(tmp_path, text, mode, rest):
    """A file that is no file of keys, or that others may change, is refused with the cure; no key is shown."""
    path = write(tmp_path / "keys", text, mode)

    with pytest.raises(Unfit) as caught:
        read_keys(path)

    assert f"names {path}, {rest}" in caught.value.rests[0]
    assert OLD not in str(caught.value)


@given(st.text(), st.text(), st.text())
def test_what_is_sealed_opens_in_its_place_alone(connector, option, secret):
    """A sealed secret opens for its connector and option and for no other; it does not contain the secret."""
    ring = Keyring(KEYS)
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    sealed = ring.seal(connector, option, secret)

    assert is_sealed(sealed)
    assert secret == ring.open(connector, option, sealed)
    assert len(secret) < 9 or secret not in sealed
    for place in ((connector + "x", option), (connector, option + "x"), (option + "'", connector)):
        with pytest.raises(Unfit, match="cannot be decrypted"):
            ring.open(*place, sealed)


@given(st.integers(min_value=0), st.sampled_from("ABCDwxyz0189-_="))
def test_a_changed_text_does_not_open(place, character):
    """A sealed text with any character changed is refused."""
    sealed = Keyring(KEYS).seal("posts", "x.bearer.token", "AAAA")
    place %= len(sealed)
    changed = sealed[:place] + character + sealed[place + 1 :]
    if changed == sealed:
        return
    try:
        opened = Keyring(KEYS).open("posts", "x.bearer.token", changed)
    except Unfit:
        return

    assert "AAAA" == opened  # the last character of base64 has bits that mean nothing
    assert place > len(sealed) - 5


def test_two_seals_differ(ring):
    """The same secret sealed twice gives two texts, so nobody sees that two are equal."""
    keys = ring(OLD)

    assert keys.seal("posts", "x.bearer.token", "AAAA") != keys.seal("posts", "x.bearer.token", "AAAA")


def test_the_first_key_seals_and_all_open(ring):
    """After a new key was put first, older secrets still open, and new ones use it."""
    sealed = ring(OLD).seal("posts", "x.bearer.token", "AAAA")
    both = ring(NEW, OLD)

    assert "AAAA" == both.open("posts", "x.bearer.token", sealed)
    assert not both.current(sealed)
    assert both.current(both.seal("posts", "x.bearer.token", "AAAA"))
    with pytest.raises(Unfit, match="which is not in CONNECTOR_CONFIG_KEY_FILE of this worker: add that key"):
        ring(NEW).open("posts", "x.bearer.token", sealed)


def test_keys_stay_inside(tmp_path):
    """No text that is made of a key shows it."""
    (key,) = read_keys(write(tmp_path / "keys", OLD))

    assert OLD not in f"{key} {key!r}"
    with pytest.raises(TypeError):
        pickle.dumps(key)


def test_no_key_seals_nothing():
    """Without a key there is no sealing, and the ring says so."""
    assert not Keyring([])
    with pytest.raises(ValueError, match="no key"):
        Keyring([]).seal("posts", "x.bearer.token", "AAAA")


@pytest.fixture(autouse=True, scope="module")
def _keys(tmp_path_factory):
    KEYS[:] = read_keys(write(tmp_path_factory.mktemp("keys") / "keys", OLD))


KEYS = []
