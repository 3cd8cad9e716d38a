"""The table of all transforms and predicates."""

from connector.config.chain import PREDICATES, TRANSFORMS, Catalogue, Kind, kind
from connector.transforms import (
    extract_field,
    filter,  # noqa: A004  # Connect's name
    flatten,
    hoist_field,
    insert_field,
    mask_field,
    own,
    predicates,
    regex_router,
    replace_field,
    rule_router,
    timestamp_converter,
    timestamp_router,
    value_to_key,
)
from connector.transforms.part import PARTS, maker_of

CONNECT = "org.apache.kafka.connect.transforms."

_OF_PARTS = {
    "ExtractField": (extract_field, extract_field.ExtractField),
    "Flatten": (flatten, flatten.Flatten),
    "HoistField": (hoist_field, hoist_field.HoistField),
    "InsertField": (insert_field, insert_field.InsertField),
    "MaskField": (mask_field, mask_field.MaskField),
    "ReplaceField": (replace_field, replace_field.ReplaceField),
    "TimestampConverter": (timestamp_converter, timestamp_converter.TimestampConverter),
}
"""Those that change the key or the value, so that there are two classes of each."""

_OF_RECORDS = {
    f"{CONNECT}Filter": (filter, filter.Filter),
    f"{CONNECT}RegexRouter": (regex_router, regex_router.RegexRouter),
    f"{CONNECT}TimestampRouter": (timestamp_router, timestamp_router.TimestampRouter),
    f"{CONNECT}ValueToKey": (value_to_key, value_to_key.ValueToKey),
    "RuleRouter": (rule_router, rule_router.RuleRouter),
}

_PREDICATES = {
    "HasHeaderKey": (predicates.HAS_HEADER_DOC, predicates.HasHeaderOptions, predicates.HasHeaderKey),
    "RecordIsTombstone": (predicates.TOMBSTONE_DOC, predicates.TombstoneOptions, predicates.RecordIsTombstone),
    "TopicNameMatches": (predicates.TOPIC_MATCHES_DOC, predicates.TopicMatchesOptions, predicates.TopicNameMatches),
}


def _transforms() -> list[Kind]:
    kinds = [
        kind(
            f"{CONNECT}{name}{suffix}",
            module.DOC,
            module.Options,
            maker_of(changes, part),
            getattr(module, "conflicts", _no_conflicts),
            keeps_value=part == "key",
        )
        for name, (module, changes) in _OF_PARTS.items()
        for suffix, part in PARTS
    ]
    kinds += [
        kind(name, module.DOC, module.Options, make, getattr(module, "conflicts", _no_conflicts), keeps_value=True)
        for name, (module, make) in _OF_RECORDS.items()
    ]
    return sorted(kinds, key=lambda each: (not each.name.startswith(CONNECT), each.name))


def _no_conflicts(*_: object) -> tuple[()]:
    return ()


CATALOGUE = Catalogue(
    kinds={
        TRANSFORMS: tuple(_transforms()),
        PREDICATES: tuple(
            kind(f"{CONNECT}predicates.{name}", doc, model, make) for name, (doc, model, make) in _PREDICATES.items()
        ),
    },
    other=own.find,
    others=own.names,
)
"""All transforms and predicates of this worker, with those of other packages that are installed."""
