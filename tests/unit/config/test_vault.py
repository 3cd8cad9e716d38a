"""Secrets of configurations by REST: what lies in Kafka, what a task uses, what is shown."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.config.connector import CONNECTOR_OPTIONS
from connector.config.keys import is_sealed, read_keys
from connector.config.masks import hide, is_secret, looks_secret
from connector.config.options import HIDDEN
from connector.config.vault import Vault
from connector.config.worker import WORKER_OPTIONS, WorkerSettings
from connector.errors import ConfigError

TOKEN = "AAAAsynthetic-token"  # noqa: S105  # opens nothing
CONFIG = {"topic": "posts", "hashtags": "python", "x.bearer.token": TOKEN}
READABLE = "x.bearer.token would lie readable in Kafka"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")

    def keys_of(*letters):
        path = folder / "".join(letters)
        path.write_text("\n".join(letter * 64 for letter in letters))
        path.chmod(0o600)
        return read_keys(str(path))

    return keys_of


def vault_of(environ=None, **settings):
    return Vault(WorkerSettings(**settings), environ or {}, Path("/"))


def sentences(refused):
    with pytest.raises(ConfigError) as caught:
        refused()
    return list(caught.value.problems)


def problems(vault, config):
    return [problem.sentence for problem in vault.check("birds", config, group_id="connector").problems]


# -- sealing


def test_a_literal_secret_is_refused_without_a_key():
    """Without a key a secret itself is refused; the sentence names what helps and not the secret."""
    (sentence,) = sentences(lambda: vault_of().seal("birds", CONFIG))

    assert sentence.startswith(READABLE)
    assert all(word in sentence for word in ("${env:", "CONNECTOR_CONFIG_KEY_FILE", "CONNECTOR_CONFIG_PLAINTEXT"))
    assert TOKEN not in sentence


def test_plaintext_is_accepted_where_the_worker_says_so():
    """CONNECTOR_CONFIG_PLAINTEXT_SECRETS=true keeps a secret as it is."""
    assert CONFIG == vault_of(config_plaintext_secrets=True).seal("birds", CONFIG)


def test_what_lies_readable_is_said(keys):
    """Whoever sends a secret hears who can read it; nothing is said of references and sealed ones."""
    vault = vault_of(config_key_file=keys("a"), group_id="flock")
    (sentence,) = vault.readable(CONFIG)

    assert sentence.startswith(
        "x.bearer.token lies readable in Kafka: whoever may read the topic flock-configs reads it."
    )
    assert TOKEN not in sentence
    assert () == vault.readable(vault.seal("birds", CONFIG))
    assert () == vault.readable(CONFIG | {"x.bearer.token": "${env:CONNECTOR_TOKEN}"})


def test_a_literal_secret_is_encrypted(keys):
    """With a key a secret is sealed, for this connector alone, and all else stays."""
    vault = vault_of(config_key_file=keys("a"))
    stored = vault.seal("birds", CONFIG)

    assert is_sealed(stored["x.bearer.token"])
    assert CONFIG == vault.open("birds", stored)
    assert CONFIG | {"x.bearer.token": HIDDEN} == vault.hide(stored)
    assert TOKEN == vault.check("birds", stored, group_id="connector").config.bearer_token.reveal()
    (sentence,) = sentences(lambda: vault.open("bees", stored))
    assert sentence.startswith("x.bearer.token cannot be decrypted")


def test_a_sealed_text_of_another_connector_is_refused(keys):
    """Who can read the topic cannot use another connector's secret by copying its sealed text."""
    vault = vault_of(config_key_file=keys("a"))
    stored = vault.seal("birds", CONFIG)

    for present in ({}, vault.seal("birds", CONFIG)):
        (sentence,) = sentences(lambda present=present: vault.seal("bees", stored, present))
        assert "x.bearer.token has the form of a stored secret" in sentence


@pytest.mark.parametrize("mask", ["[hidden]", "******"])
def test_a_mask_keeps_what_is_stored(keys, mask):
    """What clients send back of what they were shown keeps the secret, and without a stored one it is refused."""
    vault = vault_of(config_key_file=keys("a"))
    stored = vault.seal("birds", CONFIG)

    assert stored == vault.seal("birds", CONFIG | {"x.bearer.token": mask}, stored)
    assert stored == vault.restore(CONFIG | {"x.bearer.token": mask}, stored)
    for refused in (vault.seal, lambda _, texts: vault.restore(texts)):
        (sentence,) = sentences(lambda refused=refused: refused("birds", CONFIG | {"x.bearer.token": mask}))
        assert f"x.bearer.token is {mask}, which stands for a stored secret, and none is stored" in sentence


def test_the_same_configuration_again_changes_nothing(keys):
    """A configuration that is applied again, with its literal secret, is equal to what is stored."""
    vault = vault_of(config_key_file=keys("a"))
    stored = vault.seal("birds", CONFIG)

    assert stored == vault.seal("birds", CONFIG, stored)
    assert stored == vault.seal("birds", stored, stored)
    assert stored != vault.seal("birds", CONFIG | {"x.bearer.token": "another"}, stored)


