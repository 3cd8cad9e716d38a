"""`value.shape=post` with `value.format=json`: transforms get a `Post`, and records have it as JSON."""

from collections.abc import Callable
from typing import Any

from connector.formats.post.resolving import Value, post_of


class PostForm:
    """
    Makes posts of lines, and writes with *write* what transforms leave of them (`transforms.transformer.Form`).

    With *with_raw* a post has its line, too.
    """

    head_bytes = 0

    def __init__(self, write: Callable[[Any], bytes], *, with_raw: bool) -> None:
        self._write, self._with_raw = write, with_raw

    def shape(self, line: bytes) -> Value:
        """As `Form.shape`."""
        return post_of(line, with_raw=self._with_raw)

    def write(self, value: Any) -> bytes:
        """As `Form.write`."""
        return self._write(value)
