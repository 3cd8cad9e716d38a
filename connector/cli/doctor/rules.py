"""X: would it take the rules, what else does it hold, and what will the posts cost?"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from connector.cli.doctor.case import AtX, Case
from connector.cli.doctor.finding import Blocked, Finding, State, ok, told, unknown, warning, wrong
from connector.cli.rules.estimate import REACH_MS, period
from connector.config.connector import ConnectorConfig
from connector.coverage.price import mills_each
from connector.coverage.spend import MILLS
from connector.errors import InvalidRequest, NotAuthorized, OutOfCredit
from connector.sources.archive.counts import REQUEST_MILLS, Counting, Patience
from connector.sources.archive.estimates import MONTH_DAYS, Bounds, Estimate, Questions, RuleEstimate, ask, questions
from connector.sources.archive.queries import QUERY_CHARACTERS
from connector.sources.rest.account import Account
from connector.sources.rest.api import Api
from connector.sources.rest.rules import Rule, RuleChange

EACH_MAX = 20
"""Up to so many rules are counted one by one, too; each costs a request."""

SHOWN_MAX = 5
"""The most rules, or owners of rules, that a sentence names."""

NONE_CAME = "Check the spelling of the rules, and whether they exclude each other."
WATCH = "Watch the spend of the first hours."


# -- rules


async def rules(case: Case) -> list[Finding]:
    """Does X take the rules, and does it hold others?"""
    found: list[Finding] = []
    for each in case.x(rules=True):
        await each.answers()
        found += await _rules_of(each)
    return found or [ok("No connector reads a stream with rules.")]


async def _rules_of(each: AtX) -> list[Finding]:
    change = await each.change()
    found = [*_elsewhere(change), *_foreign(await each.held(), each.config)]
    try:
        refused = await each.tried()
    except (NotAuthorized, OutOfCredit) as error:
        raise Blocked("plan", str(error)) from error
    except InvalidRequest as error:
        return [told(State.WRONG, str(error)), *found]
    options = "hashtags, rules or rules.file"
    problems = [
        wrong(f"X refuses the rule {one.words.rstrip('.')}.", f"Correct it in {options} of {each.config.name}.")
        for one in refused
    ]
    counts = await each.ask(lambda api: Account(api).rule_counts())
    room = None if counts is None else counts.room
    if room is not None and len(change.add) > room + len(change.delete):
        problems.append(
            wrong(
                f"{each.config.name} would add {len(change.add):,} rules, and X has room for {room:,}.",
                "Have fewer rules, or delete those of others at X.",
            )
        )
    if not problems:
        wanted, new = len(each.config.rules), len(change.add)
        held = f"{wanted - new:,} of {wanted:,} are there already"
        found.insert(0, ok(f"X takes each rule of {each.config.name} ({held})."))
    return [*problems, *found]


def _elsewhere(change: RuleChange) -> Iterator[Finding]:
    if change.held_elsewhere:
        yield warning(
            f"X holds {_some(change.held_elsewhere)} for another program, under its tag: if that program deletes a"
            " rule, its posts are missing.",
            "Have one program alone manage such a rule.",
        )


def _foreign(held: Sequence[Rule], config: ConnectorConfig) -> Iterator[Finding]:
    wanted = {rule.value for rule in config.rules}
    others = [rule for rule in held if not rule.tag.startswith(f"{config.name}/") and rule.value not in wanted]
    if others:
        owners = Counter(rule.tag.partition("/")[0] if "/" in rule.tag else "others" for rule in others)
        listed = ", ".join(f"{count} of {owner}" for owner, count in owners.most_common(SHOWN_MAX))
        yield warning(
            f"Beside the rules of {config.name} X holds {len(others):,} for this app ({listed}): their posts come over"
            " the same connection, and cost as much.",
            "Delete at X those that nobody needs; those of connectors of this group are meant.",
        )


def _some(values: Sequence[str]) -> str:
    more = f" and {len(values) - SHOWN_MAX} more" if len(values) > SHOWN_MAX else ""
    return f"{', '.join(values[:SHOWN_MAX])}{more}"


# -- cost


def asked_of(config: ConnectorConfig) -> Questions:
    """Return what X has to count: all rules together, and each rule alone if there are a few."""
    asked = questions(config.rules, QUERY_CHARACTERS[config.plan])
    return asked if len(config.rules) <= EACH_MAX else replace(asked, rules=())


def requests_of(case: Case) -> int:
    """Return how many requests the check `cost` takes; X charges for each."""
    return sum(len(asked_of(config).queries) for config in case.connectors)


def price_of(requests: int) -> str:
    """Return what *requests* of counts cost."""
    return f"{requests} request{'' if requests == 1 else 's'} of counts, ${requests * REQUEST_MILLS / MILLS:.3f}"


async def cost(case: Case) -> list[Finding]:
    """How many posts a day do the rules bring, and what do they cost?"""
    found: list[Finding] = []
    for each in case.x(rules=True):
        await each.answers()
        if not case.may_spend:
            price = price_of(requests_of(case))
            return [unknown(f"X charges for its counts: {price}.", "Say --yes if it may cost that.")]
        found += await _cost_of(case, each)
    return found or [ok("No connector reads a stream with rules, whose posts X could count.")]


async def _cost_of(case: Case, each: AtX) -> list[Finding]:
    config = each.config
    found = await each.ask(partial(_count, config=config, now_ms=case.now_ms))
    words, facts = _costs(found, found.together)
    missed = f" The stream also delivers {' and '.join(found.misses)}, which X does not count." if found.misses else ""
    words = f"{config.name}: {words}, by the last week.{missed}"
    total = ok(words, **facts) if found.together.high else warning(words, NONE_CAME, **facts)
    return [
        total,
        *(_of_rule(found, one) for one in found.rules if len(found.rules) > 1),
        *(
            warning(f"X does not count {left.rule.value} ({left.reason}): its posts come on top.", WATCH)
            for left in found.left_out
        ),
        *_over_budget(config, found),
    ]


def _count(api: Api, *, config: ConnectorConfig, now_ms: int) -> Estimate:
    from_ms, to_ms = period(now_ms, REACH_MS)
    counting = Counting(api, Patience(lambda _: None))
    return ask(counting, asked_of(config), from_ms=from_ms, to_ms=to_ms, mills_each=mills_each(config))


def _of_rule(found: Estimate, one: RuleEstimate) -> Finding:
    words, facts = _costs(found, one.posts)
    return ok(f"{one.rule.value}: {words}.", rule=one.rule.value, **facts)


def _costs(found: Estimate, posts: Bounds) -> tuple[str, dict[str, object]]:
    """Return the posts a day and their price as words and as facts; at most, if X's counts leave bounds."""
    per_day, most = found.posts_a_day(posts.high), "" if posts.are_exact else "at most "
    facts: dict[str, object] = {"posts_per_day": round(per_day, 1)}
    if not found.mills_each:
        return f"{most}{per_day:,.0f} posts a day", facts
    day, month = found.usd_a_day(posts.high), found.usd_a_month(posts.high)
    facts |= {"usd_per_day": round(day, 2), "usd_per_month": round(month, 2)}
    return f"{most}{per_day:,.0f} posts a day, ${day:,.2f} a day, ${month:,.2f} a month", facts


def _over_budget(config: ConnectorConfig, found: Estimate) -> Iterator[Finding]:
    cure = "Narrow the rules, or raise the budget: what comes while a connector is paused is a gap."
    posts, dollars = config.budget_posts_per_day, config.budget_usd_per_month
    per_day, usd = found.posts_a_day(found.together.high), found.usd_a_month(found.together.high)
    if posts is not None and per_day > posts:
        yield wrong(
            f"budget.posts.per.day of {config.name} is {posts:,}, and {per_day:,.0f} posts come: it is used up after"
            f" {24 * posts / per_day:,.1f} hours of each day.",
            cure,
        )
    if dollars is not None and usd > dollars:
        yield wrong(
            f"budget.usd.per.month of {config.name} is ${dollars:,.2f}, and posts for ${usd:,.2f} come: it is used up"
            f" after {MONTH_DAYS * dollars / usd:,.1f} days.",
            cure,
        )
