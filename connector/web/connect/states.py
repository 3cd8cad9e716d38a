"""Connect's routes about the states of connectors and tasks, and about the topics that a connector writes to."""

import re

from aiohttp.web import HTTPNotFound, Request, Response

from connector.cluster import sentences
from connector.cluster.configs import TargetState
from connector.web.connect.answers import Status, TaskInfo, TaskStatus, Topics
from connector.web.connect.bodies import truth
from connector.web.connect.ports import Connectors
from connector.web.routes import Query, answer, done, get, post, put

_NUMBER = re.compile(r"-?[0-9]{1,9}")
_TRUTH = {"anyOf": [{"type": "boolean"}, {"type": "string"}], "default": False}
RESTARTS = (
    Query(name="includeTasks", doc="Whether to restart the tasks, too: `true`, in any case.", schema=_TRUTH),
    Query(name="onlyFailed", doc="Whether to restart only what has FAILED: `true`, in any case.", schema=_TRUTH),
)


class StateRoutes:
    """Routes of states, tasks and topics."""

    def __init__(self, connectors: Connectors) -> None:
        self._connectors = connectors

    @get("/connectors/{name}/status", gives={200: Status}, refuses=(404,))
    async def status(self, request: Request, name: str) -> Response:
        """Return the state of a connector and of its tasks."""
        found = self._connectors.status(name)
        if found is None:
            raise sentences.no_status(name)
        return answer(found)

    @get("/connectors/{name}/tasks", gives={200: list[TaskInfo]}, refuses=(404,))
    async def tasks(self, request: Request, name: str) -> Response:
        """Return the tasks of a connector, each with its configuration."""
        found = self._connectors.task_configs(name)
        if found is None:
            raise sentences.no_connector(name)
        return answer(found)

    @get("/connectors/{name}/tasks/{task}/status", gives={200: TaskStatus}, refuses=(404,))
    async def task_status(self, request: Request, name: str, task: str) -> Response:
        """Return the state of one task."""
        number = _number(task)
        shown = self._connectors.status(name) or {"tasks": []}
        found = next((each for each in shown["tasks"] if each["id"] == number), None)
        if found is None:
            raise sentences.no_task_status(name, number)
        return answer(found)

    @get("/connectors/{name}/topics", gives={200: dict[str, Topics]})
    async def topics(self, request: Request, name: str) -> Response:
        """Return the topics that a connector has written to since it was created, or since the last reset."""
        return answer({name: {"topics": self._connectors.topics(name)}})

    @put("/connectors/{name}/topics/reset", gives={202: None})
    async def reset_topics(self, request: Request, name: str) -> Response:
        """Forget to which topics a connector has written."""
        await self._connectors.reset_topics(name)
        return done(202)

    @put("/connectors/{name}/pause", gives={202: None}, refuses=(404, 409))
    async def pause(self, request: Request, name: str) -> Response:
        """Pause a connector: its tasks keep their place, and read nothing."""
        await self._connectors.set_state(name, TargetState.PAUSED)
        return done(202)

    @put("/connectors/{name}/resume", gives={202: None}, refuses=(404, 409))
    async def resume(self, request: Request, name: str) -> Response:
        """Run a connector that is PAUSED or STOPPED."""
        await self._connectors.set_state(name, TargetState.RUNNING)
        return done(202)

    @put("/connectors/{name}/stop", gives={204: None}, refuses=(404, 409))
    async def stop(self, request: Request, name: str) -> Response:
        """Stop a connector: it has no tasks until somebody resumes it, and its offsets may be changed."""
        await self._connectors.set_state(name, TargetState.STOPPED)
        return done(204)

    @post("/connectors/{name}/restart", query=RESTARTS, gives={202: Status, 204: None}, refuses=(404, 409))
    async def restart(self, request: Request, name: str) -> Response:
        """
        Restart a connector, and perhaps its tasks, or only what of it has FAILED.

        As in Connect, the answer is empty if neither parameter is true.
        """
        include_tasks, only_failed = truth(request, "includeTasks"), truth(request, "onlyFailed")
        status = await self._connectors.restart(name, include_tasks=include_tasks, only_failed=only_failed)
        return answer(status, 202) if include_tasks or only_failed else done(204)

    @post("/connectors/{name}/tasks/{task}/restart", gives={204: None}, refuses=(404, 409))
    async def restart_task(self, request: Request, name: str, task: str) -> Response:
        """Restart one task."""
        await self._connectors.restart_task(name, _number(task))
        return done(204)


def _number(task: str) -> int:
    """
    Return the number of a task in a URL.

    Raises:
        HTTPNotFound: it is no number.
    """
    if not _NUMBER.fullmatch(task):
        raise HTTPNotFound
    return int(task)
