"""
The recorded requests and answers, said of our own class instead of the file source: for workers with real tasks.

A configuration of the file source becomes one of our class that follows a simulator; the position in a file becomes a
covered time.  A transform that fails becomes a token that the simulator refuses.
"""

from dataclasses import replace

from tests.connect.file_source import CAST, FILE_SOURCE

CLASS = "PostStreamSourceConnector"
TASK_CLASS = "PostStreamSourceTask"
PARTITION = {"stream": "filtered"}
COVERED_TO = "2026-11-01T12:00:00.000Z"
"""A time before every connector of a test began: an offset may be taken back to it."""

WORDS = {
    "org.apache.kafka.connect.file.FileStreamSourceTask": TASK_CLASS,
    FILE_SOURCE: CLASS,
    "FileStreamSource": "PostStreamSource",
}
TOKEN, REFUSED_TOKEN = "${env:CONNECTOR_GOOD_TOKEN}", "${env:CONNECTOR_BAD_TOKEN}"


class Translation:
    """Translates for workers whose topics begin with *prefix*; *urls* has the simulator of each connector."""

    def __init__(self, prefix, urls):
        self._prefix, self._urls = prefix, urls

    def recorded(self, each):
        """One recorded request with its answer."""
        request = {**each.request, "path": self(each.request["path"])}
        if "body" in request:
            request["body"] = self(request["body"])
        return replace(each, request=request, body=self(each.body))

    def __call__(self, value):
        match value:
            case dict() if "file" in value:
                return self._config(value)
            case {"position": position}:
                return {"covered_to": COVERED_TO if isinstance(position, int) and position >= 0 else "nonsense"}
            case {"filename": _}:
                return dict(PARTITION)
            case dict():
                return {self._option(key): self(each) for key, each in value.items()}
            case list():
                return [self(each) for each in value]
        return self._text(value) if isinstance(value, str) else value

    def _config(self, config):
        fails = CAST in config.values() and "transforms.c.spec" in config
        topic = config.get("topic")
        kept = {
            self._option(key): self(text)
            for key, text in config.items()
            if not key.startswith("transforms") or not fails
        }
        del kept["file"]
        return kept | {
            "hashtags": "murmuration",
            "settle.secs": "1",
            "x.api.url": self._urls.get(topic, self._urls[None]),
            "x.bearer.token": REFUSED_TOKEN if fails else TOKEN,
        }

    @staticmethod
    def _option(name):
        return {"batch.size": "batch.max.records"}.get(name, name)

    def _text(self, text):
        for word, ours in WORDS.items():
            text = text.replace(word, ours)
        return f"{self._prefix}-{text[2:]}" if text.startswith("g-") else text
