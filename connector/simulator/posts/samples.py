"""Recorded shapes of posts (`samples.jsonl`), and lines of a stream in such a shape."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import orjson

from connector.simulator.clock import rfc3339_second
from connector.simulator.posts.rendering import escape_astral


class UnknownSample(Exception):
    """There is no sample of that kind."""


@functools.cache
def samples() -> dict[str, bytes]:
    """Return the recorded payloads by kind."""
    raw = resources.files("connector.simulator.posts").joinpath("samples.jsonl").read_bytes()
    lines = raw.splitlines()
    return {orjson.loads(line)["kind"]: orjson.dumps(orjson.loads(line)["payload"]) for line in lines}


def stamped(kind: str, *, post_id: int, at: float, rules: list[dict[str, str]]) -> bytes:
    """
    Return a sample as a line of a stream, with a new id, a new time, and *rules* as its matching rules.

    If the sample has rules without tags, the line has no tags either.

    Raises:
        UnknownSample: there is no sample of that kind.
    """
    payload = samples().get(kind)
    if payload is None:
        raise UnknownSample(f"no sample {kind!r}; there are: {', '.join(samples())}")
    line: dict[str, Any] = orjson.loads(payload)
    data = line["data"]
    main = data[0] if isinstance(data, list) else data
    old = main.get("id")
    if old is not None:
        line = orjson.loads(payload.replace(b'"%b"' % old.encode(), b'"%d"' % post_id))
        main = line["data"][0] if isinstance(data, list) else line["data"]
    if "created_at" in main:
        fraction = main["created_at"].endswith(".000Z")
        main["created_at"] = rfc3339_second(int(at)).replace(".000Z", ".000Z" if fraction else "Z")
    untagged = any("tag" not in rule for rule in line.get("matching_rules", ()))
    matching = [{"id": rule["id"]} if untagged else rule for rule in rules]
    # A stream has no pages of REST: of such a sample the first post is written.
    line = {**line, "data": main, "matching_rules": matching}
    line.pop("meta", None)
    return escape_astral(orjson.dumps(line))
