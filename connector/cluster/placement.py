"""
Where the tasks of a connector run, and with whom they share a stream.  (Pure.)

X gives an app one connection to a stream.  So connectors with the same API, credentials, stream and delivery share
slots: one task reads for all of them.  Which ones may is told by a hash of these, with a salt in each placement.

An offset lies in the partition of the slot in which it was written, and stays there when its connector is deleted.  So
a stream that is read again is read in the slot in which it was read before, and a slot with offsets of other names is
not used for another stream.  Where a connector needs another slot all the same, the task that begins there brings the
offsets along (`connector.cluster.offset_changes`), from the slots that the placement lists as earlier ones.
"""

import hashlib
import hmac
from collections.abc import Collection
from dataclasses import replace
from secrets import token_hex

from connector.cluster.configs import Configs, Connector, Former, Placement

SALT_BYTES = 16

EARLIER_MAX = 64
"""The most earlier slots that are remembered; a task that begins looks into the ledger of each."""


def sealed(identity: str) -> str:
    """Return what tells which connectors share a stream, made of its *identity*, which holds a secret."""
    salt = token_hex(SALT_BYTES)
    return f"{salt}:{_hash(salt, identity)}"


def is_of(identity: str, stream: str) -> bool:
    """Return whether *stream*, which `sealed` has made, is of the stream with this *identity*."""
    salt, _, found = stream.partition(":")
    return bool(identity and found) and hmac.compare_digest(found, _hash(salt, identity))


def _hash(salt: str, identity: str) -> str:
    return hmac.new(salt.encode(), identity.encode(), hashlib.sha256).hexdigest()


def place(
    configs: Configs,
    name: str,
    *,
    identity: str,
    count: int,
    slots: int,
    mine: Collection[int],
    reserved: Collection[int],
) -> Placement | None:
    """
    Return where the *count* tasks of the connector *name* run, in a group with so many *slots*; None without room.

    *identity* is that of its stream, `""` if it is not known or not shared.  Its offsets lie in the slots *mine*, those
    of other names in the *reserved* ones.
    """
    found = _place(configs, name, identity=identity, count=count, slots=slots, mine=mine, reserved=reserved)
    if found is None:
        return None
    before = configs.get(name)
    last = configs.left().get(name) if before is None else before.placement
    return replace(found, earlier=_earlier(last, found))


def _earlier(last: Placement | None, now: Placement) -> tuple[Former, ...]:
    """Return where the tasks ran before; also in slots that they keep, if the source partitions are dealt anew."""
    if last is None:
        return ()
    left = () if last.slots == now.slots else last.tasks
    return tuple(dict.fromkeys((*left, *last.earlier)))[:EARLIER_MAX]


def _place(
    configs: Configs,
    name: str,
    *,
    identity: str,
    count: int,
    slots: int,
    mine: Collection[int],
    reserved: Collection[int],
) -> Placement | None:
    before, used = configs.get(name), configs.slots_in_use()
    others = [each for each in configs.placed() if each.name != name]
    placements = [each.placement for each in others if each.placement is not None]
    for placement in placements:
        if is_of(identity, placement.stream):
            return placement
    known = _as_before(configs, name, identity, mine)
    if before is not None and before.placement is not None and not _shares(before, others):
        kept, owner, stream = before.placement.slots, before.placement.owner, before.placement.stream
    elif known is not None and not used & set(known.slots):
        kept, owner, stream = known.slots, known.owner, known.stream
    else:
        kept, owner, stream = () if used & set(mine) else tuple(sorted(mine)), "", ""
    free = configs.free_slots(max(count - len(kept), 0), slots=slots, reserved={*reserved, *kept})
    if free is None:
        return None
    chosen = (*kept, *free)[:count]
    if not owner:
        owner = name if name not in configs.owners() else f"{name}.{chosen[0]}"
    if not is_of(identity, stream):
        stream = sealed(identity) if identity else ""
    return Placement(chosen, owner, stream)


def _as_before(configs: Configs, name: str, identity: str, mine: Collection[int]) -> Placement | None:
    """
    Return where the stream was read when its last connector was deleted; None if it was not, or is not known.

    The offsets of *name* lie there, too, if it has any.
    """
    left = configs.left()
    names = sorted(left, key=lambda each: (each != name, left[each].slots))
    fitting = [left[each] for each in names if set(mine) <= set(left[each].slots)]
    return next((each for each in fitting if is_of(identity, each.stream)), None)


def _shares(connector: Connector, others: Collection[Connector]) -> bool:
    return any(set(other.slots) & set(connector.slots) for other in others)
