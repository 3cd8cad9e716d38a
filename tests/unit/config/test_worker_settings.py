import json
import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import get_type_hints

import orjson
import pytest
from faust import App
from faust.types.settings import Settings
from typeguard import check_type

from connector.config.dotenv import load_dotenv_into
from connector.config.faust_settings import FAUST_SETTINGS
from connector.config.keys import read_keys
from connector.config.load import load
from connector.config.secret import Secret
from connector.config.worker import WORKER_OPTIONS, WebUser, WorkerSettings
from connector.errors import ConfigError
from tests import ROOT
from tests.certificates import Authority

DATA = Path(__file__).parent / "data"
PEMS = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
AUTHORITY = Authority("tests")
CA = AUTHORITY.write(Path(PEMS.name), "ca")
KEYS = Path(PEMS.name) / "config.keys"
KEYS.write_text("ab" * 32)
KEYS.chmod(0o600)
CERTIFICATE, KEY = AUTHORITY.sign("client").write(Path(PEMS.name), "client")
WORD = "Sesame-Open-47"


def worker_of(environ, directory=DATA):
    return load(environ, directory).worker


def problems_of(environ, directory=DATA):
    with pytest.raises(ConfigError) as caught:
        load(environ, directory)
    return caught.value.problems


def dotenv_in(directory, content):
    (directory / ".env").write_text(content)
    return directory


def test_defaults():
    """Without a variable, a worker uses the broker on this machine and listens on this machine alone."""
    worker = worker_of({})

    assert WorkerSettings() == worker
    assert ("kafka://localhost:9092", ("localhost:9092",)) == (worker.broker_url, worker.bootstrap_servers)
    assert ("127.0.0.1", 8083, ()) == (worker.web_bind, worker.web_port, worker.web_users)


EXAMPLES = {
    "broker_url": ("kafka://a:9092;kafka://b:9093", "kafka://a:9092;kafka://b:9093"),
    "group_id": ("birds", "birds"),
    "broker_client_id": ("birds-1", "birds-1"),
    "broker_session_timeout": ("6", 6.0),
    "broker_heartbeat_interval": ("0.5", 0.5),
    "kafka_security_protocol": ("sasl_ssl", "SASL_SSL"),
    "kafka_ssl_ca_file": (os.path.relpath(CA, DATA), DATA / os.path.relpath(CA, DATA)),
    "kafka_ssl_cert_file": (str(CERTIFICATE), CERTIFICATE),
    "kafka_ssl_key_file": (str(KEY), KEY),
    "kafka_ssl_key_password": (WORD, Secret(WORD)),
    "kafka_sasl_mechanism": ("scram-sha-512", "SCRAM-SHA-512"),
    "kafka_sasl_username": ("robin", "robin"),
    "kafka_sasl_password": (WORD, Secret(WORD)),
    "kafka_oauth_token_url": ("https://login.example.com/t", "https://login.example.com/t"),
    "kafka_oauth_client_id": ("birds", "birds"),
    "kafka_oauth_client_secret": (WORD, Secret(WORD)),
    "kafka_oauth_scope": ("kafka", "kafka"),
    "kafka_oauth_extensions": ("logicalCluster=lkc-1, pool=p=1", ("logicalCluster=lkc-1", "pool=p=1")),
    "compression": ("gzip", "gzip"),
    "transaction_timeout_secs": ("30", 30),
    "internal_replication_factor": ("3", 3),
    "ledger_retention_hours": ("24", 24),
    "history_retention_hours": ("48", 48),
    "web_bind": ("::1", "::1"),
    "rest_url": ("https://birds.example.com/connect/", "https://birds.example.com/connect"),
    "rest_user": ("wren", "wren"),
    "rest_password": (WORD, Secret(WORD)),
    "secrets_dir": (".", DATA),
    "config_key_file": (str(KEYS), read_keys(str(KEYS))),
    "config_plaintext_secrets": ("yes", True),
    "allowed_api_urls": ("https://proxy.example.com/x/, *", ("https://proxy.example.com/x", "*")),
    "allowed_registry_urls": ("http://registry:8081/, *", ("http://registry:8081", "*")),
    "topic_allow_declare": ("no", False),
    "web_port": ("9000", 9000),
    "web_hosts": ("Birds.example.com., [::2], birds.example.com", ("birds.example.com", "::2")),
    "web_users": (f"robin:{WORD}", (WebUser("robin", Secret(WORD)),)),
    "log_level": ("warn", "WARNING"),
    "log_format": ("json", "json"),
    "stop_timeout_secs": ("5", 5.0),
}

