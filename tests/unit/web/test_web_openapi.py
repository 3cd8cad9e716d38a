"""Is /openapi.json true?  It has every route, and schemathesis finds nothing that contradicts it."""

import os
import re
import subprocess
import sys

import pytest
from aiohttp.test_utils import unused_port

from connector.web import docs
from connector.web.openapi import document
from tests import ROOT
from tests.connect.file_source import config_of
from tests.connect.schemathesis_run import check, start
from tests.connect.serving import served

SECS = int(os.environ.get("CONNECTOR_SCHEMATHESIS_SECS", "6"))


async def test_every_route_is_described():
    """Each path and method that is served is in the document, and the document has nothing that is not served."""
    async with served() as web:
        _, described = await web("GET", "/openapi.json")
        routes = {
            (re.sub(r"(?<=.)/$", "", route.resource.canonical), route.method.lower())
            for route in web.client.server.app.router.routes()
            if route.method not in {"HEAD", "OPTIONS"}
        }

    assert routes == {(path, method) for path, methods in described["paths"].items() for method in methods}
    assert {"/coverage", "/ready", "/ping", "/health", "/metrics", "/openapi.json"} <= set(described["paths"])


async def test_what_is_described():
    """A route has its sentence, its parameters, the bodies by reference, and the errors that it may answer."""
    async with served() as web:
        _, described = await web("GET", "/openapi.json")
    create = described["paths"]["/connectors"]["post"]

    assert create["summary"].startswith("Create a connector")
    assert {"$ref": "#/components/schemas/CreateConnector"} == create["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert {"201", "400", "403", "406", "409", "413", "415", "503"} == set(create["responses"])
    assert "Location" in create["responses"]["201"]["headers"]
    assert {"name", "config"} == set(described["components"]["schemas"]["CreateConnector"]["required"])
    task = described["paths"]["/connectors/{name}/tasks/{task}/status"]["get"]["parameters"]
    assert [("name", "string"), ("task", "integer")] == [(each["name"], each["schema"]["type"]) for each in task]
    assert "content" not in described["paths"]["/connectors/{name}/stop"]["put"]["responses"]["204"]
    names = [each["operationId"] for methods in described["paths"].values() for each in methods.values()]
    assert len(names) == len(set(names))
    assert "put_connectors_name_stop" in names


def test_login_is_described():
    """With users, every route says that it asks for a login; without, none does."""
    assert {"login"} == set(document([], login=True)["components"]["securitySchemes"])
    assert [{"login": []}] == document([], login=True)["security"]
    assert "security" not in document([], login=False)


@pytest.fixture
def server():
    """The address of a server in a process of its own."""
    port = unused_port()
    command = [sys.executable, "-m", "tests.connect.serving", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout.readline() == "serving\n"
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.mark.slow
@pytest.mark.timeout(SECS + 120)
def test_schemathesis(server, tmp_path):
    """No request that can be made of the document gets an answer that the document does not allow."""
    check(start(server, tmp_path, secs=SECS, config=config_of(), names=["a", "b", "c", "ä b"]))


def test_the_page_of_routes_is_fresh():
    """docs/routes.md is what /openapi.json says; `make docs` writes it."""
    assert docs.page() == (ROOT / "docs" / "routes.md").read_text()


async def test_the_page_has_every_route_that_is_served():
    """Also those that a route declares twice for one path."""
    async with served() as web:
        _, described = await web("GET", "/openapi.json")
    page = docs.page()

    for path, methods in described["paths"].items():
        assert all(f"| `{method.upper()} {path}` |" in page for method in methods)
