"""The command `rules` against the simulator over HTTP, and beside a group that is asked over REST."""

import asyncio
import json
import time
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner

from connector.cli.exits import EX_CONFIG, EX_FAILED, EX_OK, EX_UNAVAILABLE, EX_UNREACHABLE, EX_USAGE
from connector.cli.rules.command import command_of, group_of
from connector.cli.rules.group import Group, rules_in
from connector.cli.rules.wanted import Configured
from connector.config.load import examine, load
from connector.simulator import SimulatorSettings, SimulatorThread
from connector.transforms.catalogue import CATALOGUE
from connector.web.connect.ports import TargetState
from tests.brokers import free_port
from tests.connect.file_source import INPUT
from tests.connect.in_memory import InMemoryConnectors
from tests.connect.serving import serving

BIRDS = {"name": "birds", "connector.class": "FileStreamSource", "file": INPUT, "topic": "posts"}

FOREIGN = ("#starling", "their rule")


class Rules:
    """The command, in an environment with the rules `#murmuration` and `#python`."""

    def __init__(self, sim, directory: Path):
        self.sim, self.directory = sim, directory
        self.environ = {
            "CONNECTOR_TOPIC": "posts",
            "CONNECTOR_X_API_URL": sim.url,
            "CONNECTOR_X_BEARER_TOKEN": sim.settings.token,
            "CONNECTOR_HASHTAGS": "murmuration,python",
            "CONNECTOR_WEB_PORT": str(free_port()),  # where no worker listens
        }

    def __call__(self, *args, code=EX_OK, environ=None, **kwargs):
        """What the command prints; its exit code is checked."""
        configured = Configured(load({**self.environ, **(environ or {})}, self.directory), ("CONNECTOR_TOPIC",))
        done = CliRunner().invoke(group_of(lambda: configured), [str(arg) for arg in args], **kwargs)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert code == done.exit_code, done.output
        return done.output

    def json(self, *args, **kwargs):
        return next(json.loads(line) for line in self(*args, "--json", **kwargs).splitlines() if line[:1] == "{")

    def file(self, content, name="rules.json"):
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    @property
    def held(self):
        return {(rule.value, rule.tag) for rule in self.sim.call(lambda: list(self.sim.simulator.rules))}


@pytest.fixture(scope="module")
def sim():
    with SimulatorThread(SimulatorSettings(users=50)) as started:
        yield started


@pytest.fixture
def rules(sim, tmp_path):
    sim.clear_rules()
    sim.clear_faults()
    sim.add_rule(*FOREIGN)
    return Rules(sim, tmp_path)


OURS = {("#murmuration", "posts/murmuration"), ("#python", "posts/python")}


# -- show


def test_show_tells_ours_from_those_of_others(rules):
    """With what X allows, and what a post costs."""
    rules.sim.add_rule("#python", "posts/python")
    rules.sim.add_rule("#rook", "posts2/rook")
    found = rules.json("show")

    assert {"posts": ["#python"]} == {
        name: [rule["value"] for rule in held] for name, held in found["connectors"].items()
    }
    assert {"their rule", "posts2/rook"} == {rule["tag"] for rule in found["others"]}
    assert (3, 1000, 997, 1024, 0.005) == tuple(
        found["limits"][key] for key in ("rules", "cap", "room", "rule_characters", "usd_each")
    )
    shown = rules("show")
    assert "posts/python" in shown
    assert "Rules of others, which are never changed" in shown
    assert "takes 997 more" in shown


def test_show_does_without_what_x_does_not_tell(rules, tmp_path):
    """Some accounts lack the endpoints for counts and usage."""
    with SimulatorThread(SimulatorSettings(absent=frozenset({"rules_counts", "usage"}))) as sim:
        found = Rules(sim, tmp_path).json("show")["limits"]

    assert (None, None, None) == (found["cap"], found["room"], found["posts_cap"])


def test_tags_steer_no_terminal(rules):
    """Others write them."""
    rules.sim.add_rule("#rook", "\x1b[2Jgone\n")

    assert "\x1b" not in rules("show")
    assert "\\x1b[2Jgone" in rules("show")


# -- plan


