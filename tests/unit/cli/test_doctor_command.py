"""The command `doctor` without X and Kafka: what becomes of a check, of findings, of the command line."""

import asyncio
import io
import json
import stat

import pytest
from click.testing import CliRunner
from rich.console import Console

from connector.cli.doctor import account, machine, rules, shown, topics
from connector.cli.doctor.case import Case, Once
from connector.cli.doctor.checks import CHECKS, Check, Result, run
from connector.cli.doctor.command import command_of, exit_code_of
from connector.cli.doctor.finding import Blocked, State, ok, told, unknown, warning, wrong
from connector.cli.places import places
from connector.config.load import examine
from connector.simulator import SimulatorSettings, SimulatorThread
from connector.sources.archive.estimates import Bounds, Estimate
from connector.sources.rest.account import HeldConnection, RuleCounts, Usage
from connector.transforms.catalogue import CATALOGUE
from tests.unit.sources.scripted import ScriptedServer, answer

SECRET = "AAAAverysecret"  # noqa: S105  # opens nothing
GOOD = {"CONNECTOR_TOPIC": "posts", "CONNECTOR_HASHTAGS": "python,kafka", "CONNECTOR_X_BEARER_TOKEN": SECRET}


def case_of(folder, environ):
    examined = examine(environ, folder, CATALOGUE)
    return Case(examined, places(examined, []), may_spend=False)


def states(findings):
    return [finding.state for finding in findings]


# -- a check


def checked(check):
    return asyncio.run(run(check, None)).findings


def test_what_goes_wrong_in_a_check_stays_in_it():
    """An error, a time that is over, and a reason that another check has found: each is one that could not be made."""

    async def breaks(_case):
        """Does it break?"""
        raise ValueError("it broke")

    async def waits(_case):
        """Does it end?"""
        await asyncio.sleep(60)

    async def blocked(_case):
        """Is there a broker?"""
        raise Blocked("broker", "Nobody answers")

    assert (unknown("it broke.", "Ask again with --check a."),) == checked(Check(name="a", run=breaks))
    (late,) = checked(Check(name="b", run=waits, secs=0.01))
    assert (State.UNKNOWN, True) == (late.state, "no answer within 0.01 s" in late.message)
    assert (unknown("Nobody answers.", "See the check broker."),) == checked(Check(name="c", run=blocked))


def test_a_question_is_asked_once():
    """Whoever asks again gets the same answer, also if it is an error, or the first one has not waited for it."""
    asked = []

    async def ask():
        asked.append(1)
        await asyncio.sleep(0.02)
        raise ValueError("no")

    async def all_of_it():
        once = Once(ask)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await once()
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await once()

    asyncio.run(all_of_it())
    assert [1] == asked


@pytest.mark.parametrize(
    ("sentence", "message", "cure"),
    [
        ("It is gone: make it again", "It is gone.", "Make it again"),
        ("A (b: c) is wrong: change X, or Y.", "A (b: c) is wrong.", "Change X, or Y."),
        ("It is what it is.", "It is what it is.", ""),
        ("http://a:1 says no: ask.", "http://a:1 says no.", "Ask."),
    ],
)
def test_a_sentence_has_its_cure_behind_the_last_colon(sentence, message, cure):
    """As all sentences of the connector have it."""
    found = told(State.WRONG, sentence)

    assert (State.WRONG, message, cure) == (found.state, found.message, found.cure)


# -- the command line


def doctor(folder, environ, *arguments, code=0):
    done = CliRunner().invoke(command_of(examine(environ, folder, CATALOGUE)), arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert code == done.exit_code, done.output
    return done.output


def test_the_list_of_checks(tmp_path):
    """Each with its question, as a person and as a program reads it."""
    said = doctor(tmp_path, {}, "--list")
    listed = json.loads(doctor(tmp_path, {}, "--list", "--json"))["checks"]

    assert [check.name for check in CHECKS] == [each["check"] for each in listed]
    for each in listed:
        assert each["asks"].endswith(("?", "."))
        assert f"{each['check']} " in said
        assert each["asks"] in said


def test_only_the_checks_that_are_asked_for(tmp_path):
    """In their own order; an unknown name is answered with all names."""
    found = json.loads(doctor(tmp_path, GOOD, "--check", "disk", "--check", "settings", "--json"))
    refused = doctor(tmp_path, GOOD, "--check", "nothing", code=2)

    assert ["settings", "disk"] == [each["check"] for each in found["checks"]]
    assert "internal-topics" in refused


def test_wrong_settings(tmp_path):
    """They are told, what needs them is not looked at, and the rest is."""
    said = doctor(tmp_path, {**GOOD, "CONNECTOR_WEB_PORT": "no"}, code=78)

    assert "settings" in said
    assert "CONNECTOR_WEB_PORT must be a whole number" in said
    assert "The settings are wrong." in said
    assert SECRET not in said


def test_a_file_is_one_more_connector(tmp_path):
    """What is wrong with it is a wrong setting."""
    (tmp_path / "owls.json").write_text('{"name": "owls", "connector.class": "PostStreamSourceConnector"}')
    said = doctor(tmp_path, GOOD, str(tmp_path / "owls.json"), "--check", "settings", code=78)

    assert "hashtags is required" in said


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ({"disk": [ok("x.")]}, 0),
        ({"disk": [warning("x.", "y.")], "rules": [unknown("x.", "y.")]}, 0),
        ({"disk": [ok("x."), wrong("x.", "y.")]}, 1),
        ({"settings": [wrong("x.", "y.")], "disk": [wrong("x.", "y.")]}, 78),
        ({"settings": [warning("x.", "y.")]}, 0),
    ],
)
def test_exit_codes(found, code):
    """Warnings, and what could not be checked, are not wrong."""
    assert code == exit_code_of(results(found))


