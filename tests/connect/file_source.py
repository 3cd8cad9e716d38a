"""
The class `FileStreamSourceConnector` of Apache Kafka, as the recorded requests use it, and the transform `Cast$Value`.

Only their configuration: the class checks it with Kafka Connect's own sentences.
"""

from connector.cluster.plugins import Plugin, Verdict
from connector.config.framework_checks import missing, wrong
from connector.config.options import Declared, Parser, Problem, Unfit, boolean, choice, text, whole

FILE_SOURCE = "org.apache.kafka.connect.file.FileStreamSourceConnector"
CAST = "org.apache.kafka.connect.transforms.Cast$Value"
INPUT = "/data/input.txt"
LISTED = Parser(kind="LIST", parse=str)


def declared(name, parser, *, required=False, default=None, importance="HIGH", group="", documentation=""):
    return Declared(
        name=name,
        attribute=name,
        environment=name,
        kind=parser.kind,
        required=required,
        default=default,
        importance=importance,
        group=group,
        documentation=documentation or name,
        choices=parser.choices,
        bounds=parser.bounds,
        available=True,
        path=False,
        parse=parser.parse,
    )


OPTIONS = {
    option.name: option
    for option in (
        declared("file", text()),
        declared("topic", text(), required=True),
        declared("batch.size", whole(minimum=1), default=2000, importance="LOW"),
    )
}


TRANSFORM = (
    ("negate", boolean(), False),
    ("predicate", text(), None),
    ("replace.null.with.default", boolean(), True),
)


def transforms_of(config):
    """The options that each transform of a configuration brings along."""
    options = {}
    for alias in filter(None, config.get("transforms", "").split(",")):
        group, prefix = f"Transforms: {alias}", f"transforms.{alias}."
        options[f"{prefix}type"] = declared(f"{prefix}type", choice(CAST, kind="CLASS"), required=True, group=group)
        options[f"{prefix}plugin.version"] = declared(f"{prefix}plugin.version", text(), group=group)
        options[f"{prefix}spec"] = declared(f"{prefix}spec", LISTED, required=True, group=group)
        for name, parser, default in TRANSFORM:
            options[prefix + name] = declared(prefix + name, parser, default=default, importance="MEDIUM", group=group)
    return options


def check(config):
    problems = [
        Problem(name, missing(name))
        for name, option in {**OPTIONS, **transforms_of(config)}.items()
        if option.required and name not in config
    ]
    problems += [
        Problem(name, "Must specify at least one field to cast.")
        for name in transforms_of(config)
        if name.endswith(".spec") and name not in config
    ]
    try:
        OPTIONS["batch.size"].parse(config.get("batch.size", "1"))
    except Unfit:
        problems.append(Problem("batch.size", wrong(config["batch.size"], "batch.size", "Not a number of type INT")))
    return Verdict(problems=tuple(problems))


def check_offset(partition, offset):
    if "filename" not in partition:
        raise ValueError("Partition objects should contain the key 'filename'")
    position = offset.get("position")
    if type(position) is not int:
        raise ValueError("The value for the 'position' key in the offset is expected to be a Long value")
    if position < 0:
        raise ValueError("The value for the 'position' key in the offset should be a non-negative value")


PLUGIN = Plugin(
    name=FILE_SOURCE,
    version="4.3.0",
    options=OPTIONS,
    check=check,
    check_offset=check_offset,
    brought=transforms_of,
)


def config_of(topic="t", **changes):
    """A configuration of the class; None removes an option, and `_` in a name stands for a dot."""
    config = {"connector.class": FILE_SOURCE, "tasks.max": "1", "file": INPUT, "topic": topic}
    config |= {name.replace("_", "."): text for name, text in changes.items()}
    return {name: text for name, text in config.items() if text is not None}
