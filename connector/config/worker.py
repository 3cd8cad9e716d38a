"""
What does a worker read from its environment?

`WorkerSettings` declares every setting once.  A setting `web_port` is the variable `CONNECTOR_WEB_PORT`; a file `.env`
in the working directory is read too, and the environment wins over it.

Faust reads `CONNECTOR_*` by itself, from `os.environ` and nowhere else.  So a process that starts a worker calls, in
this order:

    loaded = load(os.environ, directory)        in connector/config/connector.py: this page and the connector's
    load_dotenv_into(os.environ, directory)     in connector/config/dotenv.py: Faust sees what `.env` says
    loaded.worker.export_to(os.environ)         Faust sees our reading of the settings that are its own too
"""

import importlib.util
import ipaddress
import re
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn, get_args
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

from connector.config import certificates, kafka_security
from connector.config.names import Names
from connector.config.options import (
    PREFIX,
    Conflict,
    Given,
    Option,
    Parser,
    Problem,
    Unfit,
    as_text,
    boolean,
    choice,
    declared,
    draft,
    file,
    given_by,
    items,
    number,
    secret,
    shown,
    text,
    whole,
)

BROKER_PORT = 9092
GROUP_ID_CHARACTERS_MAX = 200  # with the longest suffix still a topic's name
TRANSACTION_TIMEOUT_SECS_MAX = 900  # a broker's default transaction.max.timeout.ms
HEARTBEATS_PER_SESSION = 3  # fewer, and one lost heartbeat ends a membership

_LEGAL_TOPIC = re.compile(r"[a-zA-Z0-9._-]+")
_COMPRESSIONS = choice("none", "zstd", "gzip")
_LOG_LEVELS = choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_BROKER_SCHEMES = frozenset({"kafka", "aiokafka"})

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]
SASL_MECHANISMS: tuple[str, ...] = get_args(SaslMechanism)
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

# Settings of Faust that would break a promise of ours, and what to do instead.
REFUSED_FAUST_SETTINGS = {
    "CONNECTOR_PROCESSING_GUARANTEE": "remove it, and choose with CONNECTOR_DELIVERY",
    "CONNECTOR_PRODUCER_THREADED": "remove it; a threaded producer has no transactions",
    "CONNECTOR_BROKER_CREDENTIALS": "remove it, and use CONNECTOR_KAFKA_SASL_USERNAME and its password",
}

# Settings of Faust that one might take for ours.
MISTAKEN_FAUST_SETTINGS = {
    "CONNECTOR_TOPIC_PARTITIONS": "CONNECTOR_TOPIC_CREATION_DEFAULT_PARTITIONS",
    "CONNECTOR_TOPIC_REPLICATION_FACTOR": "CONNECTOR_TOPIC_CREATION_DEFAULT_REPLICATION_FACTOR",
    "CONNECTOR_PRODUCER_COMPRESSION_TYPE": "CONNECTOR_COMPRESSION",
}

