"""What the settings say of Kafka, as each client gets it."""

import faust
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from connector.config.load import load
from connector.kafka.brokers import cluster_of
from connector.worker.wiring import wire

WORD = "Sesame-Open-47"
WITH_PASSWORD = {
    "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    "CONNECTOR_KAFKA_SASL_USERNAME": "wren",
    "CONNECTOR_KAFKA_SASL_PASSWORD": WORD,
}
WITH_TOKEN = {
    "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "CONNECTOR_KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "CONNECTOR_KAFKA_OAUTH_TOKEN_URL": "http://127.0.0.1:9/token",
    "CONNECTOR_KAFKA_OAUTH_CLIENT_ID": "wren",
    "CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET": WORD,
    "CONNECTOR_KAFKA_OAUTH_EXTENSIONS": "logicalCluster=lkc-1,identityPoolId=pool=1",
}
LOGINS = {
    "none": {},
    "TLS": {"CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL"},
    "password": WITH_PASSWORD,
    "password over TLS": WITH_PASSWORD | {"CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
    "token": WITH_TOKEN,
}


@pytest.mark.parametrize("environ", LOGINS.values(), ids=LOGINS)
def test_faust_logs_in_like_the_others(environ, tmp_path):
    """Faust's clients get the same login as ours."""
    cluster = cluster_of(load(environ, tmp_path).worker)
    ours = {key: value for key, value in cluster.options().items() if value is not None}
    theirs = {key: value for key, value in credentials_to_aiokafka_auth(cluster.credentials()).items() if value}

    assert theirs == {key: ours[key] for key in theirs}
    assert {key for key in ours if key.startswith("sasl_")} <= {*theirs, "sasl_mechanism"}


async def test_every_client_has_the_name(tmp_path):
    """Quotas and audits by client id see the whole worker, Faust's clients too."""
    environ = {"CONNECTOR_BROKER_CLIENT_ID": "birds-7"}
    loaded = load(environ, tmp_path)
    app = wire(loaded)
    app.finalize()
    admin = AIOKafkaAdminClient(**cluster_of(loaded.worker).options())

    assert "birds-7" == admin._client._client_id
    assert "birds-7" == app.conf.broker_client_id
    assert "birds-7" == app.transport.create_producer()._settings_default()["client_id"]


def test_token_brings_its_extensions(tmp_path):
    """What a hosted broker wants beside the token goes with it."""
    tokens = cluster_of(load(WITH_TOKEN, tmp_path).worker).tokens

    assert {"logicalCluster": "lkc-1", "identityPoolId": "pool=1"} == tokens.extensions()


@pytest.mark.parametrize("environ", LOGINS.values(), ids=LOGINS)
def test_secrets_stay_inside(environ, tmp_path):
    """Nothing that may be shown of a cluster holds a secret."""
    cluster = cluster_of(load(environ, tmp_path).worker)

    assert WORD not in repr(cluster) + repr(cluster.tokens) + repr(cluster.credentials())
    assert isinstance(cluster.credentials(), faust.types.auth.CredentialsT | None)
