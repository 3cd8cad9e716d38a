"""
How far is everything delivered?  (Pure.)

The source offset holds a creation time, `covered_to`: what X had sent up to then has been read and is in the topic.
X delivers within some seconds and unordered, so the time stays `settle` behind what was heard last, and nothing new is
claimed until a connection has lasted that long.  Time in which no connection listened is not marked here.
"""

from dataclasses import dataclass, replace

import orjson

from connector import snowflake


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """
    The source offset of one source partition: UNIX milliseconds of X's clock, and what was delivered in all.

    The counts make the offset of each batch with content a new one, and *run* that of each start of a task: by them a
    doubtful commit is recognised.
    """

    covered_to_ms: int | None = None
    posts: int = 0
    dead_letters: int = 0
    run: str = ""
    """Who wrote it: a random word for each start of a task."""

    def after(
        self, *, posts: int, heard_ms: int, connected_ms: int, settle_ms: int, dead_letters: int = 0
    ) -> "Coverage":
        """
        Return the coverage once *posts* and *dead_letters* more are delivered.

        *heard_ms* is when the last line or keep-alive among them arrived, *connected_ms* when its connection began.
        """
        settled = heard_ms - settle_ms
        if self.covered_to_ms is None:
            covered = max(settled, connected_ms)
        elif settled >= connected_ms:
            covered = max(settled, self.covered_to_ms)
        else:
            covered = self.covered_to_ms
        return replace(
            self, covered_to_ms=covered, posts=self.posts + posts, dead_letters=self.dead_letters + dead_letters
        )

    def encode(self) -> bytes:
        """Return the offset's value: a JSON map."""
        covered_to = None if self.covered_to_ms is None else snowflake.to_iso(self.covered_to_ms)
        fields: dict[str, object] = {"covered_to": covered_to, "posts": self.posts}
        if self.dead_letters:
            fields["dead_letters"] = self.dead_letters
        if self.run:
            fields["run"] = self.run
        return orjson.dumps(fields)

    @classmethod
    def decode(cls, value: bytes) -> "Coverage":
        """
        Read what `encode` wrote.

        Raises:
            ValueError: *value* is not such an offset.
        """
        try:
            fields = orjson.loads(value)
            covered_to, posts = fields["covered_to"], fields["posts"]
            covered_to_ms = None if covered_to is None else snowflake.from_iso(covered_to)
            letters, run = int(fields.get("dead_letters", 0)), str(fields.get("run", ""))
            return cls(covered_to_ms=covered_to_ms, posts=int(posts), dead_letters=letters, run=run)
        except (KeyError, TypeError, ValueError) as exc:
            raise ValueError(f"{value[:200]!r} is no source offset: {exc}") from exc
