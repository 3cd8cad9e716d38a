"""Synthetic snapshots in the form of `GET /history`, for states of the page that a real worker is in only by chance."""

import random
from datetime import UTC, datetime

STEPS = {"15m": (900, 60), "1h": (3600, 60), "6h": (21_600, 60), "24h": (86_400, 300), "7d": (604_800, 1800)}
"""Seconds of each range, and of each of its points."""

PRICE_USD = 0.005
HERE = "6f0c1a2b3c4d5e6f"


def iso(secs):
    return datetime.fromtimestamp(secs, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Story:
    """A snapshot in the making: calm at first, then with what a test adds to it; *now* in UNIX seconds."""

    def __init__(self, now, range_name="1h", seed=7):
        self.now, self.random = now, random.Random(seed)
        self.secs, self.step = STEPS[range_name]
        self.connectors, self.workers, self.rules, self.events, self.ranges = {}, {}, {}, [], {}
        self.verdict = {"level": "notice", "text": "There is no connector yet.", "since": None, "next": None}
        self.verdict |= {"cure": "Create one with POST /connectors.", "connector": None, "problems": 0, "others": []}
        self.range_name, self.per_point = range_name, 0
        self.worker(HERE, "127.0.0.1:8083", "here")

    def worker(self, process, worker_id, state, *, tasks=(), heard_secs_ago=2):
        self.workers[process] = {
            "worker_id": worker_id,
            "state": state,
            "version": "0.1.0",
            "started": iso(self.now - 7200),
            "heard": iso(self.now - heard_secs_ago),
            "tasks": list(tasks),
            "cpu_share": 0.021,
            "memory_bytes": 91_000_000,
        }
        return self

    def connector(self, name, *, state="RUNNING", per_second=4.1, **facts):
        posts_today = int(per_second * 30_000)
        spend = {
            "price_usd": PRICE_USD,
            "today_posts": posts_today,
            "today_usd": posts_today * PRICE_USD,
            "today_projected_posts": posts_today * 2,
            "today_projected_usd": posts_today * 2 * PRICE_USD,
            "month_usd": posts_today * PRICE_USD * 14,
            "month_projected_usd": posts_today * PRICE_USD * 31,
            "budget_posts_per_day": None,
            "budget_usd_per_month": None,
            "day_share": None,
            "month_share": None,
            "day_used_up_at": None,
            "month_used_up_at": None,
        }
        tasks = {} if state == "STOPPED" else {"0": self.task(state)}
        self.connectors[name] = {
            "state": state,
            "since": iso(self.now - 3000),
            "delivers_since": iso(self.now - 3000) if state == "RUNNING" else None,
            "detail": None,
            "trace": None,
            "stream": "filtered",
            "topic": name,
            "delivery": "exactly_once",
            "tasks": tasks,
            "connected": state == "RUNNING",
            "covered_from": iso(self.now - 8 * 86_400),
            "covered_to": iso(self.now - 15),
            "behind_secs": 15.0,
            "missing_secs": 0.0,
            "gaps_count": {"open": 0, "repairing": 0, "lost": 0},
            "gaps": [],
            "closed": [],
            "posts_total": posts_today * 40,
            "dead_letters_total": 0,
            "posts_per_sec": per_second if state == "RUNNING" else 0.0,
            "spend": spend | facts.pop("spend", {}),
        } | facts
        points = self.secs // self.step
        self.per_point += per_second * self.step
        self.ranges[name] = {
            "received": int(per_second * self.secs),
            "delivered": int(per_second * self.secs),
            "repaired": 0,
            "usd": per_second * self.secs * PRICE_USD,
            "dropped": {"duplicate": 80},
            "dead_letters": {},
            "spark": [per_second * self.step] * min(points, 60),
        }
        return self

    def task(self, state, process=HERE, worker_id="127.0.0.1:8083", **facts):
        task = {"state": state, "worker_id": worker_id, "process": process, "detail": None, "trace": None}
        return task | {"auto_restart": None, "connections": 1} | facts

    def gap(self, name, begin_secs_ago, seconds, state, reason, **facts):
        begin = self.now - begin_secs_ago
        gap = {
            "from": iso(begin),
            "to": iso(begin + seconds),
            "seconds": float(seconds),
            "reason": reason,
            "state": state,
            "partition": None,
            "way": None,
            "posts": 0,
            "cost_usd": 0.0,
        }
        connector = self.connectors[name]
        if state in {"repaired", "accepted"}:
            connector["closed"].append(gap | {"closed_at": iso(begin + seconds + 40)} | facts)
        else:
            posts = int(seconds * 4.1)
            gap |= {"goes_on": False, "doing": "", "can_retry": state == "lost", "can_accept": True}
            gap |= {"estimate_posts": posts, "estimate_usd": posts * PRICE_USD}
            connector["gaps"].append(gap | facts)
            connector["gaps_count"][state] += 1
            connector["missing_secs"] += seconds
        connector["gaps"].sort(key=lambda gap: gap["from"])
        connector["closed"].sort(key=lambda gap: gap["from"])
        return self

    def rule(self, name, label, value, share, **facts):
        posts = int(self.ranges[name]["received"] * share)
        self.rules[f"{name}/{label}"] = {
            "connector": name,
            "label": label,
            "value": value,
            "in_force": True,
            "posts": posts,
            "posts_per_sec": posts / self.secs,
            "share": share,
            "overlap": int(posts * 0.18),
            "overlap_share": 0.18,
            "usd": posts * PRICE_USD,
            "usd_alone": posts * 0.82 * PRICE_USD,
        } | facts
        return self

    def event(self, secs_ago, kind, level, text, **facts):
        event = {"id": str(5000 - len(self.events)), "at": iso(self.now - secs_ago), "kind": kind, "level": level}
        event |= {"connector": None, "task": None, "worker_id": "127.0.0.1:8083", "by": None, "text": text}
        self.events.append(event | {"fields": {}} | facts)
        return self

    def says(self, level, text, **facts):
        self.verdict |= {"level": level, "text": text, "next": None, "cure": None, "problems": 0, "others": []} | facts
        return self

    def document(self):
        """Return the snapshot."""
        spends = [each["spend"] for each in self.connectors.values()]
        totals = {
            key: sum(spend[key] for spend in spends)
            for key in ("today_posts", "today_usd", "today_projected_usd", "month_usd", "month_projected_usd")
        }
        budgets = [spend["budget_usd_per_month"] for spend in spends if spend["budget_usd_per_month"]]
        budget = sum(budgets) or None
        share = totals["month_usd"] / budget if budget else None
        wanted = [each for each in self.connectors.values() if each["state"] == "RUNNING"]
        state = {
            "worker": {"id": "127.0.0.1:8083", "process": HERE, "version": "0.1.0", "group": "connector"},
            "kafka": {"usable": True, "reason": None},
            "history": {"complete": True, "reason": None, "lost_minutes": 0, "left_out_events": 0},
            "verdict": self.verdict,
            "connectors": self.connectors,
            "spend": totals | {"budget_usd_per_month": budget, "month_share": share},
            "workers": self.workers,
            "members": len([each for each in self.workers.values() if each["state"] in {"here", "alive"}]),
            "connections": {"open": sum(each["connected"] for each in wanted), "tasks": len(wanted)},
            "posts_per_sec": sum(each["posts_per_sec"] for each in wanted) if self.connectors else None,
        }
        return {
            "id": f"{len(self.events)}.1.{HERE}.1",
            "at": iso(self.now),
            "state": state,
            "range": self._range(),
            "events": self.events,
        }

    def _range(self):
        start = self.now - self.secs
        times = [int(start - start % self.step) + self.step * at for at in range(1, self.secs // self.step)]
        received = [self._noisy(self.per_point) for _ in times]
        return {
            "name": self.range_name,
            "connector": None,
            "from": iso(start),
            "to": iso(self.now),
            "step_secs": self.step,
            "series": self._series(times, received) if self.connectors else _empty(),
            "connectors": self.ranges,
            "rules": self.rules,
            "rules_left_out": 0,
        }

    def _noisy(self, mean):
        return int(mean * self.random.uniform(0.75, 1.2))

    def _series(self, times, received):
        jitter = self.random.uniform
        return {
            "t": times,
            "received": received,
            "delivered": received,
            "repaired": [0] * len(times),
            "dropped": [0] * len(times),
            "usd": [posts * PRICE_USD for posts in received],
            "age_p50": [jitter(0.9, 1.3) for _ in times],
            "age_p99": [jitter(3, 5.5) for _ in times],
            "delivery_p50": [jitter(0.025, 0.03) for _ in times],
            "delivery_p99": [jitter(0.045, 0.06) for _ in times],
        }


def _empty():
    columns = (
        "received",
        "delivered",
        "repaired",
        "dropped",
        "usd",
        "age_p50",
        "age_p99",
        "delivery_p50",
        "delivery_p99",
    )
    return {"t": [], **{column: [] for column in columns}}


def calm(now, range_name="1h"):
    """One connector, at work for days; a gap was repaired."""
    story = Story(now, range_name).connector("posts", spend={"budget_usd_per_month": 12_000.0, "month_share": 0.717})
    story.gap("posts", 1500, 62, "repaired", "ConnectionLost", way="search", posts=250, cost_usd=1.25)
    story.rule("posts", "murmuration", "#murmuration", 0.62).rule("posts", "starlings", "starlings -is:retweet", 0.41)
    story.rule("posts", "old", '"evening flock" has:images', 0.03, in_force=False)
    story.event(1438, "gap.repaired", "info", "The gap of 62 s is repaired by search: 250 posts.", connector="posts")
    story.event(1499, "stream.connected", "info", "Connected to X after 1 try.", connector="posts")
    text = "The connection to X ended: ConnectionLost: reset by peer."
    story.event(1500, "stream.disconnected", "warning", text, connector="posts")
    story.event(2900, "connector.resumed", "info", "The connector was resumed.", connector="posts", by="ada")
    return story.says("ok", "All is well: 1 connector runs, and nothing is missing.", since=iso(now - 1438))


def troubled(now, range_name="1h"):
    """Five connectors on two workers, of which one is away: gaps of each state, and somebody has to act."""
    story = Story(now, range_name)
    story.worker("0a", "10.0.0.8:8083", "gone", tasks=["weather-0"], heard_secs_ago=96)
    budget = {"budget_usd_per_month": 9_000.0, "month_share": 0.93, "budget_posts_per_day": 200_000, "day_share": 0.86}
    story.connector("posts", spend=budget)
    story.connector("weather", state="UNASSIGNED", per_second=1.2, connected=False, behind_secs=96.0)
    story.connector("brand", state="FAILED", per_second=0.4, connected=False, detail=None, dead_letters_total=3)
    story.connector("archive", state="PAUSED", per_second=0.02)
    story.connector("football", per_second=11.0)
    story.gap("posts", 3100, 340, "lost", "budget", doing="Nothing: older than what X offers. Retry or accept it.")
    story.gap("posts", 1500, 62, "repaired", "ConnectionLost", way="search", posts=250, cost_usd=1.25)
    story.gap("posts", 700, 130, "repairing", "ServiceUnavailable", way="search", posts=210, cost_usd=1.05)
    story.gap("weather", 96, 96, "open", "not_running", goes_on=True, can_accept=False, doing="Its tasks move.")
    story.gap("brand", 900, 900, "open", "NotAuthorized", goes_on=True, can_accept=False, doing="Nobody listens.")
    story.gap("football", 2400, 25, "accepted", "paused")
    story.rule("football", "league", "(goal OR penalty) lang:en", 0.7).rule("football", "cup", "cup final", 0.4)
    story.rule("posts", "murmuration", "#murmuration", 0.9).rule("weather", "storm", "storm has:geo", 0.99)
    story.ranges["brand"]["dead_letters"] = {"BadRecord": 3}
    story.event(30, "gap.repair_started", "info", "The repair of a gap has begun, by search.", connector="posts")
    story.event(96, "worker.lost", "error", "The worker 10.0.0.8:8083 is not heard.", worker_id="10.0.0.8:8083")
    text = "The task FAILED: NotAuthorized: HTTP 401. Check x.bearer.token."
    story.event(900, "task.failed", "error", text, connector="brand")
    story.event(2000, "connector.paused", "info", "The connector was paused.", connector="archive", by="ada")
    others = [
        problem("error", "posts has lost a gap of 340 s.", "posts", now - 2760, cure="Retry it, or accept it."),
        problem("warning", "The worker 10.0.0.8:8083 is away.", None, now - 96, next="Its tasks move to this one."),
        problem("warning", "posts has spent 93 % of its budget.", "posts", now - 4000, next="It pauses then."),
        problem("notice", "archive is paused.", "archive", now - 2000, cure="Resume it."),
    ]
    cure = "Check x.bearer.token in its configuration, then restart it."
    facts = {"connector": "brand", "since": iso(now - 900), "cure": cure, "problems": 4, "others": others}
    return story.says("error", "brand FAILED: NotAuthorized: HTTP 401.", **facts)


def problem(level, text, connector, since, **facts):
    return {
        "level": level,
        "text": text,
        "connector": connector,
        "since": iso(since),
        "next": None,
        "cure": None,
    } | facts


MARKUP = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


def hostile(now):
    """Names, rules, reasons and events that would be markup, run from right to left, or are very long."""
    names = [MARKUP, "مراقبة-الأخبار-العاجلة", "a" * 249, "\u202ereversed\u202c", "  spaces  "]
    story = Story(now)
    story.worker("0b", MARKUP, "alive", tasks=[MARKUP])
    for name in names:
        story.connector(name, per_second=2.0, detail=MARKUP, topic=MARKUP + "t" * 200)
        story.gap(name, 600, 60, "lost", MARKUP, doing=MARKUP)
        story.rule(name, MARKUP, "القاعدة " * 60 + MARKUP, 0.5)
        story.event(60, MARKUP, "error", MARKUP + "w" * 400, connector=name, by=MARKUP, fields={"post_id": MARKUP})
    story.event(61, "record.dropped", "warning", "A post is a dead letter.", fields={"post_id": "1999999999999999999"})
    cure = "شغّله من جديد " * 20
    others = [problem("error", MARKUP, names[0], now), problem("error", "x" * 900, names[2], now)]
    return story.says("error", MARKUP + "v" * 300, cure=cure, connector=names[1], problems=3, others=others)


def crowded(now, range_name="7d"):
    """A week of 100 connectors with 200 gaps, 1,000 rules and 20 workers."""
    story = Story(now, range_name)
    for number in range(19):
        story.worker(f"w{number}", f"10.0.0.{number}:8083", "alive", tasks=[f"c{number:03}-0"])
    for number in range(100):
        story.connector(f"c{number:03}", per_second=0.5)
    for number in range(200):
        state = ("repaired", "open", "lost", "repairing", "accepted")[number % 5]
        story.gap(f"c{number % 37:03}", 600_000 - number * 2_900, 900, state, "ConnectionLost", doing="It waits.")
    for number in range(1000):
        story.rule(f"c{number % 100:03}", f"rule-{number}", f"#tag{number} lang:en", (number % 97) / 100)
    for number in range(500):
        story.event(number * 600, "stream.connected", "info", "Connected to X.", connector=f"c{number % 100:03}")
    return story.says("warning", "40 gaps wait for X.", since=iso(now - 600), problems=40)
