"""
The `Post`, field by field.

It is self-contained: what X puts beside a post in `includes` stands where the post mentions it.  Names are those of X's
API, in the spelling that says `post` and `repost`.  Whoever changes something here follows `model`, gives a new field
the next `VERSION`, and adds the new schemas to tests/unit/formats/released.
"""

from connector.formats.post.model import Field, ListOf, RecordType, Scalar

VERSION = 1
"""The version of the schema: a change of the declaration raises it by one."""

NAMESPACE = "murmuration"
"""The namespace of the records in Avro, and the package in Protobuf."""

_STRING, _LONG, _DOUBLE = Scalar.STRING, Scalar.LONG, Scalar.DOUBLE
_BOOLEAN, _TIMESTAMP = Scalar.BOOLEAN, Scalar.TIMESTAMP


def _maybe(name: str, number: int, kind: Scalar | RecordType, about: str, x: str) -> Field:
    return Field(name, number, kind, about, x, nullable=True)


_START_END = (
    _maybe("start", 1, _LONG, "Where it begins in `text`, in Unicode code points from 0.", "start"),
    _maybe("end", 2, _LONG, "Where it ends in `text`: the code point after the last one.", "end"),
)

HASHTAG = RecordType(
    "Hashtag", "A hashtag in the text.", (*_START_END, Field("tag", 3, _STRING, "The hashtag, without `#`.", "tag"))
)
CASHTAG = RecordType(
    "Cashtag", "A cashtag in the text.", (*_START_END, Field("tag", 3, _STRING, "The cashtag, without `$`.", "tag"))
)
MENTION = RecordType(
    "Mention",
    "An account that is named in the text.",
    (
        *_START_END,
        Field("username", 3, _STRING, "The account's name after `@`.", "username"),
        _maybe("id", 4, _STRING, "The account's id.", "id"),
    ),
)
URL = RecordType(
    "Url",
    "A link in the text.",
    (
        *_START_END,
        Field("url", 3, _STRING, "The short link, as it stands in the text.", "url"),
        _maybe("expanded_url", 4, _STRING, "Where the short link leads.", "expanded_url"),
        _maybe("display_url", 5, _STRING, "The link as X shows it, perhaps cut.", "display_url"),
        _maybe("unwound_url", 6, _STRING, "Where the link ends after all redirections.", "unwound_url"),
        _maybe("title", 7, _STRING, "The title of the page.", "title"),
        _maybe("description", 8, _STRING, "The description of the page.", "description"),
        _maybe("status", 9, _LONG, "The HTTP status that X got from the page.", "status"),
        _maybe("media_key", 10, _STRING, "The key of the media that the link stands for.", "media_key"),
    ),
)
ENTITIES = RecordType(
    "Entities",
    "What X found in the text; the places are those in `text` of the same record.",
    (
        Field("hashtags", 1, ListOf(HASHTAG), "The hashtags.", "hashtags"),
        Field("mentions", 2, ListOf(MENTION), "The accounts that are named.", "mentions"),
        Field("urls", 3, ListOf(URL), "The links.", "urls"),
        Field("cashtags", 4, ListOf(CASHTAG), "The cashtags.", "cashtags"),
    ),
)

USER_METRICS = RecordType(
    "UserMetrics",
    "How often what had happened to an account when X sent the post.",
    (
        _maybe("followers_count", 1, _LONG, "Accounts that follow it.", "followers_count"),
        _maybe("following_count", 2, _LONG, "Accounts that it follows.", "following_count"),
        _maybe("post_count", 3, _LONG, "Its posts.", "tweet_count"),
        _maybe("listed_count", 4, _LONG, "Lists that it is on.", "listed_count"),
    ),
)
USER = RecordType(
    "User",
    "An account.  Without the expansion of `author_id` there is only its `id`.",
    (
        Field("id", 1, _STRING, "The account's id, which never changes.", "id"),
        _maybe("username", 2, _STRING, "Its name after `@`.", "username"),
        _maybe("name", 3, _STRING, "Its display name.", "name"),
        _maybe("created_at", 4, _TIMESTAMP, "When it was made.", "created_at"),
        _maybe("description", 5, _STRING, "What it says of itself.", "description"),
        _maybe("location", 6, _STRING, "Where it says that it is.", "location"),
        _maybe("url", 7, _STRING, "The link of its profile.", "url"),
        _maybe("profile_image_url", 8, _STRING, "Its picture.", "profile_image_url"),
        _maybe("verified", 9, _BOOLEAN, "Whether X has verified it.", "verified"),
        _maybe("verified_type", 10, _STRING, "How: `blue`, `business`, `government` or `none`.", "verified_type"),
        _maybe("protected", 11, _BOOLEAN, "Whether only followers see its posts.", "protected"),
        _maybe("metrics", 12, USER_METRICS, "Its counts.", "public_metrics"),
    ),
)