def test_plan_is_a_diff_of_our_rules(rules):
    """New, old, with another tag, or held by somebody else; nothing is changed by it."""
    rules.sim.add_rule("#python", "posts/old tag")
    rules.sim.add_rule("#rook", "posts/rook")
    before = rules.held
    listed = rules.file([{"value": "#murmuration"}, {"value": "#python"}, {"value": "#starling"}])
    found = rules.json("plan", "--file", listed)
    shown = rules("plan", "--file", listed)

    assert ["posts/murmuration", "posts/python"] == [rule["tag"] for rule in found["add"]]
    assert ["posts/rook", "posts/old tag"] == [rule["tag"] for rule in found["delete"]]
    assert ["#starling"] == found["held_elsewhere"]
    assert "+ posts/murmuration  #murmuration\n" in shown
    assert "- posts/rook  #rook\n" in shown
    assert "~ posts/python  #python  (the tag was posts/old tag)\n" in shown
    assert "! #starling" in shown
    assert "posts: 1 to add, 1 to delete, 1 to tag anew, 0 unchanged." in shown
    assert before == rules.held


def test_a_connector_in_a_file_has_its_own_name(rules):
    """Its account is that of the environment; rules of another connector are not its own."""
    rules.sim.add_rule("#python", "posts/python")
    found = rules.json("plan", "--file", rules.file('name = "birds"\nhashtags = ["rook"]\n', "birds.toml"))

    assert ("birds", ["birds/rook"], []) == (
        found["connector"],
        [each["tag"] for each in found["add"]],
        found["delete"],
    )


# -- apply


def test_apply_changes_our_rules_alone(rules):
    """And a second time there is nothing to do."""
    rules.sim.add_rule("#rook", "posts/rook")

    assert "Added 2, deleted 1." in rules("apply", "--yes")
    assert {*OURS, FOREIGN} == rules.held
    assert "Nothing has to be changed." in rules("apply")


def test_apply_asks_first(rules):
    """Without a terminal it wants --yes."""
    assert "--yes says so" in rules("apply", code=EX_USAGE)
    assert {FOREIGN} == rules.held


def test_a_dry_run_lets_x_check_and_changes_nothing(rules):
    """Both for rules that X takes and for rules that it refuses, all of which are named."""
    bad = rules.file([{"value": "#good"}, {"value": "bad:one"}, {"value": "-#bad"}])

    assert "Nothing was changed: X takes these rules." in rules("apply", "--dry-run")
    said = rules("apply", "--dry-run", "--file", bad, code=EX_FAILED)
    assert "X refuses 2 of the rules" in said
    assert "invalid operator 'bad'" in said
    assert {FOREIGN} == rules.held


def test_apply_changes_nothing_if_x_refuses_one(rules):
    """Not the good ones either."""
    rules("apply", "--yes", "--file", rules.file([{"value": "#good"}, {"value": "bad:one"}]), code=EX_FAILED)

    assert {FOREIGN} == rules.held


def test_apply_does_not_change_rules_under_a_reader_that_cannot_be_asked(rules):
    """A stream is open, and no worker answers: its rules may be in use."""
    login = {"Authorization": f"Bearer {rules.sim.settings.token}"}
    with requests.get(f"{rules.sim.url}/2/tweets/search/stream", headers=login, stream=True, timeout=30):
        assert "Somebody reads the stream" in rules("apply", "--yes", code=EX_FAILED)
        assert {FOREIGN} == rules.held
        rules("apply", "--yes", "--no-group")
    assert {*OURS, FOREIGN} == rules.held


# -- beside a group


@pytest.fixture
def group(rules):
    """A worker whose group has the connector `posts` with the rules of the environment, and `birds` with others."""
    connectors = InMemoryConnectors()
    with serving(connectors) as url:
        rules.environ["CONNECTOR_REST_URL"] = url
        rules.group = connectors
        asyncio.run(connectors.create("posts", {**BIRDS, "name": "posts", "hashtags": "murmuration,python"}))
        asyncio.run(connectors.create("birds", {**BIRDS, "rules": '[{"value": "#rook", "tag": "corvid"}]'}))
        yield rules


def test_a_running_connector_with_the_same_rules_may_be_helped(group):
    """Its worker would do the same."""
    assert "Added 2" in group("apply", "--yes")
    assert {*OURS, FOREIGN} == group.held


def test_a_running_connector_keeps_its_rules(group):
    """Its worker would bring them back, so nothing is changed, and it is said how."""
    group("apply", "--yes")
    other = group.file([{"value": "#raven"}])

    assert "connectors update posts" in group("apply", "--yes", "--file", other, code=EX_FAILED)
    assert "connectors update posts" in group("plan", "--file", other)
    assert {*OURS, FOREIGN} == group.held


def test_a_paused_connector_gets_no_rules(group):
    """They would cost money while nobody wants their posts."""
    group.group.connectors["posts"].state = TargetState.PAUSED

    assert "connectors resume posts" in group("apply", "--yes", code=EX_FAILED)
    assert {FOREIGN} == group.held


