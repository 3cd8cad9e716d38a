"""Under which subject is the schema of a topic's values?"""

from connector.config.connector import SubjectNameStrategy


def subject_of(strategy: SubjectNameStrategy, topic: str, name: str) -> str:
    """Return the subject for values of *topic* whose record has the full *name*, as Confluent's *strategy* says."""
    match strategy:
        case "RecordNameStrategy":
            return name
        case "TopicRecordNameStrategy":
            return f"{topic}-{name}"
        case "TopicNameStrategy":
            return f"{topic}-value"
