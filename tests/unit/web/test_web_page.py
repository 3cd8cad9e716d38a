"""The page's route and files: who gets the page, with which headers, and what its files may not contain."""

import hashlib
import re

import pytest

from connector.web.origin import JSON, prefers
from connector.web.page.files import INDEX, files
from tests.unit.web.test_web import ENVIRONMENT, PASSWORD, serving

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
HTML = "text/html"
UPLOT_SHA256 = "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f"
OWN = {name: file.body.decode() for name, file in files().items() if not name.startswith("uPlot")}


@pytest.fixture
async def web(tmp_path):
    async with serving(tmp_path) as web:
        yield web


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ([CHROMIUM], True),
        (["text/html"], True),
        (["TEXT/HTML; Q=1"], True),
        (["text/html, application/json"], True),
        (["application/json", "text/html"], False),  # named first
        (["application/json, text/html"], False),
        (["text/html;q=0.5, application/json"], False),
        (["application/json;q=0.5, text/html;q=0.6"], True),
        (["*/*"], False),  # curl, and most clients of Connect
        ([], False),
        (["text/html;q=0"], False),
        (["text/html;q=high"], False),
        (["text/*, application/*"], True),
        (["application/*;q=0.2, */*;q=0.1"], False),
    ],
)
def test_who_prefers_the_page(accept, expected):
    """Whoever wants HTML more than JSON, or names it first; what does not tell them apart means JSON."""
    assert expected is prefers(accept, HTML, JSON)


async def test_browsers_get_the_page_and_others_connects_root(web):
    """At the same address; a cache between learns that the answer depends on the header."""
    status, headers, body = await web.get("/", headers={"Accept": CHROMIUM})
    assert (200, "text/html", "Accept") == (status, headers["Content-Type"].partition(";")[0], headers["Vary"])
    assert body.startswith("<!doctype html>")

    status, headers, body = await web.get("/")
    assert (200, "Accept") == (status, headers["Vary"])
    assert {"version", "commit", "kafka_cluster_id"} == set(body)
    assert 406 == (await web.get("/", headers={"Accept": "image/png"}))[0]


@pytest.mark.parametrize("name", files())
async def test_each_file_is_served(web, name):
    """With its type, and headers by which a browser runs nothing else; `index.html` only at `/`, for its links."""
    path, accept = ("/", HTML) if name == INDEX else (f"/page/{name}", "*/*")
    status, headers, body = await web.get(path, headers={"Accept": accept})

    assert 200 == status
    assert files()[name].body.decode() == body
    assert headers["Content-Type"] == f"{files()[name].content_type}; charset=utf-8"
    assert "nosniff" == headers["X-Content-Type-Options"]
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|\*", policy)


async def test_a_known_file_is_not_sent_again(web):
    """304 for whoever has it, with the same tag and policy; the whole file for whoever has another version."""
    _, headers, _ = await web.get("/page/main.js")
    status, again, body = await web.get("/page/main.js", headers={"If-None-Match": headers["ETag"]})
    assert (304, headers["ETag"], "") == (status, again["ETag"], body)
    assert headers["Content-Security-Policy"] == again["Content-Security-Policy"]
    assert "no-cache" == again["Cache-Control"]

    assert 200 == (await web.get("/page/main.js", headers={"If-None-Match": '"another"'}))[0]


@pytest.mark.parametrize("path", ["/page/nothing.js", "/page/index.html", "/page/..%2fguard.py", "/page/files.py"])
async def test_nothing_else_is_served(web, path):
    """Only files of the folder `static`, by their names."""
    status, _, body = await web.get(path)

    assert (404, 404) == (status, body["error_code"])


async def test_the_page_asks_for_the_login(tmp_path):
    """Like each route; a browser then asks for name and password."""
    async with serving(tmp_path, ENVIRONMENT | {"CONNECTOR_WEB_USERS": f"ada:{PASSWORD}"}) as web:
        for path in ("/", "/page/main.js"):
            status, headers, _ = await web.get(path, headers={"Accept": CHROMIUM})
            assert (401, 'Basic realm="connector"') == (status, headers["WWW-Authenticate"])


async def test_a_foreign_host_gets_no_page(web):
    """A page whose host name was made to lead here could read it."""
    headers = {"Accept": CHROMIUM, "Host": "evil.example"}

    assert 403 == (await web.get("/", headers=headers))[0]
    assert 403 == (await web.get("/page/main.js", headers=headers))[0]


def test_what_the_files_refer_to_is_there():
    """Scripts, styles and pictures that the page names, and modules that modules import."""
    named = set(re.findall(r'(?:src|href)="page/([^"]+)"', OWN[INDEX]))
    for text in OWN.values():
        named |= set(re.findall(r'from "\./([^"]+)"', text))

    assert named <= set(files())
    assert {name for name in files() if name.endswith((".js", ".css"))} <= named
    preloaded = set(re.findall(r'rel="modulepreload" href="page/([^"]+)"', OWN[INDEX]))
    assert {name for name in OWN if name.endswith(".js")} - {"main.js"} == preloaded, "one after the other is slow"


def test_nothing_comes_from_elsewhere():
    """No address of another server, but links to posts at X and the name of SVG."""
    for name, text in OWN.items():
        found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text))
        assert (name, set()) == (name, found - {"https://x.com", "http://www.w3.org"})


def test_nothing_is_inline_and_no_text_becomes_markup():
    """What the policy refuses is not there: styles and scripts in HTML, and functions that take markup."""
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script>|javascript:", OWN[INDEX])
    for name, text in OWN.items():
        makers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|eval\(|new Function"
        assert (name, None) == (name, re.search(makers, text))


def test_uplot_is_as_its_authors_made_it():
    """Version 1.6.32 of npm's package, byte for byte, with its licence."""
    script = files()["uPlot.iife.min.js"].body

    assert UPLOT_SHA256 == hashlib.sha256(script).hexdigest()
    assert b"uPlot (v1.6.32)" in script
    assert b"MIT License" in files()["uPlot.LICENSE.txt"].body