def test_a_rule_that_another_connector_wants_stays(group):
    """Its value is at X under our tag, and its posts are for the other, too."""
    group.sim.add_rule("#rook", "posts/rook")
    group.sim.add_rule("#raven", "posts/raven")
    said = group("apply", "--yes")

    assert "stays: birds wants it, too" in said
    assert {*OURS, FOREIGN, ("#rook", "posts/rook")} == group.held


def test_rules_that_cannot_be_read_may_be_any(group):
    """So no rule is deleted."""
    group.group.connectors["birds"].config["rules"] = "${file:/elsewhere:rules}"
    group.sim.add_rule("#raven", "posts/raven")

    assert "The rules of birds cannot be read from here" in group("apply", "--yes", code=EX_FAILED)
    assert ("#raven", "posts/raven") in group.held


def test_a_worker_that_was_named_has_to_answer(rules):
    """Else it would not be known what runs; --no-group says that nothing does."""
    gone = f"http://127.0.0.1:{free_port()}"

    assert "--no-group" in rules("apply", "--yes", "--url", gone, code=EX_UNREACHABLE)
    rules("apply", "--yes", "--no-group", "--url", gone)


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"hashtags": "a", "rules": '[{"value": "b c", "tag": "t"}]'}, {"#a": "a", "b c": "t"}),
        ({}, {}),
        ({"rules.file": "rules.toml"}, None),
        ({"rules": "broken"}, None),
        ({"hashtags": "not a hashtag"}, None),
    ],
)
def test_the_rules_of_a_configuration(config, found):
    """As its worker reads them; None where that is not known."""
    assert found == rules_in(config)


def test_a_connector_that_the_group_does_not_have_may_have_any_rules():
    """Before its first start."""
    assert Group().objection("posts", {"#a": "a"}) is None


# -- estimate


@pytest.fixture(scope="module")
def counted():
    """A simulator with posts of the last minutes that X counts: 40 of two tags, 30 more of one, 10 of another."""
    now = time.time()

    class Clock:
        def now(self):
            return time.time() if self.live else now - 150

        live = False

    clock = Clock()
    with SimulatorThread(SimulatorSettings(users=50), clock=clock) as started:
        for text, number in (("#python #kafka", 40), ("#kafka", 30), ("#faust", 10)):
            for _ in range(number):
                started.emit_post(f"a post {text}")
        clock.live = True
        yield started


def test_an_estimate_counts_a_post_once(counted, tmp_path):
    """Rules need not exist at X; 70 posts in 5 minutes are what two rules bring together, and not 110."""
    found = Rules(counted, tmp_path).json("estimate", "#python", "#kafka", "--over", "5m", "--yes")

    assert [40 * 288, 70 * 288] == [rule["posts_per_day"][0] for rule in found["rules"]]
    assert [70 * 288] * 2 == found["together"]["posts_per_day"]
    assert [40 * 288] * 2 == found["overlap"]["posts_per_day"]
    assert 70 * 288 * 0.005 == pytest.approx(found["together"]["usd_per_day"][0])
    assert 70 * 288 * 0.005 * 30 == pytest.approx(found["together"]["usd_per_month"][0])
    assert (3, 0.015) == (found["requests"], found["cost_usd"])


