"""The calls of the API about the account: its connections, and its usage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connector.simulator.clock import rfc3339_second
from connector.simulator.http.problems import bad_value
from connector.simulator.tokens import decode_page, encode_page

if TYPE_CHECKING:
    from connector.simulator.clock import Clock
    from connector.simulator.http.wire import Request
    from connector.simulator.meter import Meter
    from connector.simulator.settings import SimulatorSettings
    from connector.simulator.streams.emissions import ConnectionRecord, EmissionLog
    from connector.simulator.streams.slots import Slots

CONNECTION_FIELDS = frozenset(
    {"client_ip", "connected_at", "disconnect_reason", "disconnected_at", "endpoint_name", "id"}
)
ENDPOINT_IDS = frozenset(
    {
        "filtered_stream",
        "sample_stream",
        "sample10_stream",
        "firehose_stream",
        "tweets_compliance_stream",
        "users_compliance_stream",
        "tweet_label_stream",
        "firehose_stream_lang_en",
        "firehose_stream_lang_ja",
        "firehose_stream_lang_ko",
        "firehose_stream_lang_pt",
        "likes_firehose_stream",
        "likes_sample10_stream",
        "likes_compliance_stream",
    }
)
MAX_KILLS = 100
PAGE_TOKEN_LENGTH = 16
OPERATOR = "operator_disconnect"


class Account:
    """
    Answers about connections and usage.

    A connection counts as active while its client holds a slot, even if the client is dead.
    """

    def __init__(
        self, settings: SimulatorSettings, *, clock: Clock, slots: Slots, log: EmissionLog, meter: Meter
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._slots = slots
        self._log = log
        self._meter = meter

    def connections(self, request: Request) -> dict[str, Any]:
        """
        Answer a listing of connections.

        Raises:
            Refused: a parameter is wrong.
        """
        status = request.param("status") or "active"
        if status not in ("active", "inactive", "all"):
            raise bad_value("status", status, "is not one of [active,inactive,all]")
        endpoints = set((request.param("endpoints") or "").split(",")) - {""}
        if unknown := endpoints - ENDPOINT_IDS:
            raise bad_value("endpoints", min(unknown), f"is not one of [{','.join(sorted(ENDPOINT_IDS))}]")
        text = request.param("max_results") or "10"
        if not text.isdecimal() or not 1 <= int(text) <= MAX_KILLS:
            raise bad_value("max_results", text, f"is not between 1 and {MAX_KILLS}")
        records = [
            (number, record)
            for number, record in enumerate(self._log.connections)
            if status == "all" or self._active(record) == (status == "active")
            if not endpoints or record.endpoint in endpoints
        ]
        records.reverse()
        token = request.param("pagination_token")
        if token is not None:
            last = decode_page(token, status, length=PAGE_TOKEN_LENGTH)
            if last is None:
                raise bad_value("pagination_token", token, "is not valid")
            records = [entry for entry in records if entry[0] < last]
        shown = records[: int(text)]
        meta: dict[str, Any] = {"result_count": len(shown)}
        if len(records) > len(shown):
            meta["next_token"] = encode_page(shown[-1][0], status, length=PAGE_TOKEN_LENGTH)
        fields = set((request.param("connection.fields") or "").split(",")) - {""}
        if unknown := fields - CONNECTION_FIELDS:
            raise bad_value("connection.fields", min(unknown), f"is not one of [{','.join(sorted(CONNECTION_FIELDS))}]")
        data = [_shown(record, fields or CONNECTION_FIELDS, active=self._active(record)) for _, record in shown]
        return {**({"data": data} if data else {}), "meta": meta}

    def _active(self, record: ConnectionRecord) -> bool:
        return record.closed_at is None or self._slots.is_ghost(record.id)

    def kill(self, uuids: list[str]) -> dict[str, Any]:
        """End connections by id; a dead client's connection loses its slot."""
        results: list[dict[str, Any]] = []
        for uuid in uuids:
            if self._slots.free_ghost(uuid):
                results.append({"uuid": uuid, "success": True})
                continue
            connection = self._slots.get(uuid)
            if connection is None or not connection.open:
                results.append({"uuid": uuid, "success": False, "error_message": "Connection not found"})
                continue
            connection.record.disconnect_reason = OPERATOR
            connection.finish(OPERATOR)
            results.append({"uuid": uuid, "success": True})
        return _kills(results)

    def kill_all(self, endpoint: str | None = None) -> dict[str, Any]:
        """End all connections, of one endpoint or of all; dead clients lose their slots."""
        ghosts = self._slots.free_ghosts(endpoint)
        answer = self.kill([connection.id for connection in self._slots.live(endpoint)])
        answer["data"]["successful_kills"] += ghosts
        return answer

    def usage(self, request: Request) -> dict[str, Any]:
        """
        Answer the usage of the month; X writes the numbers as strings.

        Raises:
            Refused: `days` is out of range.
        """
        days = request.param("days") or "7"
        if not days.isdecimal() or not 1 <= int(days) <= 90:  # noqa: PLR2004 - X's bounds
            raise bad_value("days", days, "is not between 1 and 90")
        return {
            "data": {
                "cap_reset_day": self._meter.days_to_reset,
                "project_cap": str(self._meter.usage_cap),
                "project_id": self._settings.account_id,
                "project_usage": str(self._meter.reads),
            }
        }


def _second(moment: float) -> str:
    return rfc3339_second(moment).replace(".000Z", "Z")


def _shown(record: ConnectionRecord, fields: frozenset[str] | set[str], *, active: bool) -> dict[str, Any]:
    full = {
        "connected_at": _second(record.opened_at),
        "endpoint_name": record.endpoint,
        "client_ip": record.remote[0],
        "id": record.id,
    }
    if record.closed_at is not None and not active:
        full["disconnect_reason"] = record.disconnect_reason or f"{record.end}_disconnect"
        full["disconnected_at"] = _second(record.closed_at)
    return {name: value for name, value in full.items() if name in fields or name == "id"}


def _kills(results: list[dict[str, Any]]) -> dict[str, Any]:
    good = sum(result["success"] for result in results)
    return {"data": {"successful_kills": good, "failed_kills": len(results) - good, "results": results}}
