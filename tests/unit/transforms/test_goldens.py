"""Each recorded answer of Apache Kafka's own transforms, of `goldens/`, is the answer of ours."""

import json
from pathlib import Path

import pytest

from connector.config.chain import PREDICATES, TRANSFORMS, Chosen, Setting
from connector.config.options import Given, draft
from connector.errors import TransformFailed
from connector.transforms import date_reading
from connector.transforms.catalogue import CATALOGUE
from connector.transforms.chain import Chain
from connector.transforms.moment import Moment
from connector.transforms.record import Record
from connector.transforms.values import read

GOLDENS = Path(__file__).parent / "goldens"
SHARED = json.loads((GOLDENS / "values.json").read_text())
DEFAULTS = {"topic": "posts", "key": "1984623785441230848", "timestamp": 1793536496789}


def cases_of(name):
    return [json.loads(line) for line in (GOLDENS / f"{name}.jsonl").read_text().splitlines()]


def outcome(case):
    """What our class makes of *case*: `refused`, `failed`, `dropped`, `holds` or `becomes`."""
    family = PREDICATES if case["class"].startswith("predicates.") else TRANSFORMS
    kind = CATALOGUE.find(family, f"org.apache.kafka.connect.transforms.{case['class']}")
    given = Given(texts=case["config"], environ={}, directory=Path("/"))
    found = draft(kind.model, kind.options.values(), given)
    problems = found.with_conflicts(kind.conflicts(found.model, Setting(topic="posts", labels=())))
    if problems:
        return {"refused": [problem.sentence for problem in problems]}
    record, before = record_of(case)
    if family == PREDICATES:
        return {"holds": kind.make(found.model).test(record)}
    try:
        after = Chain([Chosen(alias="it", kind=kind, options=found.model)]).apply(record)
    except TransformFailed as exc:
        return {"failed": str(exc)}
    if after is None:
        return {"dropped": True}
    parts = {"topic": after.topic, "key": after.key, "value": after.value, "timestamp": after.timestamp_ms}
    return {"becomes": {part: value for part, value in plain(parts).items() if exact(value) != exact(before[part])}}


def record_of(case):
    parts = DEFAULTS | case["record"]
    value = parts["value"]
    parts["value"] = SHARED[value[1:]] if isinstance(value, str) and value.startswith("@") else value
    headers = tuple((name, text.encode()) for name, text in parts.pop("headers", []))
    record = Record(
        topic=parts["topic"],
        key=read(json.dumps(parts["key"]).encode()),
        value=read(json.dumps(parts["value"]).encode()),
        timestamp_ms=parts["timestamp"],
        headers=headers,
    )
    return record, parts


def plain(value):
    if isinstance(value, Moment):
        return {"$time": value.ms}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def exact(value):
    """A text that tells 1, 1.0 and true apart."""
    return json.dumps(value, sort_keys=True)


ANSWERS = ("becomes", "dropped", "holds", "refused", "failed")

DEVIATIONS = {
    # a blank option is one that is not set, as everywhere here
    "blank": lambda case, _: any(not text.strip() for text in case["config"].values()),
    # told when the configuration is checked, not with the first record
    "sooner": lambda case, ours: "refused" in ours and ("failed" in case or is_wrong(case)),
    # eras, and weeks, which begin on another day in other countries
    "letters": lambda _, ours: "of SimpleDateFormat" in str(ours.get("refused")),
    "years": lambda _, ours: "lies before the year 1583 or after 9999" in str(ours.get("failed")),
    # upper and lower case, as everywhere here
    "case": lambda case, _: case["config"].get("target.type") == "date",
}


def is_wrong(case):
    """A replacement that no match can fill, or a name that is empty."""
    config = case["config"]
    return config.get("replacement") in {"$1", "$", "${x}", "a\\"} or config.get("renames") == ":b"


def same(case, ours):
    theirs = {name: case[name] for name in ANSWERS if name in case}
    if theirs.keys() & ours.keys() & {"refused", "failed"}:
        return True  # the words differ
    return exact(theirs) == exact(ours)


@pytest.fixture(autouse=True)
def _in_the_year_of_the_recording(monkeypatch):
    """A year of two digits means one near the present."""
    monkeypatch.setattr(date_reading, "_this_year", lambda: 2026)


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDENS.glob("*.jsonl")))
def test_same_answers(name):
    """Apart from the deviations, which docs/transforms.md lists."""
    wrong = []
    for case in cases_of(name):
        ours = outcome(case)
        if not same(case, ours) and not any(deviates(case, ours) for deviates in DEVIATIONS.values()):
            wrong.append((case, ours))

    assert [] == wrong


def test_no_deviation_without_a_case():
    """Each listed deviation is one: some case needs it."""
    needed = set()
    for path in GOLDENS.glob("*.jsonl"):
        for case in cases_of(path.stem):
            ours = outcome(case)
            if not same(case, ours):
                needed |= {name for name, deviates in DEVIATIONS.items() if deviates(case, ours)}

    assert DEVIATIONS.keys() == needed


def test_enough_cases():
    """The recording is whole."""
    assert sum(len(cases_of(path.stem)) for path in GOLDENS.glob("*.jsonl")) > 1_800
