"""
The settings of a worker, read from its environment.

`WorkerSettings` declares every setting once.  A setting `web_port` is the variable `CONNECTOR_WEB_PORT`; a file `.env`
in the working directory is read too, and the environment wins over it.

Faust reads `CONNECTOR_*` by itself, from `os.environ` and nowhere else.  So a process that starts a worker calls, in
this order:

    loaded = load(os.environ, directory)        in connector/config/load.py: reads these settings and the connector's
    load_dotenv_into(os.environ, directory)     in connector/config/dotenv.py: shows the variables of `.env` to Faust
    loaded.worker.export_to(os.environ)         shows Faust the values that we read of settings it reads, too
"""

import importlib.util
import re
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args

from connector.config import certificates
from connector.config.addresses import (
    parse_api_urls,
    parse_bind,
    parse_brokers,
    parse_rest_url,
    parse_token_url,
    parse_web_hosts,
)
from connector.config.faust_settings import FAUST_SETTINGS
from connector.config.keys import Key, read_keys
from connector.config.names import Names
from connector.config.options import (
    Option,
    Parser,
    Unfit,
    as_text,
    boolean,
    choice,
    declared,
    file,
    items,
    number,
    secret,
    shown,
    text,
    whole,
)
from connector.config.registry import parse_allowed_urls
from connector.config.secret import Secret

GROUP_ID_CHARACTERS_MAX = 200  # leaves room for the longest suffix of a topic's name
TRANSACTION_TIMEOUT_SECS_MAX = 900  # a broker's default transaction.max.timeout.ms
_LEGAL_TOPIC = re.compile(r"[a-zA-Z0-9._-]+")
_COMPRESSIONS = choice("none", "zstd", "gzip")
_LOG_LEVELS = choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
SASL_MECHANISMS: tuple[str, ...] = get_args(SaslMechanism)
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@dataclass(frozen=True, slots=True)
class WebUser:
    """A user who may log in to the web interface and the REST API."""

    name: str
    password: Secret


def legal_topic(name: str) -> str:
    """
    Return *name* if Kafka allows it for a topic.

    Raises:
        Unfit: Kafka does not allow it.
    """
    if name in {".", ".."} or len(name) > 249 or not _LEGAL_TOPIC.fullmatch(name):  # noqa: PLR2004  # Kafka's limit
        raise Unfit(f"cannot be {shown(name)}: Kafka allows up to 249 letters, digits, dots, underscores and hyphens.")
    return name


def _group_id(name: str) -> str:
    if len(name) > GROUP_ID_CHARACTERS_MAX or not _LEGAL_TOPIC.fullmatch(name):
        raise Unfit(
            f"cannot be {shown(name)}: it begins the names of topics, so use up to {GROUP_ID_CHARACTERS_MAX}"
            " letters, digits, dots, underscores and hyphens."
        )
    return name


def _existing_file(path: str) -> Path:
    return _found(path, Path.is_file, "file")


def _folder(path: str) -> Path:
    return _found(path, Path.is_dir, "folder")


def _found(path: str, is_one: Callable[[Path], bool], word: str) -> Path:
    try:
        if is_one(Path(path)):
            return Path(path)
    except (OSError, ValueError):  # a null character, or a name that no file system takes
        pass
    raise Unfit(f"names {shown(path)}, which is no {word} here.")


def _authorities(path: str) -> Path:
    return certificates.check_authorities(str(_existing_file(path)))


def _certificate(path: str) -> Path:
    return certificates.check_certificate(str(_existing_file(path)))


def _key(path: str) -> Path:
    return certificates.check_key(str(_existing_file(path)))


def _client_id(name: str) -> str:
    if not name.isascii() or not name.isprintable() or len(name) > GROUP_ID_CHARACTERS_MAX:
        raise Unfit(f"cannot be {shown(name)}: use up to {GROUP_ID_CHARACTERS_MAX} printable ASCII characters.")
    return name


def _oauth_client(name: str) -> str:
    if ":" in name or not name.isprintable():
        raise Unfit(f"cannot be {shown(name)}: a client has no colon and no control characters.")
    return name


