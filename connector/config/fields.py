"""The names of X's streams, fields and expansions, and the expansions that X charges for."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

KEEP_ALIVE_SECS = 20
"""X sends a blank line on a quiet stream at least this often."""

STREAM_PARTITIONS: Mapping[str, int] = MappingProxyType(
    {
        "filtered": 1,
        "sample": 1,
        "sample10": 2,
        "firehose": 20,
        "firehose.en": 8,
        "firehose.ja": 2,
        "firehose.ko": 2,
        "firehose.pt": 2,
        "compliance": 8,
        "recheck": 1,
    }
)
"""The streams that a connector may read, and the number of partitions that X divides each stream into."""
StreamName = Literal[
    "filtered",
    "sample",
    "sample10",
    "firehose",
    "firehose.en",
    "firehose.ja",
    "firehose.ko",
    "firehose.pt",
    "compliance",
    "recheck",
]
COMPLIANCE = "compliance"
"""The stream of what X withdraws: of posts and of users, each in four partitions."""
RECHECK = "recheck"
"""No stream of X: X is asked, by its lookup, for the posts of a topic."""


def most_tasks(stream: str) -> int:
    """Return how many tasks *stream* has work for; one reads all of compliance, as it must know the whole topic."""
    return 1 if stream == COMPLIANCE else STREAM_PARTITIONS.get(stream, 1)


USER_CONTEXT = "X gives it only to the author, never on a stream"
PRIVATE_METRICS = dict.fromkeys(("non_public_metrics", "organic_metrics", "promoted_metrics"), USER_CONTEXT)

# The names that X's streams accept: OpenAPI 2.167, https://api.x.com/2/openapi.json
TWEET_FIELDS = (
    *("article", "attachments", "author_id", "card_uri", "community_id", "context_annotations", "conversation_id"),
    *("created_at", "display_text_range", "edit_controls", "edit_history_tweet_ids", "entities", "geo", "id"),
    *("in_reply_to_user_id", "lang", "matched_media_notes", "media_metadata", "note_request_suggestions", "note_tweet"),
    *("paid_partnership", "possibly_sensitive", "public_metrics", "referenced_tweets", "reply_settings", "scopes"),
    *("source", "suggested_source_links", "suggested_source_links_with_counts", "text", "withheld"),
)
EXPANSIONS = (
    *("article.cover_media", "article.media_entities", "attachments.media_keys", "attachments.media_source_tweet"),
    *("attachments.poll_ids", "author_id", "edit_history_tweet_ids", "entities.mentions.username"),
    *("entities.note.mentions.username", "geo.place_id", "in_reply_to_user_id", "referenced_tweets.id"),
    *("referenced_tweets.id.attachments.media_keys", "referenced_tweets.id.author_id"),
)
USER_FIELDS = (
    *("affiliation", "confirmed_email", "connection_status", "created_at", "description", "entities", "id"),
    *("is_identity_verified", "location", "most_recent_tweet_id", "name", "parody", "pinned_tweet_id"),
    *("profile_banner_url", "profile_image_url", "protected", "public_metrics", "receives_your_dm", "subscription"),
    *("subscription_type", "url", "username", "verified", "verified_followers_count", "verified_type", "withheld"),
)
MEDIA_FIELDS = (
    *("alt_text", "duration_ms", "height", "media_key", "preview_image_url", "public_metrics", "type", "url"),
    *("variants", "width"),
)
PLACE_FIELDS = ("contained_within", "country", "country_code", "full_name", "geo", "id", "name", "place_type")
POLL_FIELDS = ("duration_minutes", "end_datetime", "id", "options", "voting_status")

# By field option: the expansions that add the objects whose fields it chooses.
EXPANSIONS_OF_FIELDS = {
    "user.fields": tuple(
        name for name in EXPANSIONS if name.endswith(("author_id", "username", "in_reply_to_user_id"))
    ),
    "media.fields": tuple(
        name for name in EXPANSIONS if name.endswith(("media_keys", "cover_media", "media_entities"))
    ),
    "place.fields": ("geo.place_id",),
    "poll.fields": ("attachments.poll_ids",),
}
USER_EXPANSIONS = frozenset(EXPANSIONS_OF_FIELDS["user.fields"])
POST_EXPANSIONS = frozenset(name for name in EXPANSIONS if name.startswith("referenced_tweets.id"))
BILLED_EXPANSIONS = USER_EXPANSIONS | POST_EXPANSIONS
"""Expansions with which X adds users or posts, and charges for them (docs.x.com: pricing)."""