@pytest.mark.parametrize(
    ("args", "environ"),
    [
        (["#python"], {}),
        ([], {"CONNECTOR_HASHTAGS": "python"}),
        (["--file", "list.json"], {}),
        (["--file", "birds.json"], {}),
        (["#python"], {"CONNECTOR_WEB_PORT": "no", "CONNECTOR_DELIVERY": "never", "CONNECTOR_HASHTAGS": "a b!"}),
    ],
)
def test_an_estimate_needs_credentials_and_rules_alone(counted, tmp_path, monkeypatch, args, environ):
    """No topic, and nothing that an estimate does not use, need be there or be right."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.json").write_text('[{"value": "#python"}]')
    (tmp_path / "birds.json").write_text(
        '{"name": "birds", "connector.class": "PostStreamSourceConnector", "hashtags": "python"}'
    )
    account = {"CONNECTOR_X_API_URL": counted.url, "CONNECTOR_X_BEARER_TOKEN": counted.settings.token}
    command = command_of(examine({**account, **environ}, tmp_path, CATALOGUE))
    done = CliRunner().invoke(command, ["estimate", *args, "--over", "5m", "--yes", "--json"])

    assert EX_OK == done.exit_code, done.output
    assert [40 * 288] == [rule["posts_per_day"][0] for rule in json.loads(done.stdout)["rules"]]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "CONNECTOR_X_BEARER_TOKEN"),
        ({"CONNECTOR_X_BEARER_TOKEN": "AAAA"}, "CONNECTOR_HASHTAGS"),
    ],
)
def test_what_an_estimate_lacks_is_told(tmp_path, environ, words):
    """The credentials, and rules if none are given; nothing else."""
    done = CliRunner().invoke(command_of(examine(environ, tmp_path, CATALOGUE)), ["estimate", "--yes"])

    assert EX_CONFIG == done.exit_code
    assert words in done.output
    assert "CONNECTOR_TOPIC" not in done.output


def test_what_changes_rules_needs_all_settings(tmp_path):
    """With a wrong address of the group it would not be known which rules are in use."""
    (tmp_path / "birds.json").write_text(json.dumps({**BIRDS, "connector.class": "PostStreamSourceConnector"}))
    environ = {"CONNECTOR_X_BEARER_TOKEN": "AAAA", "CONNECTOR_TOPIC": "posts", "CONNECTOR_REST_URL": "no address"}
    command = command_of(examine(environ, tmp_path, CATALOGUE))
    done = CliRunner().invoke(command, ["apply", "--yes", "--file", str(tmp_path / "birds.json")])

    assert EX_CONFIG == done.exit_code
    assert "CONNECTOR_REST_URL" in done.output


def test_an_estimate_for_people(counted, tmp_path):
    """With the budget, what is not counted, and what it has cost."""
    rules = Rules(counted, tmp_path)
    shown = rules(
        "estimate",
        "#python",
        "#faust bio:birds",
        "--over",
        "5m",
        "--yes",
        environ={"CONNECTOR_BUDGET_USD_PER_MONTH": "576"},
    )

    assert "11,520" in shown
    assert "57.60" in shown
    assert "1,728.00" in shown
    assert "-is:retweet -is:quote" in shown
    assert "Not counted: #faust bio:birds" in shown
    assert "used up after 10.0 days" in shown
    assert "1 request of counts, $0.005" in shown


def test_uncounted_posts_are_added(counted, tmp_path):
    """Those that a stream delivers beyond what X counts."""
    found = Rules(counted, tmp_path).json("estimate", "#faust", "--over", "5m", "--yes", "--uncounted", "50")

    assert [15 * 288] * 2 == found["together"]["posts_per_day"]


def test_the_rules_at_x_are_estimated(rules):
    """Others' too: the app pays for them."""
    assert ["#starling"] == [each["rule"] for each in rules.json("estimate", "--held", "--yes")["rules"]]


def test_nothing_is_asked_of_x_before_the_cost_is_accepted(rules):
    """Without a terminal, --yes accepts it."""
    before = rules.sim.call(lambda: rules.sim.simulator.meter.spent_usd)
    said = rules("estimate", code=EX_USAGE)

    assert "3 requests of counts, $0.015." in said
    assert "--yes" in said
    assert before == rules.sim.call(lambda: rules.sim.simulator.meter.spent_usd)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--over", "8d"), "1m to 7d"),
        (("--over", "soon"), "1m to 7d"),
        (("#a", "--held"), "contradict each other"),
        (("",), "a rule 1 without a value"),
        (("--file", "none.json"), "does not exist"),
    ],
)
def test_wrong_arguments_are_told(rules, args, words):
    """With the cure."""
    assert words in rules("estimate", *args, code=EX_USAGE)


# -- what goes wrong


def test_a_missing_configuration_is_told(rules):
    """All of it at once."""
    configured = Configured(load({}, rules.directory), ("CONNECTOR_TOPIC is required",))
    done = CliRunner().invoke(group_of(lambda: configured), ["show"])

    assert EX_CONFIG == done.exit_code
    assert "CONNECTOR_TOPIC is required" in done.output


def test_a_stream_without_rules_is_told(rules):
    """Only the filtered stream has rules."""
    environ = {"CONNECTOR_STREAM": "sample", "CONNECTOR_HASHTAGS": ""}

    assert "only stream=filtered has" in rules("show", environ=environ, code=EX_USAGE)


@pytest.mark.parametrize("command", ["show", "plan", "apply"])
def test_x_that_refuses_or_is_gone_is_told(rules, command):
    """In a sentence, with an exit code of its own, and without the token."""
    said = rules(command, environ={"CONNECTOR_X_BEARER_TOKEN": "wrong-token"}, code=EX_UNAVAILABLE)
    assert "check x.bearer.token" in said
    assert "wrong-token" not in said
    rules(command, environ={"CONNECTOR_X_API_URL": f"http://127.0.0.1:{free_port()}"}, code=EX_UNAVAILABLE)
