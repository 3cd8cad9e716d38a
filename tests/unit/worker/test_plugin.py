from dataclasses import replace

from connector.config.load import load
from connector.worker.plugin import identity_of, task_of, tasks_of
from tests.unit.worker.test_tasks import DECLARED, RECHECK

OLD = {"connector.class": "com.eneco.trading.kafka.connect.twitter.TwitterSourceConnector", "stream.type": "sample"}


def test_tasks():
    """As many as the stream has partitions, and no more than `tasks.max`."""
    assert [1, 1, 20, 3] == [
        tasks_of({}),
        tasks_of({"tasks.max": "7"}),
        tasks_of({"stream": "firehose", "tasks.max": "99"}),
        tasks_of({"stream": " Firehose ", "tasks.max": "3"}),
    ]


def test_the_stream_of_an_old_configuration():
    """A property of a connector in Java says which stream is read, and which partition belongs to which task."""
    assert 1 == tasks_of(OLD | {"tasks.max": "2"})
    assert 0 == task_of(OLD, {"stream": "sample"}, 1)


def test_rechecks_share_no_task(tmp_path):
    """Connectors of one stream do; those that ask for posts ask for those of their own topics."""
    for environ, same in (({}, True), (RECHECK, False)):
        config = load(DECLARED | environ, tmp_path).connector
        assert same == (identity_of(config) == identity_of(replace(config, name="other")))
