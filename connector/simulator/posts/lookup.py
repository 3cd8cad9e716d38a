"""`GET /2/tweets?ids=`: posts by their ids; what is gone comes as an error beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.simulator.http.problems import Refused, bad_value, invalid_parameter
from connector.simulator.posts.rendering import Spelling, select, selection

if TYPE_CHECKING:
    from connector.simulator.http.wire import Request
    from connector.simulator.posts.post import Object
    from connector.simulator.posts.store import PostStore
    from connector.simulator.settings import SimulatorSettings

MAX_IDS = 100


class Lookup:
    """Answers lookups out of the store."""

    def __init__(self, settings: SimulatorSettings, *, store: PostStore) -> None:
        self._host = settings.problem_host
        self._store = store
        self._spelling = Spelling(
            shuffled=settings.key_order == "shuffled",
            astral_escaped=settings.astral == "escaped",
            seed=settings.seed,
        )

    def find(self, request: Request) -> tuple[bytes, list[int], int]:
        """
        Return the answer, the ids of the posts in it, and the number of users to bill.

        Raises:
            Refused: a parameter is wrong.
        """
        chosen = selection(request.query, stream=False)
        data: list[Object] = []
        errors: list[Object] = []
        found: list[int] = []
        for post_id in _ids(request):
            try:
                post = self._store.get(post_id)
            except KeyError:
                errors.append(self._gone(str(post_id)))
                continue
            main, _ = select(post, chosen)
            data.append(self._spelling.order(main, post.id))
            found.append(post.id)
        answer: Object = {"data": data} if data else {}
        if errors:
            answer["errors"] = errors
        return self._spelling.encode(answer), found, len(found) if chosen.bills_users else 0

    def _gone(self, post_id: str) -> Object:
        return {
            "value": post_id,
            "detail": f"Could not find tweet with ids: [{post_id}].",
            "title": "Not Found Error",
            "resource_type": "tweet",
            "parameter": "ids",
            "resource_id": post_id,
            "type": f"https://{self._host}/2/problems/resource-not-found",
        }


def _ids(request: Request) -> list[int]:
    text = request.param("ids")
    if not text:
        raise Refused(invalid_parameter("ids", [], "The `ids` query parameter can not be empty"))
    ids = text.split(",")
    if len(ids) > MAX_IDS:
        raise bad_value("ids", text, f"has {len(ids)} ids and takes {MAX_IDS}")
    for each in ids:
        if not each.isdecimal() or len(each) > 19:  # noqa: PLR2004 - ^[0-9]{1,19}$
            raise bad_value("ids", each, "is not valid")
    return list(dict.fromkeys(map(int, ids)))
