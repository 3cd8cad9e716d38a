"""Counts the words of a post, and drops posts that have too few: an example of a transform of one's own."""

from collections.abc import Mapping

from connector.transforms import Record

LEAST, FIELD = "least", "field"


class Words:
    """Adds the number of words of a post, and drops posts with fewer words than `least`."""

    OPTIONS = {  # noqa: RUF012  # read, never changed
        LEAST: "Posts with fewer words are dropped; by default none is.",
        FIELD: "Name of the field for the number, beside the post's text; by default `words`.",
    }

    def configure(self, options: Mapping[str, str]) -> None:
        """
        Take the options that are set, before any record; a validation of the configuration does this, too.

        Raises:
            ValueError: an option is wrong; the sentence is what the user reads.
        """
        self._field = options.get(FIELD, "words")
        least = options.get(LEAST, "0")
        if not (least.isascii() and least.isdigit()):
            raise ValueError(f"{LEAST} must be a whole number, not {least!r}.")
        self._least = int(least)

    def apply(self, record: Record) -> Record | None:
        """
        Return *record* with the number of words, None to drop it.

        Raises:
            ValueError: the value is not a line of X; `errors.tolerance` decides what becomes of it.
        """
        try:
            post = record.value["data"]
            words = len(post["text"].split())
        except (AttributeError, KeyError, TypeError):
            raise ValueError("it has no text: use this transform before those that change the value") from None
        if words < self._least:
            return None
        post[self._field] = words
        record.headers = (*record.headers, ("words", str(words).encode()))
        return record
