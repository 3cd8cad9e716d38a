"""`TimestampRouter`: a new topic by the record's timestamp."""

from dataclasses import dataclass
from typing import Annotated

from connector.config.options import Option, text
from connector.transforms.date_format import DateFormat
from connector.transforms.record import Record

DOC = "Changes the topic by the record's timestamp, which is the creation time of the post: a topic a day, for example."
_TOPIC, _TIMESTAMP = "${topic}", "${timestamp}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `TimestampRouter`."""

    topic_format: Annotated[
        str,
        Option(
            text(), "", "The new topic, in which `${topic}` is the present one and `${timestamp}` the time.", "HIGH"
        ),
    ] = "${topic}-${timestamp}"
    timestamp_format: Annotated[
        str,
        Option(
            text(lambda pattern: DateFormat(pattern).pattern), "", "Pattern of Java's SimpleDateFormat, in UTC.", "HIGH"
        ),
    ] = "yyyyMMdd"


class TimestampRouter:
    """Gives records a topic that names their time."""

    def __init__(self, options: Options) -> None:
        self._topic_format, self._format = options.topic_format, DateFormat(options.timestamp_format)

    def apply(self, record: Record) -> Record:
        topic = self._topic_format.replace(_TOPIC, record.topic)
        record.topic = topic.replace(_TIMESTAMP, self._format.write(record.timestamp_ms))
        return record
