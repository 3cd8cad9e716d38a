"""
What a line becomes as a `Post`, a second time: slowly, over plain objects, along the paths of the declaration.

Unlike the code, it takes from each field's `x` where the line has the field, so it also tries docs/schema.md.
"""

import math

from connector.formats.post.declaration import POST
from connector.formats.post.model import ListOf, RecordType, Scalar
from connector.records.snowflake import created_ms, from_iso

SPECIAL = {"text", "created_at", "author", "entities", "media", "place", "coordinates", "polls", "references", "raw"}


def expected(line):
    """The `Post` in the decoded *line*, in which each value has X's own type."""
    data, beside = line["data"], line.get("includes", {})
    posts = {other["id"]: other for other in reversed(beside.get("tweets", []))}
    references, original = [], data
    for reference in data.get("referenced_tweets", []):
        other = posts.get(reference["id"])
        found = {"type": reference["type"], "id": reference["id"]}
        if other is not None:
            links = [{"type": link["type"], "id": link["id"]} for link in other.get("referenced_tweets", [])]
            found["post"] = _content(other, beside, other) | present(references=links)
            if reference["type"] == "retweeted":
                original = other
        references.append(found)
    return _content(data, beside, original) | present(
        references=references, matching_rules=_of(_type("matching_rules"), line.get("matching_rules"))
    )


def present(**members):
    """*members* without what is absent or empty; empty texts are present."""
    return {name: value for name, value in members.items() if value is not None and value not in ({}, [])}


def _type(name):
    return next(field.type for field in POST.fields if field.name == name)


def _content(data, beside, original):
    note = original.get("note_tweet", {})
    text, entities = (note["text"], note) if note.get("text") else (original.get("text", ""), original)
    attachments, geo = data.get("attachments", {}), data.get("geo", {})
    point = geo.get("coordinates", {}).get("coordinates")
    created_at = data.get("created_at")
    plain = [field for field in POST.fields if field.number < 30 and field.name not in SPECIAL]
    return present(
        text=text,
        created_at=created_ms(int(data["id"])) if created_at is None else from_iso(created_at),
        author=_beside("author", [data.get("author_id")], beside.get("users")),
        entities=_of(_type("entities"), entities.get("entities")),
        media=_beside("media", attachments.get("media_keys", ()), beside.get("media")),
        place=_beside("place", [geo.get("place_id")], beside.get("places")),
        polls=_beside("polls", attachments.get("poll_ids", ()), beside.get("polls")),
        coordinates=point and {"longitude": point[0], "latitude": point[1]},
        **{field.name: _of(field.type, _at(field.x, data)) for field in plain},
    )


def _beside(name, keys, objects):
    """What `includes` has under *keys*; of what it does not have, the key alone."""
    kind = _type(name)
    record = kind.item if isinstance(kind, ListOf) else kind
    key_name = record.fields[0].name
    table = {each[key_name]: each for each in reversed(objects or [])}
    found = [_of(record, table.get(key, {key_name: key})) for key in keys if key is not None]
    return found if isinstance(kind, ListOf) else next(iter(found), None)


def _at(path, obj):
    for name in path.split("."):
        if obj is None:
            return None
        obj = obj.get(name)
    return obj


def _of(kind, value):
    if value is None:
        return None
    if isinstance(kind, ListOf):
        return [_of(kind.item, item) for item in value]
    if isinstance(kind, RecordType):
        return present(**{field.name: _of(field.type, _at(field.x, value)) for field in kind.fields})
    return from_iso(value) if kind is Scalar.TIMESTAMP else value


def conforms(value, kind=POST):
    """Whether *value* is what the declaration says of *kind*, and nothing more."""
    if isinstance(kind, ListOf):
        return isinstance(value, list) and all(conforms(item, kind.item) for item in value)
    if isinstance(kind, RecordType):
        fields = {field.name: field for field in kind.fields}
        return (
            type(value) is dict
            and value.keys() <= fields.keys()
            and {name for name, field in fields.items() if field.required} <= value.keys()
            and all(conforms(member, fields[name].type) for name, member in value.items())
        )
    return {
        Scalar.STRING: lambda: type(value) is str and value.encode() is not None,
        Scalar.LONG: lambda: type(value) is int and -(2**63) <= value < 2**63,
        Scalar.DOUBLE: lambda: type(value) in (float, int) and math.isfinite(value),
        Scalar.BOOLEAN: lambda: type(value) is bool,
        Scalar.TIMESTAMP: lambda: type(value) is int and -62_135_596_800_000 <= value <= 253_402_300_799_999,
    }[kind]()