# What Faust 0.15 reads under our prefix; a test compares it with Faust's own list.
_FAUST_NAMES = """
    AEROSPIKE_RETRIES_ON_EXCEPTION AEROSPIKE_SLEEP_SECONDS_BETWEEN_RETRIES_ON_EXCEPTION AGENT_SUPERVISOR
    APP_DATADIR APP_DEBUG APP_ENV_PREFIX APP_ID_FORMAT APP_KEY_SERIALIZER APP_REPLY_CREATE_TOPIC APP_REPLY_EXPIRES
    APP_REPLY_TO_PREFIX APP_STORE APP_TABLEDIR APP_VALUE_SERIALIZER APP_VERSION APP_WEB_ENABLED
    APP_WEB_GRAPH_ENABLED APP_WEB_METRICS_ENABLED APP_WEB_ROUTER_ENABLED APP_WEB_STATS_ENABLED
    APP_WEB_TABLES_ENABLED BLOCKING_TIMEOUT BROKER_API_VERSION BROKER_CHECK_CRCS BROKER_CLIENT_ID
    BROKER_COMMIT_EVERY BROKER_COMMIT_INTERVAL BROKER_COMMIT_LIVELOCK_SOFT_TIMEOUT BROKER_CONSUMER_URL
    BROKER_CREDENTIALS BROKER_HEARTBEAT_INTERVAL BROKER_MAX_POLL_INTERVAL BROKER_MAX_POLL_RECORDS
    BROKER_PRODUCER_URL BROKER_REBALANCE_TIMEOUT BROKER_REQUEST_TIMEOUT BROKER_SESSION_TIMEOUT BROKER_URL
    CACHE_URL CONSUMER_API_VERSION CONSUMER_AUTO_OFFSET_RESET CONSUMER_CONNECTIONS_MAX_IDLE_MS
    CONSUMER_GROUP_INSTANCE_ID CONSUMER_MAX_FETCH_SIZE CONSUMER_METADATA_MAX_AGE_MS
    CRASH_APP_ON_AEROSPIKE_EXCEPTION CYTHON_OPTIMIZATIONS NODE_CANONICAL_URL PROCESSING_GUARANTEE PRODUCER_ACKS
    PRODUCER_API_VERSION PRODUCER_COMPRESSION_TYPE PRODUCER_CONNECTIONS_MAX_IDLE_MS PRODUCER_LINGER
    PRODUCER_LINGER_MS PRODUCER_MAX_BATCH_SIZE PRODUCER_MAX_REQUEST_SIZE PRODUCER_METADATA_MAX_AGE_MS
    PRODUCER_REQUEST_TIMEOUT PRODUCER_THREADED RECOVERY_CONSISTENCY_CHECK STORE_CHECK_EXISTS STREAM_BUFFER_MAXSIZE
    STREAM_PROCESSING_TIMEOUT STREAM_RECOVERY_DELAY STREAM_WAIT_EMPTY TABLE_CLEANUP_INTERVAL TABLE_KEY_INDEX_SIZE
    TABLE_STANDBY_REPLICAS TIMEZONE TOPIC_ALLOW_DECLARE TOPIC_DISABLE_LEADER TOPIC_PARTITIONS
    TOPIC_REPLICATION_FACTOR WEB_BIND WEB_HOST WEB_PORT WORKER_REDIRECT_STDOUTS WORKER_REDIRECT_STDOUTS_LEVEL
"""
FAUST_SETTINGS = frozenset(PREFIX + name for name in _FAUST_NAMES.split())

OTHER_VARIABLES = frozenset({"CONNECTOR_TEST_BROKER_URL"})  # of the test suite


@dataclass(frozen=True, slots=True)
class WebUser:
    """Who may log in to the web interface and the REST API."""

    name: str
    password: SecretStr


@dataclass(frozen=True, slots=True)
class _Brokers:
    url: str
    username: str | None
    password: SecretStr | None


def legal_topic(name: str) -> str:
    """
    *name*, as Kafka allows it for a topic.

    Raises:
        Unfit: Kafka does not.
    """
    if name in {".", ".."} or len(name) > 249 or not _LEGAL_TOPIC.fullmatch(name):  # noqa: PLR2004  # Kafka's limit
        raise Unfit(f"cannot be {shown(name)}: Kafka allows up to 249 letters, digits, dots, underscores and hyphens.")
    return name


def is_loopback(host: str) -> bool:
    """Whether *host* can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def netloc(host: str, port: int | str) -> str:
    """`host:port` as a URL has it: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _group_id(name: str) -> str:
    if len(name) > GROUP_ID_CHARACTERS_MAX or not _LEGAL_TOPIC.fullmatch(name):
        raise Unfit(
            f"cannot be {shown(name)}: it begins the names of topics, so use up to {GROUP_ID_CHARACTERS_MAX}"
            " letters, digits, dots, underscores and hyphens."
        )
    return name


def _bind(host: str) -> str:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9.-]+", host):
            raise Unfit(f"cannot be {shown(host)}: use an address such as 127.0.0.1, or a host name.") from None
    return host.strip("[]")


def _web_hosts(listing: str) -> tuple[str, ...]:
    hosts = tuple(dict.fromkeys(host.lower().strip("[]").removesuffix(".") for host in items(listing)))
    for host in hosts:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            if not re.fullmatch(r"[a-z0-9._-]+", host):
                raise Unfit(
                    f"cannot have {shown(host)}: use host names or addresses such as birds.example.com, without scheme"
                    " and port."
                ) from None
    return hosts


def _existing_file(path: str) -> Path:
    try:
        if Path(path).is_file():
            return Path(path)
    except (OSError, ValueError):  # a null character, or a name that no file system takes
        pass
    raise Unfit(f"names {shown(path)}, which is no file here.")


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


