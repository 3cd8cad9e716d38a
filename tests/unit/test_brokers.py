"""How the jars of a broker come to a fresh clone; `mvn` is a script."""

import os

import pytest

from tests import brokers

COPIES = """
for word; do
  case $word in -DoutputDirectory=*) mkdir -p "${word#*=}" && : >"${word#*=}/kafka_2.13-9.jar" ;; esac
done
"""


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone without jars; `maven(script)` is what its machine has for Maven."""
    monkeypatch.setattr(brokers, "JARS", tmp_path / "build" / "kafka")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def maven(script):
        (tmp_path / "mvn").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "mvn").chmod(0o755)
        return tmp_path / "build"

    return maven


def test_jars_are_got_once(clone):
    """What Maven copies is there, and nothing else is left."""
    build = clone(COPIES)
    brokers.fetch_jars()
    clone("exit 1")
    brokers.fetch_jars()

    assert ["kafka"] == [path.name for path in build.iterdir()]
    assert ["kafka_2.13-9.jar"] == [path.name for path in brokers.JARS.iterdir()]


def test_what_maven_says_is_said(clone):
    """One sentence, not the stack of a call; what it began is no copy."""
    clone("echo '[ERROR] Could not transfer artifact'; exit 1")
    with pytest.raises(brokers.JarsMissing) as caught:
        brokers.fetch_jars()

    said = "[ERROR] Could not transfer artifact"
    assert f"Maven could not get Kafka's jars into {brokers.JARS}: {said}" == str(caught.value)
    assert not brokers.JARS.exists()


def test_what_stands_in_the_way_is_said(clone):
    """A folder that somebody filled otherwise is not replaced."""
    clone(COPIES)
    brokers.JARS.mkdir(parents=True)
    (brokers.JARS / "mine.txt").touch()

    with pytest.raises(brokers.JarsMissing, match="where something else is: remove it"):
        brokers.fetch_jars()
    assert ["mine.txt"] == [path.name for path in brokers.JARS.iterdir()]
