"""What faults write: bad lines, posts with partial errors, withheld posts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from connector.simulator.posts.post import Post

BAD_LINES: Mapping[str, bytes] = {
    "not_json": b"<html><body>Over capacity</body></html>",
    "no_id": b'{"data":{"text":"a post without an id"},"matching_rules":[{"id":"1","tag":""}]}',
    "unknown_kind": b'{"notice":{"kind":"synthetic","value":1}}',
    "not_object": b"[1,2,3]",
    "not_utf8": b'{"data":{"id":"1","text":"\xff\xfe"}}',
}
"""Lines that are not posts, by variant."""

COMPLIANCE = {"copyright": False, "country_codes": ["FR", "DE"], "scope": "tweet"}


def partial(post: Post) -> Post:
    """Return the post as a reply to a post that cannot be found."""
    missing = str(post.id - (1 << 40))
    error = {
        "value": missing,
        "detail": f"Could not find tweet with referenced_tweets.id: [{missing}].",
        "title": "Not Found Error",
        "resource_type": "tweet",
        "parameter": "referenced_tweets.id",
        "resource_id": missing,
        "type": "https://api.twitter.com/2/problems/resource-not-found",
    }
    data = {**post.data, "referenced_tweets": [{"type": "replied_to", "id": missing}]}
    return replace(post, data=data, references=(), errors=(error,))


def withheld(post: Post) -> Post:
    """Return the post, withheld in some countries."""
    return replace(post, data={**post.data, "withheld": COMPLIANCE})