def results(found):
    checks = {check.name: check for check in CHECKS}
    return [Result(check=checks[name], findings=tuple(findings)) for name, findings in found.items()]


def printed(found, *, terminal=False):
    file = io.StringIO()
    shown.show(results(found), Console(file=file, force_terminal=terminal, width=60, highlight=False))
    return file.getvalue()


def test_what_is_printed_into_a_pipe():
    """Whole sentences without colours; what could not be checked for one reason is told once, at the end."""
    away = unknown("Nobody answers.", "See the check broker.")
    long = "word " * 40
    said = printed({"topics": [away], "rights": [away], "disk": [ok("Fine."), wrong(f"{long}end.", "Do \x1b[31mit.")]})

    assert "\x1b" not in said
    assert f"{long}end." in said
    assert "→ Do \\x1b[31mit." in said
    assert 1 == said.count("Nobody answers.")
    assert said.index("Fine.") < said.index("Nobody answers.")
    assert said.endswith("1 ok, 0 warnings, 1 wrong, 2 could not be checked.\n")
    assert [] == [line for line in said.splitlines() if line != line.rstrip()]


def test_what_is_printed_on_a_terminal():
    """In colours, and no wider than it is."""
    said = printed({"disk": [wrong("word " * 40, "Do it.")]}, terminal=True)

    assert "\x1b[1;31mWRONG" in said
    assert "word word word" in said


# -- what is found


def test_files_with_secrets(tmp_path):
    """`.env` counts if a secret is in it; a file that only its owner may read is fine."""
    dotenv = tmp_path / ".env"
    dotenv.write_text(f"CONNECTOR_X_BEARER_TOKEN={SECRET}\n")
    dotenv.chmod(0o604)
    key = tmp_path / "key"
    key.write_text("x")
    key.chmod(stat.S_IRUSR | stat.S_IWUSR)
    environ = {"CONNECTOR_TOPIC": "p", "CONNECTOR_KAFKA_SSL_KEY_FILE": "key", "CONNECTOR_WEB_PASSWORD": "x"}
    found = asyncio.run(machine.secrets(case_of(tmp_path, environ)))
    dotenv.chmod(0o600)
    fine = asyncio.run(machine.secrets(case_of(tmp_path, environ)))

    assert [f"chmod 600 {dotenv}"] == [finding.cure for finding in found]
    assert ([State.OK], True) == (states(fine), "2 files" in fine[0].message)


def test_a_plan_that_x_does_not_know():
    """X's number of rules tells an enterprise contract from pay-per-use."""
    counts = RuleCounts(app_rules=0, app_cap=1_000, project_rules=0, project_cap=1_000)
    many = RuleCounts(app_rules=0, app_cap=25_000, project_rules=0, project_cap=25_000)

    assert [State.WARNING] == states(account._fits("enterprise", counts)) == states(account._fits("pay_per_use", many))
    assert [State.OK] == states(account._fits("enterprise", many)) == states(account._fits("pay_per_use", counts))
    assert [State.OK] == states(account._fits("enterprise", None))


@pytest.mark.parametrize(("posts", "state"), [(10, State.OK), (80, State.WARNING), (100, State.WRONG)])
def test_the_posts_of_the_month(posts, state):
    """A warning comes early enough to do something."""
    assert state == account._usage(Usage(posts=posts, cap=100, days_left=3)).state
    assert account._usage(Usage(posts=posts, cap=None, days_left=3)) is None