def _token_url(url: str) -> str:
    # The text may hold a secret, so no sentence shows it.
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in {"http", "https"} or not url.isprintable() or " " in url:
        raise Unfit("must be a URL such as https://login.example.com/oauth2/token.")
    if parts.username is not None or parts.fragment:
        raise Unfit("must be a URL without user and fragment: CONNECTOR_KAFKA_OAUTH_CLIENT_ID says who asks.")
    if parts.scheme == "http" and not is_loopback(host):
        raise Unfit("would send the client secret unencrypted: use https.")
    return url


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
        users[name.strip()] = WebUser(name.strip(), SecretStr(password.strip()))
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


def _brokers(listing: str) -> _Brokers:
    """Read a list of brokers; what it says of user and password comes apart from the addresses."""
    urls, logins = [], set()
    for entry in (entry.strip() for entry in re.split("[,;]", listing)):
        if not entry:
            continue
        try:
            parts = urlsplit(entry if "://" in entry else f"kafka://{entry}")
            host, port = parts.hostname, parts.port or BROKER_PORT
        except ValueError:
            host = None
        # The entry may hold a password, so it is not shown.
        if not host or parts.scheme not in _BROKER_SCHEMES or parts.path.strip("/") or parts.query or parts.fragment:
            raise Unfit("must be a list of brokers such as kafka://one:9092;kafka://two:9092.")
        urls.append(f"kafka://{netloc(host, port)}")
        if parts.username is not None:
            logins.add((unquote(parts.username), unquote(parts.password or "")))
    if not urls:
        raise Unfit("must be a list of brokers such as kafka://one:9092;kafka://two:9092.")
    if len(logins) > 1:
        raise Unfit("has several users: a worker logs in to all brokers as one.")
    username, password = next(iter(logins), (None, None))
    return _Brokers(";".join(urls), username, None if password is None else SecretStr(password))


class WorkerSettings(BaseModel):
    """
    One worker's settings.

    *broker_url* is normalised and holds no user or password; those are *kafka_sasl_username* and *kafka_sasl_password*,
    wherever they came from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    broker_url: Annotated[
        str,
        Option(
            text(lambda listing: _brokers(listing).url),
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
        SecretStr | None, Option(secret(), "Kafka security", "Password that opens the key, if one does.")
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
        SecretStr | None, Option(secret(), "Kafka security", "Password of the user who logs in to the brokers.")
    ] = None
    kafka_oauth_token_url: Annotated[
        str | None,
        Option(
            text(_token_url),
            "Kafka security",
            "Token endpoint that gives this client a token for the brokers. `https`, unless it is on this machine; its"
            " certificate may be signed by the system's authorities or by those of `CONNECTOR_KAFKA_SSL_CA_FILE`.",
        ),
    ] = None
    kafka_oauth_client_id: Annotated[
        str | None, Option(text(_oauth_client), "Kafka security", "Client that asks the token endpoint.")
    ] = None
    kafka_oauth_client_secret: Annotated[
        SecretStr | None, Option(secret(), "Kafka security", "Secret of the client that asks the token endpoint.")
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
    web_bind: Annotated[
        str,
        Option(
            text(_bind),
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
            Parser(kind="LIST", parse=_web_hosts),
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
        """What to show of the brokers; *broker_url* itself is already free of user and password."""
        return self.broker_url

    @property
    def names(self) -> Names:
        """The names of the group's own topics in Kafka."""
        return Names(self.group_id)

    def export_to(self, environ: MutableMapping[str, str]) -> None:
        """
        Rewrite what *environ* says of Faust's own settings to what was understood of it.

        Faust prefers its environment to its arguments and reads it less kindly: an empty `CONNECTOR_WEB_PORT` would end
        it, and it ignores a user in `CONNECTOR_BROKER_URL`.
        """
        for option in WORKER_OPTIONS.values():
            if option.environment in FAUST_SETTINGS & environ.keys():
                environ[option.environment] = as_text(getattr(self, option.attribute)) or ""

    def __reduce__(self) -> NoReturn:
        raise TypeError("WorkerSettings holds secrets and is not pickled")


WORKER_OPTIONS = declared(WorkerSettings, "_")