def _extensions(listing: str) -> tuple[str, ...]:
    pairs = dict[str, str]()
    for entry in items(listing):
        name, _, value = (part.strip() for part in entry.partition("="))
        if not re.fullmatch("[A-Za-z]+", name) or name == "auth" or not value.isascii() or not value.isprintable():
            raise Unfit("must be a list of name=value, such as logicalCluster=lkc-1,identityPoolId=pool-1.")
        if not value or name in pairs:
            raise Unfit(f"has {name} twice, or without a value: write each name=value once.")
        pairs[name] = value
    return tuple(f"{name}={value}" for name, value in pairs.items())


def _web_users(listing: str) -> tuple[WebUser, ...]:
    users: dict[str, WebUser] = {}
    for place, entry in enumerate(items(listing.replace("\n", ",")), start=1):
        name, _, password = entry.partition(":")
        if not name.strip() or not password.strip():
            raise Unfit(f"has no name:password in place {place}: write name:password, separated by commas.")
        if name.strip() in users:
            raise Unfit(f"has one name twice, in place {place} again: give each user one entry.")
        users[name.strip()] = WebUser(name.strip(), Secret(password.strip()))
    return tuple(users.values())


def _compression(name: str) -> str:
    chosen = _COMPRESSIONS.parse(name)
    if chosen == "zstd" and importlib.util.find_spec("cramjam") is None:
        raise Unfit(
            "cannot be zstd without the package cramjam: pip install 'murmuration-connector[zstd]', or use gzip."
        )
    return str(chosen)


