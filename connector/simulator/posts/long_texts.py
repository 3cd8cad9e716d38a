"""Long posts: a text that weighs more than 280 is cut, and the whole text is in `note_tweet`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.simulator.posts.drafts import weight

if TYPE_CHECKING:
    from connector.simulator.posts.people import Links
    from connector.simulator.posts.post import Object, Post

POST_WEIGHT = 280
REPORTED_CUT = 270


def cut_long_text(post: Post, links: Links, *, recorded: bool) -> Post:
    """
    Move a long text to `note_tweet`, and leave its beginning in `text`.

    With *recorded* the beginning ends with a link to the post, as in recordings of X.  Without *recorded* the beginning
    weighs 270 and has no link, as in a report about X.
    """
    full = post.data["text"]
    if sum(map(weight, full)) <= POST_WEIGHT:
        return post
    note: Object = {"text": full}
    entities = post.data.pop("entities", {})
    if entities:
        note["entities"] = entities
    link = links.short()
    room = POST_WEIGHT - len(link) - 3 if recorded else REPORTED_CUT
    kept = 0
    for character in full:
        room -= weight(character)
        if room < 0:
            break
        kept += 1
    text = full[:kept]
    inside = {kind: [entity for entity in items if entity["end"] <= kept] for kind, items in entities.items()}
    if recorded:
        start = len(text) + 2
        text = f"{text}… {link}"
        self_link = links.target(link, f"https://twitter.com/i/web/status/{post.id}")
        place = {"start": start, "end": len(text)}
        inside.setdefault("urls", []).append({**place, **self_link})
    post.data["note_tweet"] = note
    post.data["text"] = text
    post.data["entities"] = {kind: items for kind, items in inside.items() if items}
    post.data["display_text_range"] = [0, len(text)]
    return post
