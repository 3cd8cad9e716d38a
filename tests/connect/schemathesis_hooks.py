"""
Lets every other request of a run of schemathesis be about a connector that exists, with a configuration that is valid.

Random names and configurations alone would hardly get behind the first check.  `tests.connect.schemathesis_run` starts
the tool with what these hooks need in the environment.
"""

import json
import os

import schemathesis

NAMES = json.loads(os.environ["CONNECTOR_NAMES"])
VALID = json.loads(os.environ["CONNECTOR_VALID_CONFIG"])
ONLY = os.environ.get("CONNECTOR_ONLY_NAMES") == "true"
"""Whether all valid configurations are for `NAMES`: each connector of a real worker is a task that runs."""


def chosen(value, known):
    """One of *known* for half of all values."""
    number = sum(map(ord, str(value)))
    return known[number // 2 % len(known)] if number % 2 or (ONLY and known is NAMES) else value


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    for name, known in (("name", NAMES), ("plugin", [VALID["connector.class"]]), ("task", [0])):
        if name in (path_parameters or {}):
            path_parameters[name] = chosen(path_parameters[name], known)
    return path_parameters


@schemathesis.hook
def map_body(context, body):
    """Make a valid configuration of every other one that breaks no rule of the schema."""
    if not isinstance(body, dict):
        return body
    path = context.operation.path
    if path.endswith(("/config", "/validate")):
        return made_valid(body)
    if path == "/connectors" and isinstance(body.get("config"), dict) and isinstance(body.get("name"), str):
        return {**body, "name": chosen(body["name"], NAMES), "config": made_valid(body["config"])}
    return body


def made_valid(config):
    broken = any(isinstance(value, dict | list) for value in config.values())
    return config if broken or len(config) % 2 else {**config, **VALID}
