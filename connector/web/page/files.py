"""The files of the page: read once, and sent with headers that let a browser keep them and run nothing else."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from aiohttp import ETag
from aiohttp.web import Request, Response

INDEX = "index.html"
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
"""The content type of each kind of file that is served; others in the folder are not."""

HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-cache",  # a browser keeps a file, and asks with its ETag whether it is still the same
    # Nothing but the worker's own files runs or is loaded; Trusted Types refuse markup made of strings.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class File:
    """A file of the page: its *body*, its *content_type*, and a *digest* that changes with the body."""

    body: bytes
    content_type: str
    digest: str

    def answer(self, request: Request) -> Response:
        """Return the file, or 304 where the browser says that it has it."""
        known = request.if_none_match or ()
        if any(each.value in {self.digest, "*"} for each in known):
            response = Response(status=304, headers=HEADERS)
        else:
            response = Response(body=self.body, content_type=self.content_type, charset="utf-8", headers=HEADERS)
        response.etag = ETag(self.digest)
        return response


@cache
def files() -> Mapping[str, File]:
    """Return the files of the page by name; they are read at the first call."""
    found = {}
    for path in resources.files(__package__).joinpath("static").iterdir():
        content_type = TYPES.get(path.name[path.name.rfind(".") :])
        if content_type is not None:
            body = path.read_bytes()
            found[path.name] = File(body, content_type, hashlib.sha256(body).hexdigest()[:32])
    return found
