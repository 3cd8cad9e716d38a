"""The options of the schema registry together, and Connect's names for the formats."""

from pathlib import Path

import pytest

from connector.config import registry
from connector.config.checks import check
from connector.config.framework import AVRO_CONVERTER, BYTES_CONVERTER, JSON_CONVERTER, PROTOBUF_CONVERTER
from connector.config.load import load
from connector.config.vault import Vault
from tests.certificates import Authority

BY_REST = {"topic": "posts", "hashtags": "python", "x.bearer.token": "AAAAsynthetic"}
URL = "https://registry.example.com"
AVRO = BY_REST | {"value.format": "avro", "schema.registry.url": URL}
SCHEMAS = "value.converter.schemas.enable"
STRATEGY = "io.confluent.kafka.serializers.subject.TopicRecordNameStrategy"


def checked(texts, directory=Path("/")):
    return check(texts, environ={}, directory=directory, group_id="connector")


def sentences(texts, directory=Path("/")):
    return [problem.sentence for problem in checked(texts, directory).problems]


WRONG = [
    (
        {"schema.registry.url": ""},
        "schema.registry.url is required with value.format=avro: where the schema registry is.",
    ),
    (
        {"schema.registry.url": "ftp://x"},
        "schema.registry.url must be up to 10 URLs such as http://registry.example.com:8081, comma-separated.",
    ),
    (
        {"schema.registry.url": "https://robin:word@x"},
        (
            "schema.registry.url must not hold a user or password, as it is shown: write them into"
            " schema.registry.basic.auth.user.info, as user:password."
        ),
    ),
    (
        {"schema.registry.basic.auth.user.info": "robin"},
        ("schema.registry.basic.auth.user.info must be the user and the password with a colon between: user:password."),
    ),
    (
        {"schema.registry.basic.auth.user.info": "a:b", "schema.registry.bearer.auth.token": "c"},
        (
            "schema.registry.basic.auth.user.info and schema.registry.bearer.auth.token are both set: keep one of the"
            " two logins."
        ),
    ),
    (
        {"schema.registry.url": f"{URL},http://registry", "schema.registry.bearer.auth.token": "c"},
        "schema.registry.url would send schema.registry.bearer.auth.token unencrypted: use https, or no login.",
    ),
    (
        {"use.latest.version": "true"},
        (
            "use.latest.version=true works only with auto.register.schemas=false: either the latest version is used,"
            " or ours is registered."
        ),
    ),
    (
        {"schema.compatibility": "FULL", "auto.register.schemas": "false"},
        ("schema.compatibility works only with auto.register.schemas=true: who registers the schemas sets it."),
    ),
    (
        {"value.subject.name.strategy": "MyStrategy"},
        (
            "value.subject.name.strategy cannot be 'MyStrategy': use TopicNameStrategy, RecordNameStrategy or"
            " TopicRecordNameStrategy."
        ),
    ),
    (
        {"schema.registry.ssl.key.password": "word"},
        "schema.registry.ssl.certificate.location is required with schema.registry.ssl.key.password.",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG, ids=[sentence[:50] for _, sentence in WRONG])
def test_wrong_together(changes, sentence):
    """One sentence that names the cure."""
    assert [sentence] == sentences(AVRO | changes)


def test_a_login_for_this_machine_needs_no_https():
    """It does not leave the machine."""
    url = {"schema.registry.url": "http://127.0.0.1:8081", "schema.registry.bearer.auth.token": "c"}

    assert [] == sentences(AVRO | url)


@pytest.mark.parametrize(
    ("password", "of_other", "sentence"),
    [
        (None, False, "schema.registry.ssl.key.password is required: the private key is locked."),
        ("wrong", False, "schema.registry.ssl.key.password does not open the private key."),
        ("word", True, "schema.registry.ssl.key.location names {key}, which is not the key of the certificate in"),
        ("word", False, None),
    ],
)
def test_keys(tmp_path, password, of_other, sentence):
    """A key is tried before anything starts."""
    authority = Authority("tests")
    certificate, key = authority.sign("client").write(tmp_path, "client", "word")
    if of_other:
        _, key = authority.sign("other").write(tmp_path, "other", "word")
    texts = {"certificate.location": str(certificate), "key.location": str(key), "key.password": password or ""}
    found = sentences(AVRO | {f"schema.registry.ssl.{name}": text for name, text in texts.items()}, tmp_path)

    assert bool(found) == bool(sentence)
    assert not sentence or found[0].startswith(sentence.format(key=key))


def test_without_the_extra(monkeypatch):
    """Who has not installed it is told how to."""
    find = registry.importlib.util.find_spec
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None if name == "fastavro" else find(name))

    (sentence,) = sentences(AVRO)
    assert sentence.startswith("value.format cannot be avro without the extra `schema`, as the package fastavro is")
    assert sentence.endswith("pip install 'murmuration-connector[schema]'.")
    assert [] == sentences(AVRO | {"value.format": "jsonschema"})