MEDIA_VARIANT = RecordType(
    "MediaVariant",
    "A file of a video or an animated GIF.",
    (
        Field("url", 1, _STRING, "Where the file is.", "url"),
        _maybe("content_type", 2, _STRING, "Its media type, such as `video/mp4`.", "content_type"),
        _maybe("bit_rate", 3, _LONG, "Its bit rate (bit/s).", "bit_rate"),
    ),
)
MEDIA = RecordType(
    "Media",
    "A picture or video.  Without the expansion of `attachments.media_keys` there is only its `media_key`.",
    (
        Field("media_key", 1, _STRING, "X's key of the media.", "media_key"),
        _maybe("type", 2, _STRING, "`photo`, `video` or `animated_gif`.", "type"),
        _maybe("url", 3, _STRING, "The picture itself, for photos.", "url"),
        _maybe("preview_image_url", 4, _STRING, "A still of a video or GIF.", "preview_image_url"),
        _maybe("alt_text", 5, _STRING, "Its description for those who cannot see it.", "alt_text"),
        _maybe("width", 6, _LONG, "Its width (pixels).", "width"),
        _maybe("height", 7, _LONG, "Its height (pixels).", "height"),
        _maybe("duration_ms", 8, _LONG, "Its length (ms).", "duration_ms"),
        _maybe("view_count", 9, _LONG, "How often it had been viewed.", "public_metrics.view_count"),
        Field("variants", 10, ListOf(MEDIA_VARIANT), "Its files.", "variants"),
    ),
)

COORDINATES = RecordType(
    "Coordinates",
    "A point on the earth.",
    (
        Field("longitude", 1, _DOUBLE, "Degrees east.", "coordinates[0]"),
        Field("latitude", 2, _DOUBLE, "Degrees north.", "coordinates[1]"),
    ),
)
PLACE = RecordType(
    "Place",
    "A place that the author chose.  Without the expansion of `geo.place_id` there is only its `id`.",
    (
        Field("id", 1, _STRING, "X's id of the place.", "id"),
        _maybe("full_name", 2, _STRING, "Its name with the region.", "full_name"),
        _maybe("name", 3, _STRING, "Its short name.", "name"),
        _maybe("country", 4, _STRING, "Its country.", "country"),
        _maybe("country_code", 5, _STRING, "The country in two letters (ISO 3166-1).", "country_code"),
        _maybe("place_type", 6, _STRING, "`city`, `country` and others.", "place_type"),
        Field("bbox", 7, ListOf(_DOUBLE), "Its box: west, south, east, north (degrees).", "geo.bbox"),
    ),
)

POLL_OPTION = RecordType(
    "PollOption",
    "An answer to choose in a poll.",
    (
        _maybe("position", 1, _LONG, "Its place, from 1.", "position"),
        _maybe("label", 2, _STRING, "Its text.", "label"),
        _maybe("votes", 3, _LONG, "Votes for it when X sent the post.", "votes"),
    ),
)
POLL = RecordType(
    "Poll",
    "A poll.  Without the expansion of `attachments.poll_ids` there is only its `id`.",
    (
        Field("id", 1, _STRING, "X's id of the poll.", "id"),
        Field("options", 2, ListOf(POLL_OPTION), "Its answers.", "options"),
        _maybe("duration_minutes", 3, _LONG, "How long it is open (minutes).", "duration_minutes"),
        _maybe("end_datetime", 4, _TIMESTAMP, "When it closes.", "end_datetime"),
        _maybe("voting_status", 5, _STRING, "`open` or `closed`.", "voting_status"),
    ),
)

METRICS = RecordType(
    "Metrics",
    "How often what had happened to a post when X sent it; on a stream that is at its beginning.",
    (
        _maybe("repost_count", 1, _LONG, "Reposts.", "retweet_count"),
        _maybe("reply_count", 2, _LONG, "Replies.", "reply_count"),
        _maybe("like_count", 3, _LONG, "Likes.", "like_count"),
        _maybe("quote_count", 4, _LONG, "Quotes.", "quote_count"),
        _maybe("bookmark_count", 5, _LONG, "Bookmarks.", "bookmark_count"),
        _maybe("impression_count", 6, _LONG, "Views.", "impression_count"),
    ),
)
EDIT_CONTROLS = RecordType(
    "EditControls",
    "Whether and how long a post may be edited.",
    (
        _maybe("is_edit_eligible", 1, _BOOLEAN, "Whether it could be edited when it was made.", "is_edit_eligible"),
        _maybe("editable_until", 2, _TIMESTAMP, "Until when.", "editable_until"),
        _maybe("edits_remaining", 3, _LONG, "How often still.", "edits_remaining"),
    ),
)
WITHHELD = RecordType(
    "Withheld",
    "Where the content must not be shown.",
    (
        _maybe("copyright", 1, _BOOLEAN, "Whether for a claim of copyright.", "copyright"),
        Field("country_codes", 2, ListOf(_STRING), "The countries, in two letters (ISO 3166-1).", "country_codes"),
        _maybe("scope", 3, _STRING, "What is withheld: `tweet` or `user`.", "scope"),
    ),
)