def test_rotation(keys):
    """Each write seals again with the first key; a worker without the old key says which one is missing."""
    old, both, new = (vault_of(config_key_file=keys(*letters)) for letters in ("a", "ba", "b"))
    stored = old.seal("birds", CONFIG)
    again = both.seal("birds", CONFIG | {"x.bearer.token": HIDDEN}, stored)

    assert again != stored
    assert CONFIG == new.open("birds", again)
    (sentence,) = problems(new, stored)
    assert "x.bearer.token is encrypted with the key" in sentence
    assert stored == new.seal("birds", CONFIG | {"x.bearer.token": HIDDEN}, stored)


def test_a_kept_plain_secret_is_sealed_once_there_is_a_key(keys):
    """What was accepted in the clear is encrypted at the next write after a key was set."""
    sealed = vault_of(config_key_file=keys("a")).seal("birds", CONFIG | {"x.bearer.token": HIDDEN}, CONFIG)

    assert is_sealed(sealed["x.bearer.token"])


@given(st.dictionaries(st.sampled_from(sorted(CONNECTOR_OPTIONS)) | st.text(max_size=20), st.text(max_size=30)))
def test_any_configuration(texts):
    """What is sealed opens to what was given, shows no secret, and is stored again as it is."""
    vault = vault_of(config_key_file=KEYS)
    try:
        stored = vault.seal("birds", texts)
    except ConfigError:  # a mask, or the form of a sealed text
        return

    assert texts == vault.open("birds", stored)
    assert stored == vault.seal("birds", vault.hide(stored), stored)
    for name, text in texts.items():
        if looks_secret(name) and text.strip():
            assert text != stored[name]
            assert HIDDEN == vault.hide(stored)[name]


@pytest.fixture(autouse=True, scope="module")
def _keys(keys):
    KEYS[:] = keys("c")


KEYS = []


# -- references


def test_references_stay_as_they_are(keys, tmp_path):
    """A reference is stored and shown unresolved, with and without a key, and read where the task runs."""
    reference = CONFIG | {"x.bearer.token": "${env:CONNECTOR_BIRDS_TOKEN}"}
    for vault in (vault_of(), vault_of({"CONNECTOR_BIRDS_TOKEN": TOKEN}, config_key_file=keys("a"))):
        assert reference == vault.seal("birds", reference) == vault.hide(reference) == vault.open("birds", reference)

    assert TOKEN == vault.check("birds", reference, group_id="connector").config.bearer_token.reveal()
    assert ["x.bearer.token refers to CONNECTOR_BIRDS_TOKEN, which is not set where this worker runs."] == problems(
        vault_of(), reference
    )


OF_ITS_OWN = "which is a setting of the worker: give the secret a variable of its own."


@pytest.mark.parametrize(
    "variable",
    [*sorted(option.environment for option in WORKER_OPTIONS.values() if option.secret), "CONNECTOR_BROKER_URL"],
)
def test_the_workers_own_secrets_are_not_for_connectors(variable):
    """No reference reads a setting of the worker, which could then be sent to an `x.api.url`."""
    vault = vault_of({variable: "word"})

    assert [f"x.bearer.token may not refer to {variable}, {OF_ITS_OWN}"] == problems(
        vault, CONFIG | {"x.bearer.token": f"${{env:{variable}}}"}
    )