def test_options_that_json_does_not_need():
    """They are accepted, and said to have no effect."""
    assert ("schema.registry.url has no effect with value.format=json.",) == checked(
        BY_REST | {"schema.registry.url": URL}
    ).notices


@pytest.mark.parametrize(
    ("url", "allowed", "fits"),
    [
        ("http://127.0.0.1:8081", "", True),
        (URL, "", False),
        (URL, f"https://other.example.com,{URL}:443/", True),
        (f"{URL},https://evil.example.com", URL, False),
        (URL, "*", True),
    ],
)
def test_logins_go_to_no_other_place(url, allowed, fits):
    """A configuration by REST cannot have a secret that it refers to sent to a URL of its own."""
    environ = {"CONNECTOR_REGISTRY_LOGIN": "a:b", "CONNECTOR_ALLOWED_REGISTRY_URLS": allowed}
    vault = Vault(load(environ, Path("/")).worker, environ, Path("/"))
    config = AVRO | {
        "x.bearer.token": "${env:CONNECTOR_REGISTRY_LOGIN}",
        "schema.registry.url": url,
        "schema.registry.basic.auth.user.info": "${env:CONNECTOR_REGISTRY_LOGIN}",
    }
    found = [problem.sentence for problem in vault.check("birds", config, group_id="connector").problems]

    assert fits == (found == [])
    assert fits or "CONNECTOR_ALLOWED_REGISTRY_URLS" in found[0]


# -- Connect's names


def connect(converter, **options):
    names = {f"value.converter.{name}": text for name, text in options.items()}
    return BY_REST | {"value.converter": converter} | names


@pytest.mark.parametrize(
    ("converter", "value_format"),
    [
        (JSON_CONVERTER, "json"),
        (BYTES_CONVERTER, "json"),
        (AVRO_CONVERTER, "avro"),
        ("io.confluent.connect.json.JsonSchemaConverter", "json_schema"),
        (PROTOBUF_CONVERTER, "protobuf"),
    ],
)
def test_converters(converter, value_format):
    """A configuration for Connect means the same here."""
    found = checked(
        connect(
            converter,
            **{
                "schema.registry.url": URL,
                "basic.auth.credentials.source": "USER_INFO",
                "basic.auth.user.info": "robin:word",
                "auto.register.schemas": "false",
                "use.latest.version": "true",
                "value.subject.name.strategy": STRATEGY,
                "schemas.enable": "false",
                "enhanced.avro.schema.support": "true",
            },
        )
        | {"key.converter": "org.apache.kafka.connect.storage.StringConverter", "key.converter.schemas.enable": "false"}
    )
    config = found.config

    assert () == found.problems
    assert (value_format, (URL,)) == (config.value_format, config.schema_registry_url)
    assert "robin:word" == config.schema_registry_login.reveal()
    assert (False, True) == (config.auto_register_schemas, config.use_latest_version)
    assert "TopicRecordNameStrategy" == config.value_subject_name_strategy
    assert [] == [notice for notice in found.notices if "not known" in notice]