SECURE = {
    "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "CONNECTOR_KAFKA_SSL_CERT_FILE": str(CERTIFICATE),
    "CONNECTOR_KAFKA_SSL_KEY_FILE": str(KEY),
    "CONNECTOR_KAFKA_SASL_USERNAME": "wren",
    "CONNECTOR_KAFKA_SASL_PASSWORD": "word",
    "CONNECTOR_REST_USER": "robin",
    "CONNECTOR_REST_PASSWORD": "word",
}
WITH_TOKEN = {
    "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "CONNECTOR_KAFKA_SASL_MECHANISM": "OAUTHBEARER",
    "CONNECTOR_KAFKA_OAUTH_TOKEN_URL": "https://login.example.com/oauth2/token",
    "CONNECTOR_KAFKA_OAUTH_CLIENT_ID": "wren",
    "CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET": "word",
}


@pytest.mark.parametrize("name", sorted(WORKER_OPTIONS))
def test_settable_from_environment(name):
    """Every setting of the declaration can be set from the environment, and has its declared type then."""
    text, value = EXAMPLES[name]

    surroundings = WITH_TOKEN if "_oauth_" in name else SECURE
    worker = worker_of(surroundings | {WORKER_OPTIONS[name].environment: text})

    assert value == getattr(worker, name)
    check_type(getattr(worker, name), get_type_hints(WorkerSettings)[name])


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("one", "kafka://one:9092"),
        ("one:9093", "kafka://one:9093"),
        ("one:9092, two:9093", "kafka://one:9092;kafka://two:9093"),
        ("kafka://one;aiokafka://two/;", "kafka://one:9092;kafka://two:9092"),
        ("[::1]:9092", "kafka://[::1]:9092"),
    ],
)
def test_broker_url(text, url):
    """Brokers may be written as people write them."""
    assert url == worker_of({"CONNECTOR_BROKER_URL": text}).broker_url


def test_login_in_broker_url():
    """A user in the URL logs in by SASL, and the URL is kept without it."""
    worker = worker_of({"CONNECTOR_BROKER_URL": f"kafka://robin:{WORD}%21@one:9092;kafka://two:9092"})

    assert "kafka://one:9092;kafka://two:9092" == worker.broker_url == worker.broker_url_redacted
    assert ("SASL_PLAINTEXT", "PLAIN") == (worker.kafka_security_protocol, worker.kafka_sasl_mechanism)
    assert ("robin", Secret(f"{WORD}!")) == (worker.kafka_sasl_username, worker.kafka_sasl_password)


def test_several_web_users(tmp_path):
    """Users of the web interface come from a list, or from a file with one in each line; a password may have colons."""
    (tmp_path / "users").write_text("robin:a:b\nwren:c\n")
    users = (WebUser("robin", Secret("a:b")), WebUser("wren", Secret("c")))

    assert users == worker_of({"CONNECTOR_WEB_USERS": "robin:a:b, wren:c"}).web_users
    assert users == worker_of({"CONNECTOR_WEB_USERS_FILE": "users"}, tmp_path).web_users


def test_open_to_the_network_with_a_login():
    """A worker may listen on every address as soon as it has a user."""
    assert "0.0.0.0" == worker_of({"CONNECTOR_WEB_BIND": "0.0.0.0", "CONNECTOR_WEB_USERS": "robin:a"}).web_bind  # noqa: S104


