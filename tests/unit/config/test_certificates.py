"""Files of certificates and keys that cannot be used: a problem before anything starts, and never a question."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from connector.config.load import load
from connector.errors import ConfigError
from tests import ROOT
from tests.certificates import Authority

WORD = "Sesame-Open-47"
CA, CERT, KEY = (f"CONNECTOR_KAFKA_SSL_{what}_FILE" for what in ("CA", "CERT", "KEY"))
PASSWORD = "CONNECTOR_KAFKA_SSL_KEY_PASSWORD"  # noqa: S105  # a name


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every file that an operator may name by mistake."""
    folder = tmp_path_factory.mktemp("files")
    authority = Authority("tests")
    authority.write(folder, "ca")
    client = authority.sign("client")
    client.write(folder, "client")
    client.write(folder, "locked", WORD)
    authority.sign("other").write(folder, "other")
    (folder / "client.der").write_bytes(client.der())
    (folder / "client.p12").write_bytes(client.pkcs12())
    (folder / "store.jks").write_bytes(b"\xfe\xed\xfe\xed\x00\x00\x00\x02")
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("a note\n")
    (folder / "damaged").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (folder / "damaged.key").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    (folder / "word").write_text(f"{WORD}\n")
    (folder / "folder").mkdir()
    return folder


GOOD = {CERT: "client.crt", KEY: "client.key"}
BINARY = "which is in binary form (DER or PKCS#12): convert it to PEM with `openssl x509` or `openssl pkcs12`."

WRONG = [
    ({CA: "empty"}, f"{CA} names {{}}/empty, which is empty."),
    ({CA: "text"}, f"{CA} names {{}}/text, in which there is no certificate in PEM form (-----BEGIN ...)."),
    ({CA: "client.der"}, f"{CA} names {{}}/client.der, {BINARY}"),
    ({CA: "client.p12"}, f"{CA} names {{}}/client.p12, {BINARY}"),
    ({CA: "store.jks"}, f"{CA} names {{}}/store.jks, which is a Java key store: export the certificate as PEM."),
    ({CA: "damaged"}, f"{CA} names {{}}/damaged, in which a certificate is damaged: copy the file again."),
    ({CA: "client.key"}, f"{CA} names {{}}/client.key, in which there is no certificate in PEM form (-----BEGIN ...)."),
    ({CA: "folder"}, f"{CA} names '{{}}/folder', which is no file here."),
    (GOOD | {CERT: "client.der"}, f"{CERT} names {{}}/client.der, {BINARY}"),
    (GOOD | {CERT: "empty"}, f"{CERT} names {{}}/empty, which is empty."),
    (GOOD | {KEY: "client.p12"}, f"{KEY} names {{}}/client.p12, {BINARY}"),
    (GOOD | {KEY: "empty"}, f"{KEY} names {{}}/empty, which is empty."),
    (
        GOOD | {KEY: "client.crt"},
        f"{KEY} names {{}}/client.crt, in which there is no private key in PEM form (-----BEGIN ...).",
    ),
    (
        GOOD | {KEY: "other.key"},
        f"{KEY} names {{0}}/other.key, which is not the key of the certificate in {{0}}/client.crt.",
    ),
    (
        GOOD | {KEY: "damaged.key"},
        f"{KEY} names {{0}}/damaged.key, which cannot be used with {{0}}/client.crt: one of the two is damaged.",
    ),
    (
        GOOD | {KEY: "locked.key"},
        f"{KEY} names {{}}/locked.key, which is locked by a password: set {PASSWORD}.",
    ),
    (
        GOOD | {KEY: "locked.key", PASSWORD: "wrong"},
        f"{PASSWORD} does not open {{}}/locked.key: give the password of that key.",
    ),
    (
        GOOD | {KEY: "locked.key", f"{PASSWORD}_FILE": "text"},
        f"{PASSWORD}_FILE does not open {{}}/locked.key: give the password of that key.",
    ),
]


def problems_of(environ, folder):
    with pytest.raises(ConfigError) as caught:
        load({"CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL", **environ}, folder)
    return caught.value.problems


@pytest.mark.parametrize(("environ", "sentence"), WRONG, ids=[sentence[:70] for _, sentence in WRONG])
def test_wrong_file(files, environ, sentence):
    """A file that cannot be used is one problem that names its variable."""
    assert (sentence.format(files),) == problems_of(environ, files)


@pytest.mark.parametrize(
    "environ",
    [
        {CA: "ca.crt"},
        GOOD,
        GOOD | {KEY: "locked.key", PASSWORD: WORD},
        GOOD | {KEY: "locked.key", f"{PASSWORD}_FILE": "word"},
    ],
    ids=["authority", "pair", "locked", "locked, password in a file"],
)
def test_good_files(files, environ):
    """Files that can be used are no problem, a locked key with its password neither."""
    load({"CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL", **environ}, files)


@pytest.mark.parametrize(("name", "environ"), [("client.crt", {CA: "client.crt"}), ("client.key", GOOD)])
def test_file_that_may_not_be_read(files, monkeypatch, name, environ):
    """A file that is another user's is a problem that names it; root may read all, so the system's answer is forged."""
    opened = Path.open

    def deny(self, *arguments, **options):
        if self.name == name:
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", deny)
    variable = next(iter(key for key, value in environ.items() if value == name))

    assert (f"{variable} names {files / name}, which cannot be read: Permission denied.",) == problems_of(
        environ, files
    )


@pytest.mark.slow
def test_worker_asks_nobody(files):
    """A worker with a locked key ends with the sentence and 78, also at a terminal: nothing is asked there."""
    ours, theirs = os.openpty()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("CONNECTOR_")}
    environ |= {
        "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL",
        CERT: str(files / "client.crt"),
        KEY: str(files / "locked.key"),
    }
    try:
        ended = subprocess.run(  # our own
            [sys.executable, "-m", "connector", "worker"],
            env=environ | {"PYTHONPATH": str(ROOT)},
            cwd=files,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            start_new_session=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert 78 == ended.returncode
    assert (
        "The configuration has a problem:\n"
        f"  - {KEY} names {files / 'locked.key'}, which is locked by a password: set {PASSWORD}.\n"
    ) == ended.stderr.decode()