CONTRADICTIONS = [
    (
        {"value.format": "json"},
        f"value.converter={AVRO_CONVERTER} means value.format=avro, and value.format is json: remove one of them.",
    ),
    (
        {"key.converter": AVRO_CONVERTER},
        (
            f"key.converter cannot be {AVRO_CONVERTER}: keys are written as text here, so use"
            " org.apache.kafka.connect.storage.StringConverter."
        ),
    ),
    (
        {"key.converter": JSON_CONVERTER, "key.converter.schemas.enable": "true"},
        "key.converter.schemas.enable cannot be true: keys are written as text here, without a schema.",
    ),
    (
        {"value.converter": JSON_CONVERTER, SCHEMAS: "true", "value.shape": "envelope"},
        f"{SCHEMAS}=true means value.shape=connect, and value.shape is envelope: remove one of them.",
    ),
    (
        {"value.converter.basic.auth.credentials.source": "SASL_INHERIT"},
        (
            "value.converter.basic.auth.credentials.source cannot be 'SASL_INHERIT' here: write the login into"
            " schema.registry.basic.auth.user.info, as user:password."
        ),
    ),
    (
        {"value.converter.schema.registry.ssl.truststore.type": "JKS"},
        ("value.converter.schema.registry.ssl.truststore.type cannot be 'JKS' here: export the authorities as PEM."),
    ),
    (
        {"value.converter.schema.registry.url": "nowhere"},
        (
            "value.converter.schema.registry.url must be up to 10 URLs such as http://registry.example.com:8081,"
            " comma-separated."
        ),
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), CONTRADICTIONS, ids=[sentence[:50] for _, sentence in CONTRADICTIONS])
def test_what_connect_can_and_we_cannot(changes, sentence):
    """It is refused with the cure, under the name that the user wrote."""
    assert [sentence] == sentences(connect(AVRO_CONVERTER, **{"schema.registry.url": URL}) | changes)


@pytest.mark.parametrize(
    ("texts", "shape", "notices"),
    [
        ({"value.converter": JSON_CONVERTER}, "connect", ()),
        ({"value.converter": JSON_CONVERTER, "value.format": "json"}, "connect", ()),
        ({}, "connect", ()),
        ({"value.shape": "post"}, "connect", ()),
        ({"value.shape": "Connect"}, "connect", ()),
        ({"value.converter": BYTES_CONVERTER}, "envelope", ()),
        ({"value.converter": AVRO_CONVERTER, "schema.registry.url": URL}, "envelope", ()),
        (
            {"value.format": "avro", "schema.registry.url": URL},
            "envelope",
            (f"{SCHEMAS}=true has no effect, as value.format is avro: remove it.",),
        ),
    ],
)
def test_a_json_converter_with_schemas(texts, shape, notices):
    """It writes the schema beside the post; no other converter has the option."""
    found = checked(BY_REST | {SCHEMAS: "True"} | texts)

    assert ((), shape, notices) == (found.problems, found.config.value_shape, found.notices)


def test_without_its_schemas():
    """The line of X."""
    assert "envelope" == checked(connect(JSON_CONVERTER, **{"schemas.enable": "false"})).config.value_shape


def test_keys_have_no_quotes():
    """Who asks for JSON is told; a converter that has nothing to do with schemas in keys may keep the option."""
    string = {
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "key.converter.schemas.enable": "true",
    }
    (notice,) = checked(BY_REST | {"key.converter": JSON_CONVERTER}).notices

    assert (
        f"key.converter={JSON_CONVERTER} writes keys as text here, without quotes: {string['key.converter']} says the"
        in notice
    )
    assert ((), ()) == (checked(BY_REST | string).problems, checked(BY_REST | string).notices)


def test_the_shape_beside_avro():
    """Values of a registry have no schema of their own."""
    found = checked(AVRO | {"value.shape": "connect"})

    assert ("value.shape=connect has no effect with value.format=avro, which writes posts.",) == found.notices


def test_our_own_name_wins_over_a_plain_converter():
    """Forms send Connect's defaults along."""
    found = checked(AVRO | {"value.converter": JSON_CONVERTER})

    assert "avro" == found.config.value_format
    assert (f"value.converter={JSON_CONVERTER} has no effect, as value.format is avro: remove it.",) == found.notices


def test_a_given_is_not_changed():
    """Understanding makes new texts."""
    texts = connect(AVRO_CONVERTER, **{"schema.registry.url": URL})
    before = dict(texts)
    checked(texts)

    assert before == texts


def test_events_have_no_schema():
    """What X says of posts that are to disappear is no post."""
    events = {"stream": "compliance", "plan": "enterprise", "hashtags": ""}
    found = sentences(AVRO | events)

    assert any(sentence.startswith("value.format=avro does not work with stream=compliance") for sentence in found)
