"""
The documentation as a site: `make site` builds it into build/site, without a network.

Every warning is an error: a link that leads nowhere, a chapter that is not there, a page that no other leads to.  So is
a page that would load anything from outside.
"""

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from connector import __version__

project = "Murmuration"
release = __version__
html_title = f"Murmuration {release}"
extensions = ["myst_parser"]
html_theme = "furo"
html_theme_options = {"footer_icons": [], "top_of_page_buttons": []}
html_copy_source = html_show_sourcelink = html_show_copyright = html_show_sphinx = False
nitpicky = True
suppress_warnings = ["myst.header"]  # a page may begin with any level
myst_heading_anchors = 4

BESIDE = ("ARCHITECTURE.md", "CHANGELOG.md")
"""Documents beside docs/; for each a page here includes it."""

OUTSIDE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\ssrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b[^>]*\shref=["']?(?:https?:)?//[^>]*>|url\(["']?(?:https?:)?//[^)]*\)"""
)


def _links(_: Sphinx, name: str, source: list[str]) -> None:
    """Let links to a document beside docs/ lead to the page that includes it."""
    up = "../" * name.count("/")
    for page in BESIDE:
        source[0] = source[0].replace(f"](../{up}{page}", f"]({up}{page.lower()}")


def _nothing_from_outside(app: Sphinx, error: Exception | None) -> None:
    for path in [] if error else [*Path(app.outdir).rglob("*.html"), *Path(app.outdir).rglob("*.css")]:
        if found := OUTSIDE.search(path.read_text(encoding="utf-8")):
            raise ExtensionError(f"{path.relative_to(app.outdir)} loads something from outside: {found[0]}")


def setup(app: Sphinx) -> None:
    """Connect to what Sphinx does."""
    app.connect("source-read", _links)
    app.connect("build-finished", _nothing_from_outside)