LINK = RecordType(
    "Link",
    "That a referenced post refers to another one, which X does not send along.",
    (
        Field("type", 1, _STRING, "`retweeted`, `quoted` or `replied_to`.", "type"),
        Field("id", 2, _STRING, "The id of that other post.", "id"),
    ),
)

# Numbers up to 29 are for fields that a post has in common with one to which it refers.
_OF_ANY_POST = (
    Field("id", 1, _STRING, "The post's id: a decimal number of 63 bits.", "id"),
    Field(
        "text",
        2,
        _STRING,
        "The text in full, with `&`, `<` and `>` as `&amp;`, `&lt;` and `&gt;`: of a long post its `note_tweet`; of a"
        " repost, which X cuts, the text of the original, if X sent that along.",
        "text, note_tweet.text",
    ),
    Field(
        "created_at",
        3,
        _TIMESTAMP,
        "When it was made: in whole seconds from X, or to the millisecond from the id if X did not say.",
        "created_at",
    ),
    _maybe("author", 4, USER, "Who wrote it.", "author_id, includes.users"),
    _maybe("lang", 5, _STRING, "The language that X found (BCP 47), `und` for none.", "lang"),
    _maybe("conversation_id", 6, _STRING, "The id of the first post of the conversation.", "conversation_id"),
    _maybe("in_reply_to_user_id", 7, _STRING, "The id of the account that it answers.", "in_reply_to_user_id"),
    _maybe("entities", 8, ENTITIES, "What X found in `text`.", "entities, note_tweet.entities"),
    Field("media", 9, ListOf(MEDIA), "Its pictures and videos.", "attachments.media_keys, includes.media"),
    _maybe("place", 10, PLACE, "Where its author says it was made.", "geo.place_id, includes.places"),
    _maybe("coordinates", 11, COORDINATES, "The point at which it was made.", "geo.coordinates"),
    Field("polls", 12, ListOf(POLL), "Its polls.", "attachments.poll_ids, includes.polls"),
    _maybe("metrics", 13, METRICS, "Its counts.", "public_metrics"),
    Field(
        "edit_history_post_ids",
        14,
        ListOf(_STRING),
        "The ids of all its versions, oldest first; each version is a post of its own.",
        "edit_history_tweet_ids",
    ),
    _maybe("edit_controls", 15, EDIT_CONTROLS, "Whether it may be edited.", "edit_controls"),
    _maybe("possibly_sensitive", 16, _BOOLEAN, "Whether a link in it may be sensitive.", "possibly_sensitive"),
    _maybe("reply_settings", 17, _STRING, "Who may answer: `everyone` and others.", "reply_settings"),
    _maybe("source", 18, _STRING, "The application that it was written with, in old posts.", "source"),
    _maybe("withheld", 19, WITHHELD, "Where it must not be shown.", "withheld"),
)

REFERENCED_POST = RecordType(
    "ReferencedPost",
    "A post to which another one refers.",
    (
        *_OF_ANY_POST,
        Field("references", 30, ListOf(LINK), "The posts to which this one refers in its turn.", "referenced_tweets"),
    ),
)
REFERENCE = RecordType(
    "Reference",
    "That a post is a repost of, quotes or answers another one.",
    (
        Field("type", 1, _STRING, "`retweeted`, `quoted` or `replied_to`.", "type"),
        Field("id", 2, _STRING, "The id of the other post.", "id"),
        _maybe(
            "post",
            3,
            REFERENCED_POST,
            "The other post, with the expansion of `referenced_tweets.id`.",
            "includes.tweets",
        ),
    ),
)
MATCHING_RULE = RecordType(
    "MatchingRule",
    "A rule of the filtered stream that the post matched.",
    (
        Field("id", 1, _STRING, "X's id of the rule.", "id"),
        _maybe("tag", 2, _STRING, "Its tag: `<connector>/<label>` for rules of a connector.", "tag"),
        _maybe(
            "embedding_similarity",
            3,
            _DOUBLE,
            "How near the post is to the text of a rule by meaning.",
            "embedding_similarity",
        ),
        _maybe("embedding_threshold", 4, _DOUBLE, "How near it had to be.", "embedding_threshold"),
    ),
)

POST = RecordType(
    "Post",
    "A post of the X API v2 with all that it mentions.",
    (
        *_OF_ANY_POST,
        Field("references", 30, ListOf(REFERENCE), "The posts to which it refers.", "referenced_tweets"),
        Field("matching_rules", 31, ListOf(MATCHING_RULE), "The rules that it matched.", "matching_rules"),
        _maybe("raw", 32, _STRING, "The line as X sent it, if the connector is asked for it.", ""),
    ),
)
