"""The TLS context: what it trusts, and files that change while a worker runs."""

import ssl

import pytest
from cryptography import x509

from connector.kafka.login.tls import TlsContext
from tests.certificates import Authority

WORD = "Sesame-Open-47"


@pytest.fixture
def authority():
    return Authority("tests")


@pytest.fixture
def context(tmp_path, authority):
    authority.sign("broker").write(tmp_path, "broker")
    certificate, key = authority.sign("client").write(tmp_path, "client", WORD)
    return TlsContext.of(authority.write(tmp_path, "ca"), certificate, key, WORD)


def shown_by(context, folder):
    """Return the name in the certificate that a client with *context* shows to a broker."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "broker.crt", folder / "broker.key")
    server.load_verify_locations(folder / "ca.crt")
    server.verify_mode = ssl.CERT_REQUIRED
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [context.wrap_bio(here, there, server_hostname="localhost"), server.wrap_bio(there, here, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    certificate = x509.load_der_x509_certificate(sides[1].getpeercert(binary_form=True))
    return certificate.subject.rfc4514_string()


def write(identity, folder):
    """Replace certificate and key, as whatever renews them does."""
    for path in identity.write(folder, "new", WORD):
        path.replace(folder / f"client{path.suffix}")


def test_it_checks_the_broker(context):
    """A broker has to show a certificate of an authority that is trusted, for the name by which it was called."""
    assert (ssl.CERT_REQUIRED, True) == (context.verify_mode, context.check_hostname)
    assert context.verify_flags == ssl.create_default_context().verify_flags


def test_certificate_that_is_renewed(context, tmp_path, authority):
    """The next connection shows the new certificate; one that lives for an hour needs no restart."""
    before = shown_by(context, tmp_path)
    write(authority.sign("renewed"), tmp_path)

    assert ["CN=client", "CN=renewed"] == [before, shown_by(context, tmp_path)]


def test_certificate_that_is_half_written(context, tmp_path, authority):
    """While the files do not fit together, or one is gone, the pair that was read serves on."""
    (tmp_path / "client.crt").write_bytes(authority.sign("renewed").certificate_pem())
    half = shown_by(context, tmp_path)
    (tmp_path / "client.key").unlink()
    gone = shown_by(context, tmp_path)
    write(authority.sign("renewed"), tmp_path)

    assert ["CN=client", "CN=client", "CN=renewed"] == [half, gone, shown_by(context, tmp_path)]


def test_key_that_is_locked_later(context, tmp_path, authority):
    """A new key that the password does not open is not asked about, either."""
    authority.sign("renewed").write(tmp_path, "client", "another")

    assert "CN=client" == shown_by(context, tmp_path)


def test_without_a_certificate(tmp_path, authority):
    """Without files of its own a client trusts the authorities of the system, and shows nothing."""
    assert not TlsContext.of(None, None, None, None).has_certificate
    assert not TlsContext.of(authority.write(tmp_path, "ca"), None, None, None).has_certificate