WRONG = [
    # Kafka
    (
        {"CONNECTOR_BROKER_URL": "http://one:9092"},
        "CONNECTOR_BROKER_URL must be a list of brokers such as kafka://one:9092;kafka://two:9092.",
    ),
    (
        {"CONNECTOR_BROKER_URL": f"kafka://robin:{WORD}@one:port"},
        "CONNECTOR_BROKER_URL must be a list of brokers such as kafka://one:9092;kafka://two:9092.",
    ),
    (
        {"CONNECTOR_BROKER_URL": ";"},
        "CONNECTOR_BROKER_URL must be a list of brokers such as kafka://one:9092;kafka://two:9092.",
    ),
    (
        {"CONNECTOR_BROKER_URL": "robin:a@one,wren:b@two"},
        "CONNECTOR_BROKER_URL has several users: a worker logs in to all brokers as one.",
    ),
    (
        {"CONNECTOR_BROKER_URL": "robin@one"},
        "CONNECTOR_BROKER_URL has a user without a password: write kafka://user:password@host:9092.",
    ),
    (
        {"CONNECTOR_BROKER_URL": "robin:a@one", "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL"},
        (
            "CONNECTOR_BROKER_URL has a user, which has no effect with CONNECTOR_KAFKA_SECURITY_PROTOCOL=SSL: set that"
            " to SASL_SSL or SASL_PLAINTEXT."
        ),
    ),
    (
        {"CONNECTOR_BROKER_URL": "robin:a@one", "CONNECTOR_KAFKA_SASL_USERNAME": "robin"},
        "CONNECTOR_BROKER_URL and CONNECTOR_KAFKA_SASL_USERNAME both say who logs in: keep one of them.",
    ),
    (
        {"CONNECTOR_GROUP_ID": "my group"},
        (
            "CONNECTOR_GROUP_ID cannot be 'my group': it begins the names of topics, so use up to 200 letters, digits,"
            " dots, underscores and hyphens."
        ),
    ),
    ({"CONNECTOR_BROKER_SESSION_TIMEOUT": "0"}, "CONNECTOR_BROKER_SESSION_TIMEOUT must be at least 1, not '0'."),
    (
        {"CONNECTOR_BROKER_HEARTBEAT_INTERVAL": "4"},
        (
            "CONNECTOR_BROKER_HEARTBEAT_INTERVAL must be less than 3.33, a third of CONNECTOR_BROKER_SESSION_TIMEOUT,"
            " not 4."
        ),
    ),
    (
        {"CONNECTOR_TRANSACTION_TIMEOUT_SECS": "901"},
        "CONNECTOR_TRANSACTION_TIMEOUT_SECS must be from 1 to 900, not '901'.",
    ),
    (
        {"CONNECTOR_INTERNAL_REPLICATION_FACTOR": "0"},
        "CONNECTOR_INTERNAL_REPLICATION_FACTOR must be -1 or from 1 to 32767, not '0'.",
    ),
    ({"CONNECTOR_COMPRESSION": "lz4"}, "CONNECTOR_COMPRESSION cannot be 'lz4': use none, zstd or gzip."),
    # Kafka security
    (
        {"CONNECTOR_KAFKA_SECURITY_PROTOCOL": "TLS"},
        "CONNECTOR_KAFKA_SECURITY_PROTOCOL cannot be 'TLS': use PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
    ),
    (
        {"CONNECTOR_KAFKA_SSL_CA_FILE": "/nowhere.pem", "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL"},
        "CONNECTOR_KAFKA_SSL_CA_FILE names '/nowhere.pem', which is no file here.",
    ),
    (
        {"CONNECTOR_KAFKA_SSL_CA_FILE": str(CA)},
        (
            "CONNECTOR_KAFKA_SSL_CA_FILE has no effect with CONNECTOR_KAFKA_SECURITY_PROTOCOL=PLAINTEXT: set that to"
            " SSL or SASL_SSL."
        ),
    ),
    (
        {"CONNECTOR_KAFKA_SSL_CERT_FILE": str(CERTIFICATE), "CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL"},
        (
            "CONNECTOR_KAFKA_SSL_KEY_FILE is required with CONNECTOR_KAFKA_SSL_CERT_FILE: a certificate and its key go"
            " together."
        ),
    ),
    (
        {"CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "CONNECTOR_KAFKA_SASL_USERNAME": "robin"},
        (
            "CONNECTOR_KAFKA_SASL_PASSWORD is required with CONNECTOR_KAFKA_SECURITY_PROTOCOL=SASL_SSL: Password of"
            " the user who logs in to the brokers."
        ),
    ),
    (
        {"CONNECTOR_KAFKA_SASL_MECHANISM": "PLAIN"},
        (
            "CONNECTOR_KAFKA_SASL_MECHANISM has no effect with CONNECTOR_KAFKA_SECURITY_PROTOCOL=PLAINTEXT: set that to"
            " SASL_SSL or SASL_PLAINTEXT."
        ),
    ),
    (
        {"CONNECTOR_KAFKA_SECURITY_PROTOCOL": "SSL", "CONNECTOR_KAFKA_SSL_KEY_PASSWORD": WORD},
        "CONNECTOR_KAFKA_SSL_KEY_FILE is required with CONNECTOR_KAFKA_SSL_KEY_PASSWORD: it opens a key.",
    ),
    (
        {"CONNECTOR_KAFKA_SASL_MECHANISM": "AWS_MSK_IAM"},
        (
            "CONNECTOR_KAFKA_SASL_MECHANISM cannot be 'AWS_MSK_IAM', which is not available here: use PLAIN,"
            " SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER."
        ),
    ),
    (
        {name: value for name, value in WITH_TOKEN.items() if not name.endswith("SECRET")},
        (
            "CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET is required with CONNECTOR_KAFKA_SASL_MECHANISM=OAUTHBEARER: Secret of"
            " the client that asks the token endpoint."
        ),
    ),
    (
        WITH_TOKEN | {"CONNECTOR_KAFKA_OAUTH_TOKEN_URL": "http://login.example.com/token"},
        "CONNECTOR_KAFKA_OAUTH_TOKEN_URL would send the client secret unencrypted: use https.",
    ),
    (
        WITH_TOKEN | {"CONNECTOR_KAFKA_OAUTH_TOKEN_URL": f"https://wren:{WORD}@login.example.com/token"},
        (
            "CONNECTOR_KAFKA_OAUTH_TOKEN_URL must be a URL without user and fragment: CONNECTOR_KAFKA_OAUTH_CLIENT_ID"
            " says who asks."
        ),
    ),
    (
        WITH_TOKEN | {"CONNECTOR_KAFKA_OAUTH_EXTENSIONS": "logicalCluster"},
        "CONNECTOR_KAFKA_OAUTH_EXTENSIONS has logicalCluster twice, or without a value: write each name=value once.",
    ),
    (
        WITH_TOKEN | {"CONNECTOR_KAFKA_SASL_PASSWORD": "word"},
        (
            "CONNECTOR_KAFKA_SASL_PASSWORD has no effect with CONNECTOR_KAFKA_SASL_MECHANISM=OAUTHBEARER: remove it, or"
            " choose another mechanism."
        ),
    ),
    (
        SECURE | {"CONNECTOR_KAFKA_OAUTH_SCOPE": "kafka"},
        (
            "CONNECTOR_KAFKA_OAUTH_SCOPE has no effect with CONNECTOR_KAFKA_SASL_MECHANISM=PLAIN: remove it, or choose"
            " another mechanism."
        ),
    ),
    (
        WITH_TOKEN | {"CONNECTOR_BROKER_URL": "kafka://robin:word@one"},
        (
            "CONNECTOR_BROKER_URL has a user, which has no effect with CONNECTOR_KAFKA_SASL_MECHANISM=OAUTHBEARER:"
            " remove it, or choose another mechanism."
        ),
    ),
    # Web
    (
        {"CONNECTOR_WEB_BIND": "0.0.0.0"},  # noqa: S104
        (
            "CONNECTOR_WEB_BIND opens the REST API to the network, without a login: set CONNECTOR_WEB_USERS to"
            " name:password, or bind to 127.0.0.1."
        ),
    ),
    (
        {"CONNECTOR_WEB_BIND": "every where"},
        "CONNECTOR_WEB_BIND cannot be 'every where': use an address such as 127.0.0.1, or a host name.",
    ),
    *[
        (
            {"CONNECTOR_WEB_HOSTS": f"a, {wrong}"},
            (
                f"CONNECTOR_WEB_HOSTS cannot have {wrong!r}: use host names or addresses such as birds.example.com,"
                " without scheme and port."
            ),
        )
        for wrong in ("http://birds.example.com", "birds:8083", "*", "bird s", "v\xf6gel")
    ],
    ({"CONNECTOR_WEB_PORT": "65536"}, "CONNECTOR_WEB_PORT must be from 1 to 65535, not '65536'."),
    (
        {"CONNECTOR_WEB_USERS": f"robin:a,{WORD}"},
        "CONNECTOR_WEB_USERS has no name:password in place 2: write name:password, separated by commas.",
    ),
    (
        {"CONNECTOR_WEB_USERS": "robin:a,robin:b"},
        "CONNECTOR_WEB_USERS has one name twice, in place 2 again: give each user one entry.",
    ),
    # Log and run
    (
        {"CONNECTOR_LOG_LEVEL": "LOUD"},
        "CONNECTOR_LOG_LEVEL cannot be 'LOUD': use DEBUG, INFO, WARNING, ERROR or CRITICAL.",
    ),
    ({"CONNECTOR_LOG_FORMAT": "jsn"}, "CONNECTOR_LOG_FORMAT cannot be 'jsn': use console or json."),
    ({"CONNECTOR_STOP_TIMEOUT_SECS": "x"}, "CONNECTOR_STOP_TIMEOUT_SECS must be a number, not 'x'."),
    # Faust's
    (
        {"CONNECTOR_PROCESSING_GUARANTEE": "exactly_once"},
        "CONNECTOR_PROCESSING_GUARANTEE cannot be used: remove it, and choose with CONNECTOR_DELIVERY.",
    ),
]


@pytest.mark.parametrize(("environ", "sentence"), WRONG, ids=[sentence[:60] for _, sentence in WRONG])
def test_wrong_setting(environ, sentence):
    """A wrong setting is answered with one sentence that names it and the cure, and with nothing else."""
    assert (sentence,) == problems_of(environ)


def test_zstd_needs_its_package(monkeypatch):
    """A compression that cannot work is a problem at once, not at the first batch."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)

    (sentence,) = problems_of({"CONNECTOR_COMPRESSION": "zstd"})

    assert sentence == (
        "CONNECTOR_COMPRESSION cannot be zstd without the package cramjam: pip install 'murmuration-connector[zstd]',"
        " or use gzip."
    )


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        (
            {"CONNECTOR_BROKER_URL": "robin:a@one"},
            (
                "CONNECTOR_KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT: the login to the brokers travels unencrypted;"
                " SASL_SSL encrypts it."
            ),
        ),
        (
            {"CONNECTOR_TOPIC_PARTITIONS": "4"},
            (
                "CONNECTOR_TOPIC_PARTITIONS is a setting of Faust and shapes none of our topics:"
                " CONNECTOR_TOPIC_CREATION_DEFAULT_PARTITIONS may be what you want."
            ),
        ),
        (
            {"CONNECTOR_BROKER_SESION_TIMEOUT": "4"},
            (
                "CONNECTOR_BROKER_SESION_TIMEOUT is not known and has no effect: did you mean"
                " CONNECTOR_BROKER_SESSION_TIMEOUT?"
            ),
        ),
    ],
)
def test_notice(environ, sentence):
    """What works but may not be what was meant is said once."""
    assert (sentence,) == load(environ, DATA).notices


def test_dotenv(tmp_path):
    """A `.env` in the working directory is read, and the environment wins over it."""
    dotenv_in(tmp_path, "# ours\nexport CONNECTOR_GROUP_ID='birds'\nCONNECTOR_WEB_PORT=9000\nCONNECTOR_LOG_LEVEL\n")

    worker = worker_of({"CONNECTOR_WEB_PORT": "9001"}, tmp_path)

    assert ("birds", 9001, "INFO") == (worker.group_id, worker.web_port, worker.log_level)


def test_dotenv_for_faust(tmp_path):
    """What `.env` says of ours is made visible to Faust; what is there already stays, and nothing else is added."""
    dotenv_in(tmp_path, "CONNECTOR_WEB_PORT=9000\nCONNECTOR_GROUP_ID=$birds\nPATH=/nowhere\n")
    environ = {"CONNECTOR_WEB_PORT": "9001"}

    load_dotenv_into(environ, tmp_path)

    assert {"CONNECTOR_WEB_PORT": "9001", "CONNECTOR_GROUP_ID": "$birds"} == environ


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"CONNECTOR_GROUP_ID=birds\n= what\n", "{} has no NAME=value in line 2: correct it."),
        (b"CONNECTOR_GROUP_ID=\xff\n", "{} is not UTF-8 text: write it again."),
    ],
)
def test_malformed_dotenv(tmp_path, content, sentence):
    """What cannot be read in a `.env` is a problem, not silence."""
    path = tmp_path / ".env"
    path.write_bytes(content)

    assert (sentence.format(path),) == problems_of({}, tmp_path)


def test_unreadable_dotenv(tmp_path):
    """A `.env` that is there and cannot be read is a problem."""
    (tmp_path / ".env").mkdir()

    assert (f"{tmp_path}/.env cannot be read: Is a directory.",) == problems_of({}, tmp_path)


def test_faust_agrees(monkeypatch):
    """Faust, which reads the same variables by itself, understands them as we do."""
    for name in [name for name in os.environ if name.startswith("CONNECTOR_")]:
        monkeypatch.delenv(name)
    environ = {
        "CONNECTOR_BROKER_URL": f"robin:{WORD}@one , two:9093",
        "CONNECTOR_BROKER_SESSION_TIMEOUT": "",
        "CONNECTOR_WEB_PORT": " 9000 ",
    }

    worker = worker_of(environ)
    worker.export_to(environ)

    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    conf = App("birds", env_prefix="CONNECTOR_").conf
    assert ["kafka://one:9092", "kafka://two:9093"] == [str(url) for url in conf.broker]
    assert (worker.broker_session_timeout, 9000) == (conf.broker_session_timeout, conf.web_port)


def test_settings_of_faust_are_known():
    """Our list of what Faust reads is Faust's own."""
    assert {f"CONNECTOR_{param.env_name}" for param in Settings.SETTINGS.values() if param.env_name} == FAUST_SETTINGS


def test_no_faust():
    """Settings can be read without importing Faust or tweepy."""
    code = "import sys, connector.config.docs; sys.exit(bool({'faust', 'tweepy', 'aiokafka'} & sys.modules.keys()))"

    assert 0 == subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode  # noqa: S603


@pytest.mark.parametrize(
    "environ",
    [
        {"CONNECTOR_BROKER_URL": f"kafka://robin:{WORD}@one"},
        {"CONNECTOR_WEB_USERS": f"robin:{WORD}"},
        SECURE | {"CONNECTOR_KAFKA_SASL_PASSWORD": WORD},
        SECURE | {"CONNECTOR_KAFKA_SSL_KEY_PASSWORD": WORD},
        WITH_TOKEN | {"CONNECTOR_KAFKA_OAUTH_CLIENT_SECRET": WORD},
    ],
    ids=["broker_url", "web_users", "kafka_sasl_password", "kafka_ssl_key_password", "kafka_oauth_client_secret"],
)
def test_secrets_stay_inside(environ):
    """No text that is made of the settings shows a secret."""
    loaded = load(environ, DATA)
    worker = loaded.worker

    shown = [repr(worker), str(worker), repr(loaded), str(asdict(worker)), json.dumps(asdict(worker), default=str)]
    shown += [orjson.dumps(worker, default=str).decode(), f"{worker}"]
    shown += [worker.broker_url_redacted, *loaded.notices]
    with pytest.raises(TypeError) as caught:
        pickle.dumps(worker)
    shown.append(str(caught.value))
    assert [] == [text for text in shown if WORD in text]


@pytest.mark.parametrize("name", ["CONNECTOR_BROKER_URL", "CONNECTOR_WEB_USERS", "CONNECTOR_KAFKA_SASL_PASSWORD"])
@pytest.mark.parametrize(
    "form", ["{}", "http://{}:{}@one", "r:{}@[", "robin:{}@one:x", "a:{},{}", "{}\udcff", "{}@one"]
)
def test_problems_show_no_secret(name, form):
    """No sentence shows a secret, whatever is wrong with it."""
    try:
        sentences = load({name: form.format(WORD, WORD)}, DATA).notices
    except ConfigError as error:
        sentences = error.problems

    assert [] == [sentence for sentence in sentences if WORD in sentence]


def test_settings_are_frozen():
    """Settings cannot be changed."""
    with pytest.raises(FrozenInstanceError):
        worker_of({}).group_id = "other"
