"""
Connect's routes about log levels.

They act on the worker that is asked, also with `scope=cluster`, which only brings Connect's empty answer.
"""

from collections.abc import Mapping
from typing import Any

from aiohttp.web import Request, Response

from connector.cluster.refused import Conflicting, NotFound, Refused
from connector.telemetry.loggers import Loggers, TooManyLoggers, UnfitName
from connector.web.connect.answers import Logger, SetLevel
from connector.web.connect.bodies import json_object, json_of
from connector.web.routes import Query, answer, done, get, put

SCOPE = Query(
    name="scope",
    doc="`cluster` is answered without a body; in both scopes the level changes on the worker that is asked.",
    schema={"type": "string", "default": "worker", "examples": ["worker", "cluster"]},
)


class LoggerRoutes:
    """Routes of log levels."""

    def __init__(self, loggers: Loggers) -> None:
        self._loggers = loggers

    @get("/admin/loggers", gives={200: dict[str, Logger]})
    async def levels(self, request: Request) -> Response:
        """Return the level of each logger."""
        return answer({name: self._shown(name) for name in self._loggers.names()})

    @get("/admin/loggers/{logger}", gives={200: Logger}, refuses=(404,))
    async def level(self, request: Request, logger: str) -> Response:
        """Return the level of one logger."""
        if self._loggers.level(logger) is None:
            raise NotFound(f"Logger {logger} not found.")
        return answer(self._shown(logger))

    @put(
        "/admin/loggers/{logger}",
        takes=SetLevel,
        query=(SCOPE,),
        gives={200: list[str], 204: None},
        refuses=(400, 404, 409),
    )
    async def set_level(self, request: Request, logger: str) -> Response:
        """Set the level of a logger and of those below it; return their names."""
        level = _level(json_object(await json_of(request), "The body"))
        try:
            changed = self._loggers.set_level(logger, level)
        except LookupError:
            raise NotFound(f"invalid log level {level[:60]!r}.") from None
        except UnfitName as error:  # there is no such resource, as with a level
            raise NotFound(str(error)) from None
        except TooManyLoggers as error:
            raise Conflicting(str(error)) from None
        return done(204) if request.query.get("scope", "").lower() == "cluster" else answer(changed)

    def _shown(self, name: str) -> dict[str, Any]:
        return {"level": self._loggers.level(name), "last_modified": self._loggers.modified_ms(name)}


def _level(body: Mapping[str, Any]) -> str:
    level = body.get("level")
    if level is None:
        raise Refused("Desired 'level' parameter was not specified in request.")
    return str(level)