def test_who_holds_the_connections(tmp_path):
    """A task of the group by the id or the time that it has told; where Kafka is silent nobody is blamed."""
    (x,) = case_of(tmp_path, GOOD).x()
    opened = {"a": 1e9, "b": 1e9 + 60}
    held = [HeldConnection(id=id_, endpoint="filtered_stream", connected_at=at) for id_, at in opened.items()]

    assert [State.OK, State.OK] == states(account._holders(x, held, {"a": "task 0", 1e9 + 60: "task 1"}))
    assert [State.OK, State.WARNING] == states(account._holders(x, held, {"a": "task 0"}))
    assert [State.WRONG, State.WRONG] == states(account._holders(x, held, {}))
    assert [State.WARNING, State.WARNING] == states(account._holders(x, held, None))


def test_what_x_has_to_count(tmp_path):
    """All rules together, and each alone if they are few: the price is known before anything is asked."""
    few = case_of(tmp_path, GOOD)
    one = case_of(tmp_path, {**GOOD, "CONNECTOR_HASHTAGS": "python"})
    many = case_of(tmp_path, {**GOOD, "CONNECTOR_HASHTAGS": ",".join(f"t{number}" for number in range(30))})

    assert [3, 1] == list(map(rules.requests_of, (few, one)))
    assert rules.requests_of(many) < 30
    assert "3 requests of counts, $0.015" == rules.price_of(3)
    assert "1 request of counts, $0.005" == rules.price_of(1)


def test_a_budget_that_is_enough(tmp_path):
    """Or that is not: for how long it lasts."""
    environ = {**GOOD, "CONNECTOR_BUDGET_POSTS_PER_DAY": "100", "CONNECTOR_BUDGET_USD_PER_MONTH": "30"}
    config = case_of(tmp_path, environ).connectors[0]

    def found(posts):
        return Estimate(rules=(), left_out=(), together=Bounds(0, posts), days=7, mills_each=5)

    assert [] == list(rules._over_budget(config, found(700)))
    day, month = rules._over_budget(config, found(2_800))
    assert "used up after 6.0 hours of each day" in day.message
    assert "$60.00 come: it is used up after 15.0 days" in month.message


TOPIC_SETTINGS = [
    ({}, []),
    ({"max.message.bytes": "1048588", "message.timestamp.type": "CreateTime"}, []),
    ({"message.timestamp.before.max.ms": str(2**63 - 1)}, []),
    ({"max.message.bytes": "262143"}, [State.WRONG]),
    ({"message.timestamp.type": "LogAppendTime"}, [State.WARNING]),
    ({"message.timestamp.before.max.ms": "3600000"}, [State.WARNING]),
]


@pytest.mark.parametrize(("settings", "expected"), TOPIC_SETTINGS)
def test_settings_of_a_topic_for_posts(settings, expected):
    """What a broker does not tell is not blamed."""
    assert expected == states(topics._record_settings("posts", settings))


def partition(*, leader=1, replicas=(1, 2, 3), isr=(1, 2, 3)):
    return {"partition": 0, "leader": leader, "replicas": list(replicas), "isr": list(isr)}


def test_replicas_of_a_topic():
    """More replicas must be in sync than there are, or than are in sync now; no leader."""
    two = {"min.insync.replicas": "2"}

    assert [] == states(topics._in_sync("posts", two, [partition()]))
    (never,) = topics._in_sync("posts", two, [partition(replicas=[1], isr=[1])])
    (now,) = topics._in_sync("posts", two, [partition(isr=[1])])
    assert "--add-config min.insync.replicas=1" in never.cure
    assert "Start the brokers" in now.cure
    assert [State.WRONG] == states(topics._replicas("posts", [partition(leader=-1), partition()]))


def test_what_x_does_not_say_now_is_unknown(tmp_path):
    """After a 429 nobody knows the plan, and nobody is told that it fits."""
    with SimulatorThread(SimulatorSettings(rate_limits={"rules_get": 0})) as x:
        case = case_of(tmp_path, {**GOOD, "CONNECTOR_X_API_URL": x.url, "CONNECTOR_X_BEARER_TOKEN": x.settings.token})

        async def both():
            return await account.credentials(case), await account.plan(case)

        credentials, plan = asyncio.run(both())

    assert [State.OK] == states(credentials)
    assert State.UNKNOWN == plan[0].state
    assert State.OK not in states(plan[:-1])


def test_a_page_of_somebody_else(tmp_path):
    """A portal that answers in X's place is no X: the URL is named, and the proxy."""
    with ScriptedServer([answer(200, "<html>Log in</html>", {"Content-Type": "text/html"})] * 4) as server:
        environ = {**GOOD, "CONNECTOR_X_API_URL": server.url}
        (found,) = asyncio.run(account.credentials(case_of(tmp_path, environ)))

    assert (State.WRONG, True) == (found.state, "x.api.url" in found.cure)
