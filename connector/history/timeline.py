"""
Which events are told to the group, and which sentence each of them is shown with.

The topic has the kind and the fields of an event; the sentence is made when it is shown.  A kind that is not in
`SENTENCES`, as a newer worker may write one, is shown with its name and fields.
"""

from collections.abc import Mapping
from string import Formatter
from typing import Any

from connector.history.records import Told

TEXT_CHARACTERS_MAX = 500
"""The longest text in a field of an event; what is longer is cut."""

FIELDS_MAX = 20
LIST_MAX = 20

SENTENCES: Mapping[str, str] = {
    "stream.connected": "Connected to X's stream {stream}.",
    "stream.disconnected": "The connection to X ended: {error}: {reason}.",
    "stream.joined": "It reads the stream {stream} together with {others}.",
    "stream.left": "It no longer reads the stream {stream}, which others go on to read.",
    "stream.ghost_released": "Connections that the last owner had left open at X were ended: {connections}.",
    "gap.opened": "A gap of {seconds} s opened: posts made from {gap_from} to {gap_to} may be missing ({reason}).",
    "gap.repair_started": "The repair of the gap from {gap_from} to {gap_to} began, by {way}.",
    "gap.repair_delayed": "Repair of the gap from {gap_from} failed: {error}: {reason}. Again in {retry_in_secs} s.",
    "gap.repaired": "The gap from {gap_from} to {gap_to} is repaired by {way}: {posts} posts were missing.",
    "gap.lost": "The gap from {gap_from} to {gap_to} is lost: {detail}.",
    "gap.accepted": "The gap from {gap_from} to {gap_to} was accepted: it is not repaired.",
    "rules.look_asked": "It was asked to look at once whether X holds its rules.",
    "gap.retry_asked": "It was asked to repair the gap from {gap_from} again.",
    "gap.accept_asked": "It was asked to accept the gap from {gap_from}.",
    "rules.changed": "The rules at X changed: {added} added, {deleted} deleted.",
    "rules.delayed": "The rules at X could not be changed: {error}: {reason}. Next try in {retry_in_secs} s.",
    "rules.left": "Rules are left at X: {reason}. Next try in {retry_in_secs} s.",
    "task.started": "The task started.",
    "task.stopped": "The task stopped, with {posts} posts delivered in all.",
    "task.failed": "The task FAILED: {error}: {reason}.",
    "task.paused": "The task pauses: {error}: {reason}.",
    "task.restarting": "A delivery was not confirmed, and the task starts over: {error}: {reason}.",
    "task.tried_again": "The FAILED task is started again in {retry_in_secs} s, for the {attempt}. time.",
    "task.fenced": "Another worker owns the task now.",
    "task.time_limit_reached": "The time limit of {time_limit_secs} s is reached.",
    "tasks.assigned": "The group dealt its tasks: {started} came to this worker, {stopped} left it.",
    "delivery.delayed": "Kafka has not confirmed a delivery for {waiting_secs} s; {undelivered_posts} posts wait.",
    "delivery.resumed": "Kafka confirms deliveries again, after {waited_secs} s.",
    "connector.created": "The connector was created.",
    "connector.changed": "The configuration was changed: {options}.",
    "connector.deleted": "The connector was deleted.",
    "connector.paused": "The connector was paused.",
    "connector.resumed": "The connector was resumed.",
    "connector.stopped": "The connector was stopped.",
    "connector.restarted": "A restart of {part} was asked for.",
    "connector.offsets_changed": "The offsets of the connector were changed by hand.",
    "connector.declared": "The connector is as the environment of the worker declares it.",
    "worker.starting": "A worker starts, version {version}.",
    "worker.ready": "The worker is ready.",
    "worker.stopping": "The worker stops: {reason}.",
    "worker.stopped": "The worker has stopped, exit code {exit_code}.",
    "worker.failed": "The worker failed: {error}: {reason}.",
    "worker.stop_timed_out": "The worker's stop was cut short ({reason}); {undelivered_posts} posts were undelivered.",
    "topic.missing": "{reason}.",
    "topic.back": "The topic {topic} is there again.",
    "topic.not_followed": "The topic {topic} cannot be read: {reason}.",
    "topic.followed": "The topic {topic} is read again.",
    "kafka.refused": "Kafka refuses: {reason}",
    "kafka.admitted": "Kafka no longer refuses, after {waited_secs} s.",
    "slots.added": "The group's topics have {slots} slots now.",
    "history.lost": "Of the history, {minutes} minutes and {events} events could not be written: {reason}.",
}

GOODBYES = frozenset({"worker.stopping", "worker.stopped", "worker.failed", "worker.stop_timed_out"})
"""Kinds with which a worker says that it leaves."""


def text_of(told: Told) -> str:
    """Return the sentence of an event; a field that it lacks is shown as `?`."""
    sentence = SENTENCES.get(told.kind)
    if sentence is None:
        return f"{told.kind} {', '.join(f'{name}={_shown(value)}' for name, value in told.fields.items())}".rstrip()
    fields = {
        name: _shown(told.fields.get(name, "?")) for _, name, _, _ in Formatter().parse(sentence) if name is not None
    }
    return sentence.format_map(fields).replace("..", ".")


def fields_of(fields: Mapping[str, object]) -> dict[str, Any]:
    """Return *fields* of an event as they may lie in Kafka: bounded, and of JSON's types."""
    return {name: _plain(value) for name, value in list(fields.items())[:FIELDS_MAX]}


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in list(value)[:LIST_MAX]]
    text = str(value)
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[: TEXT_CHARACTERS_MAX - 1]}…"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value)) or "nothing"
    return f"{value:g}" if isinstance(value, float) else str(value).rstrip(".")