def _log_level(name: str) -> object:
    return _LOG_LEVELS.parse("WARNING" if name.upper() == "WARN" else name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """
    One worker's settings.

    *broker_url* is normalised and holds no user or password; *kafka_sasl_username* and *kafka_sasl_password* hold those
    of the URL, too.
    """

    broker_url: Annotated[
        str,
        Option(
            text(lambda listing: parse_brokers(listing).url),
            "Kafka",
            "Kafka brokers. Several are separated by `;` or `,`; scheme and port may be left out. A user and password"
            " in the URL are used for SASL and never shown.",
            "HIGH",
        ),
    ] = "kafka://localhost:9092"
    group_id: Annotated[
        str,
        Option(
            text(_group_id),
            "Kafka",
            "The group of workers that share the tasks. It begins the names of the internal topics and the"
            " transactional ids.",
            "HIGH",
        ),
    ] = "connector"
    broker_client_id: Annotated[
        str,
        Option(
            text(_client_id),
            "Kafka",
            "Name that all clients of the worker give to the brokers, for quotas, metrics and audits there.",
            "LOW",
        ),
    ] = "murmuration"
    broker_session_timeout: Annotated[
        float,
        Option(
            number(minimum=1),
            "Kafka",
            "Seconds after which the group gives away the tasks of a worker that fell silent: the failover time. Apache"
            " Kafka allows 6 and more.",
        ),
    ] = 10.0
    broker_heartbeat_interval: Annotated[
        float,
        Option(
            number(minimum=0.1),
            "Kafka",
            "Seconds between two heartbeats to the group; less than a third of `CONNECTOR_BROKER_SESSION_TIMEOUT`.",
            "LOW",
        ),
    ] = 1.0
    kafka_security_protocol: Annotated[
        SecurityProtocol,
        Option(
            choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
            "Kafka security",
            "How to talk to the brokers. A user in `CONNECTOR_BROKER_URL` alone means `SASL_PLAINTEXT`.",
        ),
    ] = "PLAINTEXT"
    kafka_ssl_ca_file: Annotated[
        Path | None,
        Option(
            file(_authorities),
            "Kafka security",
            "PEM file of the authorities that sign the brokers' certificates; without it the system's.",
        ),
    ] = None
    kafka_ssl_cert_file: Annotated[
        Path | None,
        Option(
            file(_certificate),
            "Kafka security",
            "PEM file of this client's certificate. It and the key's file are read again when they change.",
        ),
    ] = None
    kafka_ssl_key_file: Annotated[
        Path | None, Option(file(_key), "Kafka security", "PEM file of the key of this client's certificate.")
    ] = None
    kafka_ssl_key_password: Annotated[
        Secret | None, Option(secret(), "Kafka security", "Password that opens the key, if one does.")
    ] = None
    kafka_sasl_mechanism: Annotated[
        SaslMechanism,
        Option(
            choice(*SASL_MECHANISMS, refused=dict.fromkeys(("aws_msk_iam", "gssapi"), "which is not available here")),
            "Kafka security",
            "How to log in to the brokers. `OAUTHBEARER` gets a token by client credentials from"
            " `CONNECTOR_KAFKA_OAUTH_TOKEN_URL`.",
        ),
    ] = "PLAIN"
    kafka_sasl_username: Annotated[str | None, Option(text(), "Kafka security", "User who logs in to the brokers.")] = (
        None
    )
    kafka_sasl_password: Annotated[
        Secret | None, Option(secret(), "Kafka security", "Password of the user who logs in to the brokers.")
    ] = None
    kafka_oauth_token_url: Annotated[
        str | None,
        Option(
            text(parse_token_url),
            "Kafka security",
            "Token endpoint that gives this client a token for the brokers. `https`, unless it is on this machine; its"
            " certificate may be signed by the system's authorities or by those of `CONNECTOR_KAFKA_SSL_CA_FILE`.",
        ),
    ] = None
    kafka_oauth_client_id: Annotated[
        str | None, Option(text(_oauth_client), "Kafka security", "Client that asks the token endpoint.")
    ] = None
    kafka_oauth_client_secret: Annotated[
        Secret | None, Option(secret(), "Kafka security", "Secret of the client that asks the token endpoint.")
    ] = None
    kafka_oauth_scope: Annotated[
        str | None,
        Option(text(), "Kafka security", "Scope of the token; without it the token endpoint's default.", "LOW"),
    ] = None
    kafka_oauth_extensions: Annotated[
        tuple[str, ...],
        Option(
            Parser(kind="LIST", parse=_extensions),
            "Kafka security",
            "What the login sends beside the token, as `name=value`, comma-separated; Confluent Cloud wants"
            " `logicalCluster` and `identityPoolId`.",
            "LOW",
        ),
    ] = ()
    compression: Annotated[
        Literal["none", "zstd", "gzip"],
        Option(
            replace(_COMPRESSIONS, parse=_compression),
            "Kafka",
            "How batches are compressed: `none`, `zstd` (needs the extra `zstd`) or `gzip`.",
        ),
    ] = "none"
    transaction_timeout_secs: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=TRANSACTION_TIMEOUT_SECS_MAX),
            "Kafka",
            "Seconds after which the broker aborts the transaction of a worker that is gone, if no successor did.",
            "LOW",
        ),
    ] = 60
    internal_replication_factor: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=32767, besides=-1),
            "Kafka",
            "Replicas of each internal topic that we create; -1 is the broker's default.",
        ),
    ] = -1
    topic_allow_declare: Annotated[
        bool,
        Option(
            boolean(),
            "Kafka",
            "Whether topics that are absent are created. With `false` the worker needs no right to create any, and"
            " ends with a sentence where one is absent.",
            "LOW",
        ),
    ] = True
    ledger_retention_hours: Annotated[
        int,
        Option(
            whole(minimum=24, maximum=87_600),
            "Kafka",
            "Hours for which the ids of delivered posts are kept, so that no repair delivers one twice. More than the"
            " seven days over which X's search reaches back.",
            "LOW",
        ),
    ] = 192
    history_retention_hours: Annotated[
        int,
        Option(
            whole(minimum=24, maximum=87_600),
            "Kafka",
            "Hours for which Kafka keeps the group's history: what happened, and how much was received, delivered and"
            " spent in each minute. The page shows at most the last seven days of it.",
            "LOW",
        ),
    ] = 192
    web_bind: Annotated[
        str,
        Option(
            text(parse_bind),
            "Web",
            "Address on which the REST API and the web interface listen. Any but a loopback address needs"
            " `CONNECTOR_WEB_USERS`.",
        ),
    ] = "127.0.0.1"
    web_port: Annotated[
        int,
        Option(
            whole(minimum=1, maximum=65_535), "Web", "Port on which the REST API and the web interface listen.", "HIGH"
        ),
    ] = 8083
    web_hosts: Annotated[
        tuple[str, ...],
        Option(
            Parser(kind="LIST", parse=parse_web_hosts),
            "Web",
            "Host names and addresses, separated by commas, under which the REST API answers besides loopback ones,"
            " for a reverse proxy on this machine. Without `CONNECTOR_WEB_USERS` a request for any other `Host` is"
            " refused.",
            "LOW",
        ),
    ] = ()
    web_users: Annotated[
        tuple[WebUser, ...],
        Option(
            Parser(kind="PASSWORD", parse=_web_users),
            "Web",
            "Who may log in: `name:password`, separated by commas (in a file also by line ends).",
        ),
    ] = ()
    rest_url: Annotated[
        str | None,
        Option(
            text(parse_rest_url),
            "Command connectors",
            "URL of a worker's REST API. Without it `CONNECTOR_WEB_BIND` and `CONNECTOR_WEB_PORT` say where one is.",
            "LOW",
        ),
    ] = None
    rest_user: Annotated[
        str | None,
        Option(
            text(),
            "Command connectors",
            "User who logs in there. Without one, on this machine, the first of `CONNECTOR_WEB_USERS`.",
        ),
    ] = None
    rest_password: Annotated[Secret | None, Option(secret(), "Command connectors", "Password of that user.")] = None
    secrets_dir: Annotated[
        Path | None,
        Option(
            file(_folder),
            "Connectors by REST",
            "Folder whose files connectors that come by REST may name: secrets as `${file:...}`, and `rules.file`."
            " Without it they may name none.",
        ),
    ] = None
    config_key_file: Annotated[
        tuple[Key, ...],
        Option(
            file(read_keys),
            "Connectors by REST",
            "File with the keys that encrypt secrets in configurations by REST, one a line: 32 bytes in base64, as"
            " `openssl rand -base64 32` writes them. The first one encrypts, all decrypt. Every worker of the group"
            " needs it, and the extra `encryption`.",
        ),
    ] = ()
    config_plaintext_secrets: Annotated[
        bool,
        Option(
            boolean(),
            "Connectors by REST",
            "Whether configurations by REST may hold a secret itself although there is no key: it then lies in Kafka,"
            " where whoever may read `<group>-configs` reads it.",
            "LOW",
        ),
    ] = False
    allowed_api_urls: Annotated[
        tuple[str, ...],
        Option(
            Parser(kind="LIST", parse=parse_api_urls),
            "Connectors by REST",
            "Where connectors that come by REST may find the API (`x.api.url`), besides `https://api.x.com` and"
            " addresses of the worker's own machine; `*` is anywhere. Whoever may configure a connector can have its"
            " secrets sent there.",
            "LOW",
        ),
    ] = ()
    allowed_registry_urls: Annotated[
        tuple[str, ...],
        Option(
            Parser(kind="LIST", parse=parse_allowed_urls),
            "Connectors by REST",
            "Where connectors that come by REST may find a schema registry (`schema.registry.url`), besides addresses"
            " of the worker's own machine; `*` is anywhere. Their login for the registry is sent there.",
            "LOW",
        ),
    ] = ()
    log_level: Annotated[
        LogLevel,
        Option(replace(_LOG_LEVELS, parse=_log_level), "Log", "The least level that is logged."),
    ] = "INFO"
    log_format: Annotated[
        Literal["console", "json"],
        Option(choice("console", "json"), "Log", "`console` for people, `json` for machines: one object a line."),
    ] = "console"
    stop_timeout_secs: Annotated[
        float,
        Option(
            number(minimum=1, maximum=3600),
            "Run",
            "Seconds that a stop may take; then the worker exits with 1 and says what it left.",
        ),
    ] = 20.0

    @property
    def bootstrap_servers(self) -> tuple[str, ...]:
        """The brokers as Kafka clients name them: `host:port`."""
        return tuple(url.removeprefix("kafka://") for url in self.broker_url.split(";"))

    @property
    def broker_url_redacted(self) -> str:
        """The brokers' addresses, safe to show: *broker_url* holds no user or password."""
        return self.broker_url

    @property
    def names(self) -> Names:
        """The names of the group's own topics in Kafka."""
        return Names(self.group_id)

    def export_to(self, environ: MutableMapping[str, str]) -> None:
        """
        Replace the variables in *environ* that Faust reads, too, by the values that we have read from them.

        Faust prefers its environment to its arguments and reads it more strictly: an empty `CONNECTOR_WEB_PORT` would
        end the process, and Faust ignores a user in `CONNECTOR_BROKER_URL`.
        """
        for option in WORKER_OPTIONS.values():
            if option.environment in FAUST_SETTINGS & environ.keys():
                environ[option.environment] = as_text(getattr(self, option.attribute)) or ""

    def __reduce__(self) -> NoReturn:
        raise TypeError("WorkerSettings holds secrets and is not pickled")


WORKER_OPTIONS = declared(WorkerSettings, "_")