def test_files_only_in_the_folder(tmp_path):
    """Files are read below CONNECTOR_SECRETS_DIR alone, links followed; without it none are."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "app.properties").write_text(f"# ours\nx.token={TOKEN}\n")
    (tmp_path / "outside").write_text(TOKEN)
    (folder / "link").symlink_to(tmp_path / "outside")
    vault = vault_of(secrets_dir=folder)

    for reference in ("file:token", f"file:{folder}/token", "file:app.properties:x.token", f"directory:{folder}:token"):
        checked = vault.check("birds", CONFIG | {"x.bearer.token": f"${{{reference}}}"}, group_id="connector")
        assert () == checked.problems
        assert TOKEN == checked.config.bearer_token.reveal()
    for reference in (
        f"file:{tmp_path}/outside",
        "file:../outside",
        "file:link",
        "file:/etc/passwd",
        "directory:..:outside",
    ):
        assert ["x.bearer.token may name only files in the folder CONNECTOR_SECRETS_DIR of the worker."] == problems(
            vault, CONFIG | {"x.bearer.token": f"${{{reference}}}"}
        )
    (sentence,) = problems(vault_of(), CONFIG | {"x.bearer.token": f"${{file:{folder}/token}}"})
    assert "x.bearer.token may name a file only where the worker allows a folder of files for it" in sentence


@pytest.mark.parametrize(
    ("reference", "rest"),
    [
        ("file:app.properties:none", "names 'none' in {}/app.properties, where no such key is."),
        ("file:app.properties:empty", "names 'empty' in {}/app.properties, which is empty."),
        ("file:broken:a", "names {}/broken, which is no file of properties: line 1 has \\u without four"),
        ("directory:.:none", "names {}/./none, which does not exist."),
        ("file:\x00", "may name only files in the folder CONNECTOR_SECRETS_DIR of the worker."),
    ],
)
def test_a_reference_that_leads_nowhere(tmp_path, reference, rest):
    """A key or file that is not there is named, and nothing else of the file is shown."""
    (tmp_path / "app.properties").write_text("empty=\nother=word\n")
    (tmp_path / "broken").write_text("a=\\u1")

    (sentence,) = problems(vault_of(secrets_dir=tmp_path), CONFIG | {"x.bearer.token": f"${{{reference}}}"})

    assert sentence.startswith("x.bearer.token " + rest.format(tmp_path).replace("/./", "/"))
    assert "word" not in sentence


def test_a_file_with_a_colon_in_its_name(tmp_path):
    """A file whose name holds a colon is read as a whole."""
    (tmp_path / "a:b").write_text(TOKEN)
    checked = vault_of(secrets_dir=tmp_path).check(
        "birds", CONFIG | {"x.bearer.token": "${file:a:b}"}, group_id="connector"
    )

    assert TOKEN == checked.config.bearer_token.reveal()


def test_a_file_of_rules_lies_in_the_folder_too(tmp_path):
    """`rules.file` of a configuration by REST names no file elsewhere on the worker."""
    (tmp_path / "rules.json").write_text('["a secret"]')

    assert ["rules.file may name only files in the folder CONNECTOR_SECRETS_DIR of the worker."] == problems(
        vault_of(secrets_dir=tmp_path), CONFIG | {"rules.file": "/etc/rules.json"}
    )


@pytest.mark.parametrize(
    ("url", "allowed", "fits"),
    [
        ("https://api.x.com", (), True),
        ("https://API.x.com:443/", ("https://api.x.com/",), True),
        ("http://127.0.0.1:8089", (), True),
        ("http://[::1]:8089", (), True),
        ("http://localhost:8089", (), True),
        ("https://evil.example.com", (), False),
        ("https://evil.example.com", ("https://proxy.example.com",), False),
        ("https://proxy.example.com/x/", ("https://Proxy.example.com:443/x",), True),
        ("https://proxy.example.com:8443/x", ("https://proxy.example.com/x",), False),
        ("https://localhost.example.com", (), False),
        ("https://evil.example.com", ("*",), True),
    ],
)
def test_credentials_go_to_no_other_place(url, allowed, fits):
    """A configuration by REST cannot have a secret of the worker, or a stored one, sent to a URL of its own."""
    vault = vault_of({"CONNECTOR_X_BEARER_TOKEN": TOKEN}, allowed_api_urls=allowed)
    found = problems(vault, CONFIG | {"x.bearer.token": "${env:CONNECTOR_X_BEARER_TOKEN}", "x.api.url": url})

    assert fits == (found == [])
    assert fits or "CONNECTOR_ALLOWED_API_URLS" in found[0]


# -- names

SECRET = [
    *[name for name, option in CONNECTOR_OPTIONS.items() if option.secret],
    *("twitter.oauth.consumerKey", "twitter.oauth.accessTokenSecret", "twitter.bearerToken", "twitter.consumerkey"),
    *(
        "twitter.secret",
        "x.bearer.tokn.password",
        "x.bearer.tokn",
        "X.Consumer.Kye",
        "producer.override.sasl.jaas.config",
        "some.API_KEY",
    ),
    "value.converter.basic.auth.user.info",
]
SHOWN = [
    *[name for name, option in CONNECTOR_OPTIONS.items() if not option.secret],
    *("key.converter", "transforms.createKey.type", "transforms", "tokens.max", "keywords", "password.file.name"),
]


def test_names_of_secrets():
    """Declared secrets and names that say so are secrets; classes of keys and the like are shown."""
    assert SECRET == [name for name in SECRET if is_secret(name) and looks_secret(name)]
    assert [] == [name for name in SHOWN if looks_secret(name)]
    assert (False, True) == (is_secret("transforms.route.key"), looks_secret("transforms.route.key"))
    assert dict.fromkeys(SECRET, HIDDEN) == hide(dict.fromkeys(SECRET, "word"))


def test_a_word_that_may_be_a_key_is_kept_without_a_key_file():
    """An unknown option that merely ends with `key` is hidden, but not refused."""
    config = CONFIG | {"x.bearer.token": "", "transforms.route.key": "lang"}

    assert config == vault_of().seal("birds", config)
    assert HIDDEN == hide(config)["transforms.route.key"]


def test_settings_with_keys_show_none(keys):
    """The settings of a worker hold keys that no text shows."""
    settings = WorkerSettings(config_key_file=keys("a"))

    assert "a" * 64 not in f"{settings} {dataclasses.asdict(settings)}"
