"""`value.shape=post` and `connect` with `value.format=json`: transforms get a `Post`, and records have it as JSON."""

import contextlib
from collections.abc import Callable
from typing import Any

from connector.formats.post.connect_json import check_of, schema_text
from connector.formats.post.declaration import POST, VERSION
from connector.formats.post.resolving import Value, post_of


class PostForm:
    """
    Makes posts of lines, and writes with *write* what transforms leave of them (`transforms.transformer.Form`).

    With *with_raw* a post has its line, too.
    """

    head_bytes = 0
    around_bytes = 0

    def __init__(self, write: Callable[[Any], bytes], *, with_raw: bool) -> None:
        self._write, self._with_raw = write, with_raw

    def shape(self, line: bytes) -> Value:
        """As `Form.shape`."""
        return post_of(line, with_raw=self._with_raw)

    def write(self, value: Any) -> bytes:
        """As `Form.write`."""
        return self._write(value)

    def body(self, line: bytes) -> bytes:
        """As `Form.body`."""
        return self.write(self.shape(line))


class ConnectForm(PostForm):
    """
    Writes each post with its schema beside it, as Kafka Connect's JsonConverter does with `schemas.enable=true`.

    With *changed*, transforms may have changed a post, and whether it still fits the schema is looked at.  *plain*
    returns such a value as one of a post's types; it is asked only where a value does not fit.
    """

    def __init__(
        self, write: Callable[[Any], bytes], plain: Callable[[Any], Any], *, changed: bool, with_raw: bool
    ) -> None:
        super().__init__(write, with_raw=with_raw)
        self._plain = plain
        self._check = check_of(POST) if changed else None
        self._before = b'{"schema":%b,"payload":' % schema_text(POST, VERSION)
        self.around_bytes = len(self._before) + 1

    def write(self, value: Any) -> bytes:
        """As `Form.write`."""
        if self._check is not None:
            value = self._fitted(value, self._check)
        return b"%b%b}" % (self._before, self._write(value))

    def _fitted(self, value: Any, check: Callable[[Any], object]) -> Any:
        with contextlib.suppress(ValueError):
            check(value)
            return value
        plain = self._plain(value)
        try:
            check(plain)
        except ValueError as error:
            raise ValueError(f"it does not fit the schema of a post: {error!s:.200}") from error
        return plain