def read_worker(
    environ: Mapping[str, str], directory: Path
) -> tuple[WorkerSettings, tuple[Problem, ...], tuple[str, ...]]:
    """The settings in *environ*, what is wrong with them, and what is worth saying once."""
    given = given_by(environ, WORKER_OPTIONS.values(), directory)
    found = draft(WorkerSettings, WORKER_OPTIONS.values(), given)
    settings = found.model
    conflicts: list[Conflict] = []
    if given.has("broker_url") and all(problem.option != "broker_url" for problem in found.problems):
        brokers = _brokers(given.texts["broker_url"])
        conflicts += _url_conflicts(brokers, settings, given)
        settings = _with_login(settings, given, brokers)
    conflicts += _conflicts(settings, given)
    refused = tuple(
        Problem(name, f"{name} cannot be used: {cure}.")
        for name, cure in REFUSED_FAUST_SETTINGS.items()
        if environ.get(name, "").strip()
    )
    return settings, found.with_conflicts(conflicts) + refused, tuple(_notices(settings, environ))


def _with_login(settings: WorkerSettings, given: Given, brokers: _Brokers) -> WorkerSettings:
    """The settings with the user of the brokers' URL, if it names one."""
    if brokers.username is None:
        return settings
    login: dict[str, object] = {"kafka_sasl_username": brokers.username, "kafka_sasl_password": brokers.password}
    if not given.has("kafka_security_protocol"):
        login["kafka_security_protocol"] = "SASL_PLAINTEXT"
    return settings.model_copy(update=login)


def _conflicts(settings: WorkerSettings, given: Given) -> Iterable[Conflict]:
    name = given.name
    if settings.broker_heartbeat_interval >= settings.broker_session_timeout / HEARTBEATS_PER_SESSION:
        yield Conflict(
            ("broker_heartbeat_interval", "broker_session_timeout"),
            f"{name('broker_heartbeat_interval')} must be less than"
            f" {settings.broker_session_timeout / HEARTBEATS_PER_SESSION:.3g}, a third of"
            f" {name('broker_session_timeout')}, not {as_text(settings.broker_heartbeat_interval)}.",
        )
    if not is_loopback(settings.web_bind) and not settings.web_users:
        yield Conflict(
            ("web_bind", "web_users"),
            f"{name('web_bind')} opens the REST API to the network, without a login: set CONNECTOR_WEB_USERS to"
            " name:password, or bind to 127.0.0.1.",
        )
    documentation = {name: option.documentation for name, option in WORKER_OPTIONS.items()}
    yield from kafka_security.conflicts(settings, given, documentation)


def _url_conflicts(brokers: _Brokers, settings: WorkerSettings, given: Given) -> Iterable[Conflict]:
    url, protocol = given.name("broker_url"), given.name("kafka_security_protocol")
    if brokers.username is None:
        return
    for option in ("kafka_sasl_username", "kafka_sasl_password"):
        if given.has(option):
            yield Conflict(
                ("broker_url", option), f"{url} and {given.name(option)} both say who logs in: keep one of them."
            )
    if not (brokers.password and brokers.password.get_secret_value()):
        yield Conflict(("broker_url",), f"{url} has a user without a password: write kafka://user:password@host:9092.")
    if settings.kafka_sasl_mechanism == "OAUTHBEARER":
        yield Conflict(
            ("broker_url", "kafka_sasl_mechanism"),
            f"{url} has a user, which has no effect with {given.name('kafka_sasl_mechanism')}=OAUTHBEARER: remove it,"
            " or choose another mechanism.",
        )
    if given.has("kafka_security_protocol") and not settings.kafka_security_protocol.startswith("SASL_"):
        yield Conflict(
            ("broker_url", "kafka_security_protocol"),
            f"{url} has a user, which has no effect with {protocol}={settings.kafka_security_protocol}:"
            " set that to SASL_SSL or SASL_PLAINTEXT.",
        )


def _notices(settings: WorkerSettings, environ: Mapping[str, str]) -> Iterable[str]:
    hosts = [urlsplit(url).hostname or "" for url in settings.broker_url.split(";")]
    if settings.kafka_security_protocol == "SASL_PLAINTEXT" and not all(map(is_loopback, hosts)):
        yield (
            "CONNECTOR_KAFKA_SECURITY_PROTOCOL is SASL_PLAINTEXT: the login to the brokers travels unencrypted;"
            " SASL_SSL encrypts it."
        )
    for name, ours in MISTAKEN_FAUST_SETTINGS.items():
        if environ.get(name, "").strip():
            yield f"{name} is a setting of Faust and shapes none of our topics: {ours} may be what you want."
