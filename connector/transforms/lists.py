"""Lists of fields in options of transforms."""

from connector.config.options import Parser, Unfit, items, shown

FIELDS_MAX = 1_000


def field_names() -> Parser:
    """Names of fields, comma-separated."""
    return Parser(kind="LIST", parse=lambda text: tuple(dict.fromkeys(_bounded(text))))


def name_pairs() -> Parser:
    """Pairs of names, as `old:new`, comma-separated."""
    return Parser(kind="LIST", parse=lambda text: tuple(_pair(item) for item in _bounded(text)))


def topics_by_label() -> Parser:
    """Topics of labels, as `label:topic`, comma-separated; a label may hold colons."""
    return Parser(kind="LIST", parse=lambda text: tuple(_topic_of_label(item) for item in _bounded(text)))


def _bounded(text: str) -> list[str]:
    found = items(text)
    if len(found) > FIELDS_MAX:
        raise Unfit(f"has {len(found)} entries: use at most {FIELDS_MAX}.")
    return found


def _pair(item: str) -> tuple[str, str]:
    old, colon, new = item.partition(":")
    if not colon or not old or not new or ":" in new:
        raise Unfit(f"has {shown(item)}, which is no pair of names: write old:new.")
    return old, new


def _topic_of_label(item: str) -> tuple[str, str]:
    label, _, topic = item.rpartition(":")
    if not label or not topic:
        raise Unfit(f"has {shown(item)}, which is no label with a topic: write label:topic.")
    return label, topic
