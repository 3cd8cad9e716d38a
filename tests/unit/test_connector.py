"""The names that the package itself has, for whoever imports it."""

import subprocess
import sys

import pytest

import connector
from connector.kafka.delivery.posts_topic import PostsTopic
from connector.records.post import Post
from tests import ROOT


def test_names_for_readers_of_the_topic():
    """A reader of the topic need not know our rooms."""
    assert (Post, PostsTopic) == (connector.Post, connector.PostsTopic)


def test_other_names_are_not_there():
    """As of any other module."""
    with pytest.raises(AttributeError, match="module 'connector' has no attribute 'Feed'"):
        _ = connector.Feed


def test_importing_the_package_loads_nothing_else(tmp_path):
    """Neither a configuration nor Faust, aiokafka or tweepy."""
    code = "import sys, connector; print({'faust', 'aiokafka', 'tweepy', 'connector.worker'} & set(sys.modules))"
    said = subprocess.run(  # noqa: S603  # ours
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "set()" == said.stdout.strip()


@pytest.mark.slow
def test_the_command_tells_its_version_whatever_the_settings_are(tmp_path):
    """`python -m connector --version`, with settings that no worker would start with."""
    said = subprocess.run(  # ours
        [sys.executable, "-m", "connector", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "CONNECTOR_DELIVERY": "perhaps"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert said.stdout.startswith(f"murmuration-connector {connector.__version__} (Faust ")
