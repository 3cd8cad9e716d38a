"""
Does an answer with status 200 begin like a stream?

A proxy, a portal or another host can also answer 200: with a page, with an error as JSON, or with bytes that are not
packed as the head says.  Such an answer is not a bad post, and not fatal: X may answer again later.

An answer that its head calls JSON counts as a stream unless its first bytes show a page or gzip.  Any other answer must
begin with a JSON object.
"""

from collections.abc import Iterable, Mapping

from urllib3.exceptions import DecodeError
from urllib3.response import HTTPResponse

from connector.errors import ServiceUnavailable
from connector.sources.rest.api import parse_problem
from connector.sources.stream.lines import ends_stream, has_data, is_error

WORDS_BYTES = 200
"""How much of an answer that is no stream the error message quotes."""

_PAGES = ("text/html", "application/xhtml", "text/xml", "application/xml", "image/", "audio/", "video/", "font/")
_GZIP = b"\x1f\x8b"
_CURE = "it will be tried again; check x.api.url, and which proxy or portal answers in X's place"


class Begin:
    """Checks the begin of an answer with *headers*, as it arrives; errors do not show *token*."""

    def __init__(self, headers: Mapping[str, str], token: str) -> None:
        self._headers, self._token = headers, token
        kind = headers.get("content-type", "").lower()
        self._is_called_json = "json" in kind
        self.is_called_page = kind.startswith(_PAGES)
        """Whether the headers say that the answer is a page, an image or the like."""
        self._has_bytes = False
        self.has_line = False
        """Whether a line that is not empty has arrived completely."""

    def check_head(self) -> None:
        """
        Check the headers.

        Raises:
            ServiceUnavailable: the body is packed in a way that urllib3 cannot unpack.
        """
        names = [name.strip().lower() for name in self._headers.get("content-encoding", "").split(",")]
        for name in names:
            if name not in {"", "identity", *HTTPResponse.CONTENT_DECODERS}:
                raise ServiceUnavailable(
                    f"The connect was answered by a body that is packed with {_plain(name)}, which was not asked for:"
                    f" {_CURE}"
                )

    def may_go_on(self, text: bytes) -> bool:
        """Tell whether *text*, the next part of the body, may belong to a stream; the first non-blank bytes decide."""
        begin = b"" if self._has_bytes else text.lstrip()
        if not begin:
            return True
        self._has_bytes = True
        return not begin.startswith((b"<", _GZIP)) if self._is_called_json else begin.startswith(b"{")

    def check_lines(self, lines: Iterable[bytes]) -> None:
        """
        Check the first line that is not empty; later calls do nothing.

        Raises:
            ServiceUnavailable: the line is the body of an error; or the line is neither a post nor an error, and the
                answer has a `content-length`, which a stream does not have.
        """
        line = b"" if self.has_line else next(filter(None, lines), b"")
        if not line:
            return
        self.has_line = True
        is_about_error = is_error(line)
        if is_about_error and ends_stream(line):
            problem = parse_problem(line)
            is_answer = not (problem.disconnect_type or problem.is_about_credit or problem.type in _ENDS)
        else:
            is_answer = "content-length" in self._headers and not has_data(line) and not is_about_error
        if is_answer:
            raise self.no_stream(line)

    def check_failure(self, error: Exception) -> None:
        """
        Check *error*, with which the read of the body failed.

        Raises:
            ServiceUnavailable: the body is not packed as the head says.
        """
        if isinstance(error, DecodeError):
            raise ServiceUnavailable(
                "The connect was answered by a body that is not packed with"
                f" {_plain(self._headers.get('content-encoding', ''))}, as its head says: {_CURE}"
            )

    def no_stream(self, text: bytes) -> ServiceUnavailable:
        """Return the error that says what came instead of a stream; it quotes *text* without the token."""
        if self._token:
            text = text.replace(self._token.encode(), b"[token]")
        kind = _plain(self._headers.get("content-type", "")) or "of no type"
        words = " ".join(_plain(text.decode("utf-8", "replace"), " ").split())
        said = f"begins with: {words[:WORDS_BYTES]}" if words else "has no body"
        return ServiceUnavailable(
            f"The connect was answered by 200 and no stream: {_CURE}. The answer is {kind} and {said}"
        )


_ENDS = frozenset({"operational-disconnect", "client-disconnected"})


def _plain(text: str, instead: str = "") -> str:
    return "".join(character if character.isprintable() else instead for character in text)[: 2 * WORDS_BYTES]
