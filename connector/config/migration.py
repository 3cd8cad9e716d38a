"""
Understands the configurations of well-known connectors in Java for posts of X, and says what to write instead.

    com.github.jcustenborder.kafka.connect.twitter.TwitterSourceConnector       API 1.1, and its forks for the API v2
    com.eneco.trading.kafka.connect.twitter.TwitterSourceConnector              API 1.1
    com.findmycarrots.kafka.connect.twitterv2.basic.TwitterV2SourceConnector    API v2, by polling
    org.apache.camel.kafkaconnector.twittersearchsource.…                       search, by polling

`translate` turns their properties into our options.  What has no equivalent is named and left out.  docs/migration.md
is the page for users.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from connector.config.connector import CONNECTOR_CLASS
from connector.config.options import Problem, Unfit, shown
from connector.config.track import Rules, as_json, followed, in_languages, located, tracked

_CLASSES = (
    "com.github.jcustenborder.kafka.connect.twitter.TwitterSourceConnector",
    "com.eneco.trading.kafka.connect.twitter.TwitterSourceConnector",
    "com.findmycarrots.kafka.connect.twitterv2.basic.TwitterV2SourceConnector",
    "org.apache.camel.kafkaconnector.twittersearchsource.CamelTwittersearchsourceSourceConnector",
    "TwitterSourceConnector",
    "TwitterSource",
    "TwitterV2SourceConnector",
    "TwitterV2Source",
    "CamelTwittersearchsourceSourceConnector",
)
CLASSES: Mapping[str, str] = dict.fromkeys(_CLASSES, CONNECTOR_CLASS)
"""The classes of those connectors, in all forms that Connect accepts, and ours for each."""

_CAMEL = "camel.kamelet.twitter-search-source."

RENAMED: Mapping[str, str] = {
    "twitter.oauth.consumerKey": "x.consumer.key",
    "twitter.oauth.consumerSecret": "x.consumer.secret",
    "twitter.oauth.accessToken": "x.access.token",
    "twitter.oauth.accessTokenSecret": "x.access.token.secret",
    "twitter.consumerkey": "x.consumer.key",
    "twitter.consumersecret": "x.consumer.secret",
    "twitter.token": "x.access.token",
    "twitter.secret": "x.access.token.secret",
    "twitter.bearerToken": "x.bearer.token",
    "twitterv2.bearerToken": "x.bearer.token",
    f"{_CAMEL}apiKey": "x.consumer.key",
    f"{_CAMEL}apiKeySecret": "x.consumer.secret",
    f"{_CAMEL}accessToken": "x.access.token",
    f"{_CAMEL}accessTokenSecret": "x.access.token.secret",
    "kafka.status.topic": "topic",
    "kafka.tweets.topic": "topic",
    "twitter.expansions": "expansions",
    "twitter.fields.tweet": "tweet.fields",
    "twitter.fields.user": "user.fields",
    "twitter.fields.place": "place.fields",
}
"""Properties whose value stays as it is."""

FILTERS: Mapping[str, Callable[[str], Rules]] = {
    "filter.rule": lambda text: [{"value": text.strip()}],
    "twitter.filter.rule": lambda text: [{"value": text.strip()}],
    f"{_CAMEL}keywords": lambda text: [{"value": text.strip()}],
    "filter.keywords": tracked,
    "filter.userIds": followed,
    "track.terms": tracked,
    "track.follow": followed,
}
"""Properties that become rules; `track.locations` and `language` do, too."""

_OWN_PACE = "posts are delivered as they come; `poll.interval.ms` and `batch.max.records` bound a batch"
_NO_DELETIONS = "X sends no deletions on the streams of the API v2"
_POLLING = "the stream is read all the time, and not polled"

WITHOUT: Mapping[str, str] = {
    "kafka.delete.topic": _NO_DELETIONS,
    "process.deletes": _NO_DELETIONS,
    "twitter.debug": "CONNECTOR_LOG_LEVEL=DEBUG of the worker logs more",
    "queue.empty.ms": _OWN_PACE,
    "queue.batch.size": _OWN_PACE,
    "batch.size": _OWN_PACE,
    "batch.timeout": _OWN_PACE,
    "kafka.batch.maxSize": _OWN_PACE,
    "kafka.batch.maxIntervalMs": _OWN_PACE,
    "twitterv2.refreshInterval": _POLLING,
    "output.format": "a record's value is the line of X, see docs/migration.md",
    "twitter.app.name": "X knows an app by its credentials",
}
"""Properties without an equivalent, and why."""

_TOLD_CHARACTERS_MAX = 1000
_TWITTER4J = "twitter."
_PROXY = "twitter.http.proxy"
_STREAMS = {"filter": "filtered", "sample": "sample"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """
    A configuration in our options.

    *spelled* has, for each option that came from a property, the name of that property.  *notices* are sentences to
    show, *problems* say what could not be understood.
    """

    texts: Mapping[str, str]
    spelled: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def translate(texts: Mapping[str, str]) -> Translated:
    """Return *texts* with our options in the place of properties of those connectors; others stay as they are."""
    if not _is_theirs(texts):
        return Translated(texts=texts)
    translation = _Translation(texts)
    translation.work()
    return Translated(
        texts=translation.texts,
        spelled=translation.spelled,
        notices=tuple(translation.notices),
        problems=tuple(translation.problems),
    )


def _is_theirs(texts: Mapping[str, str]) -> bool:
    name = texts.get("connector.class", "").strip()
    if name in CLASSES:
        return True
    # Another class may have an option `batch.size` of its own.
    ours = not name or name.rpartition(".")[2] in {CONNECTOR_CLASS, CONNECTOR_CLASS.removesuffix("Connector")}
    return ours and any(
        name in RENAMED or name in FILTERS or name in WITHOUT or name.startswith(_TWITTER4J) for name in texts
    )


class _Translation:
    """One configuration under translation."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.given = texts
        self.texts = dict(texts)
        self.spelled: dict[str, str] = {}
        self.notices: list[str] = []
        self.problems: list[Problem] = []

    def work(self) -> None:
        self._class()
        for name, ours in RENAMED.items():
            self._rename(name, ours)
        self._camel_topic()
        self._stream()
        self._rules()
        for name, why in WITHOUT.items():
            if self.texts.pop(name, None) is not None:
                self.notices.append(f"{name} has no equivalent and no effect: {why}.")
        for name in [name for name in self.texts if name.startswith(_TWITTER4J)]:
            del self.texts[name]
            cure = "HTTPS_PROXY in the worker's environment is" if name.startswith(_PROXY) else "no option of ours is"
            shown_name = name if name.isprintable() else shown(name)
            self.notices.append(f"{shown_name} is a setting of Twitter4J and has no effect: {cure} like it.")

    def _class(self) -> None:
        name = self.texts.get("connector.class", "").strip()
        if name in CLASSES:
            self.texts["connector.class"] = CLASSES[name]
            self.notices.append(f"connector.class={name} is understood as {CLASSES[name]}: write that instead.")

    def _rename(self, name: str, ours: str) -> None:
        text = self.texts.pop(name, None)
        if text is None or not text.strip():
            return
        if self._has(ours):
            self.notices.append(f"{name} is not used, as {self.spelled.get(ours, ours)} is set: remove it.")
            return
        self.texts[ours], self.spelled[ours] = text, name
        self.notices.append(f"{name} is understood as {ours}: write that instead.")

    def _camel_topic(self) -> None:
        if self.given.get("connector.class", "").rpartition(".")[2].startswith("CamelTwitter"):
            self._rename("topics", "topic")

    def _stream(self) -> None:
        wanted = self.texts.get("stream.type", "").strip().lower()
        if wanted in _STREAMS:
            self.texts["stream.type"] = _STREAMS[wanted]
        self._rename("stream.type", "stream")
        v2 = "kafka.tweets.topic" in self.given
        filters = ("hashtags", "rules", "rules.file", "stream", *FILTERS, "track.locations")
        if v2 and not any(self._has(name) for name in filters):
            self.texts["stream"] = "sample"
            self.notices.append(
                "Without filter.rule that connector read the sample of all posts, which is understood as stream=sample:"
                " write that instead, or give rules."
            )

    def _rules(self) -> None:
        found: Rules = []
        used: list[str] = []
        for name, make in FILTERS.items():
            if rules := self._made(name, make):
                found += rules
                used.append(name)
        if boxes := self._made("track.locations", self._boxes):
            found += boxes
            used.append("track.locations")
        languages = self.texts.pop("language", "")
        if languages.strip():
            found = self._limited(found, languages)
        if not used:
            return
        if self._has("rules"):
            self.notices.append(f"{', '.join(used)} is not used, as rules is set: remove it.")
            return
        self.texts["rules"], self.spelled["rules"] = as_json(found), used[0]
        told = self.texts["rules"]
        if len(told) > _TOLD_CHARACTERS_MAX:
            told = f"[...] with {len(found)} rules"
        self.notices.append(f"{' and '.join(used)} is understood as rules={told}: write that instead.")

    def _made(self, name: str, make: Callable[[str], Rules]) -> Rules:
        text = self.texts.pop(name, "")
        if not text.strip():
            return []
        try:
            return make(text)
        except Unfit as unfit:
            self.problems += [Problem("rules", f"{name} {rest}") for rest in unfit.rests]
            return []

    def _boxes(self, text: str) -> Rules:
        rules, large = located(text)
        self.notices += [
            f"track.locations has the box {box}, which no rule can have: X limits a box to 25 miles. It is left out."
            for box in large
        ]
        return rules

    def _limited(self, rules: Rules, languages: str) -> Rules:
        if not rules:
            self.notices.append("language has no effect without track.terms: write lang:en and so on into each rule.")
            return rules
        try:
            return in_languages(rules, languages)
        except Unfit as unfit:
            self.problems += [Problem("rules", f"language {rest}") for rest in unfit.rests]
            return rules

    def _has(self, name: str) -> bool:
        return bool(self.texts.get(name, "").strip())
