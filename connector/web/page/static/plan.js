// The rules at X beside those that a connector wants, as a difference; the worker that runs its task applies it.

import { ask } from "./api.js";
import { closer, confirm, show } from "./dialog.js";
import { h, name } from "./dom.js";
import { count, time } from "./format.js";

const LOOK_MS = 3_000; // after an apply an answer of X is told again for two seconds
const LOOKS = 6;

const KINDS = [
  { key: "add", sign: "+", word: "added" },
  { key: "delete", sign: "−", word: "deleted" },
  { key: "kept", sign: "=", word: "kept, as another connector has the same rule" },
  { key: "held_elsewhere", sign: "!", word: "at X under a tag of others: their posts come, and are missing if others delete them" },
];

/** Ask X for its rules, and show what would change for *connector*. */
export async function compareRules(connector) {
  const title = ["Rules of ", name(connector, ""), " at X"];
  show(title, ["X is asked for its rules …"], [closer("Cancel")]);
  const dialog = document.getElementById("dialog");
  const heading = document.getElementById("dialog-title");
  const waits = () => dialog.open && dialog.contains(heading); // nobody has closed it, or opened another one
  let plan;
  try {
    plan = await look(connector);
  } catch (refusal) {
    if (waits()) show(title, [h("p", { class: "error", role: "alert" }, refusal.message)], [closer("Close")]);
    return;
  }
  if (!waits()) return;
  const lines = planLines(plan);
  if (plan.objection || !changes(plan)) {
    show(title, lines, [closer("Close")]);
    return;
  }
  confirm({
    title: [...title, ": apply?"],
    lines: [...lines, "The worker that runs its task makes X hold these rules, and X charges for the posts that they bring. No other rule is touched."],
    verb: "Apply",
    act: () => apply(connector),
    done: `X holds the rules of ${connector}: ${count(plan.counts.add)} added, ${count(plan.counts.delete)} deleted.`,
  });
}

function look(connector) {
  return ask("GET", `rules?connector=${encodeURIComponent(connector)}`);
}

function changes(plan) {
  return plan.counts.add + plan.counts.delete > 0;
}

/** Ask the owner of the task, then X until it holds the rules. */
async function apply(connector) {
  await ask("POST", "rules", { connector, action: "apply" });
  for (let tries = 0; tries < LOOKS; tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    if (!changes(await look(connector))) return;
  }
  throw new Error("The worker was asked, and X does not hold the rules yet. What happened, below, says why.");
}

function planLines(plan) {
  const lines = plan.objection ? [h("p", { class: "objection" }, plan.objection)] : [];
  if (!plan.objection && !changes(plan)) lines.push("X holds the rules that the connector wants: nothing has to be changed.");
  for (const { key, sign, word } of KINDS) {
    const all = plan.counts[key];
    if (!all) continue;
    const rules = plan[key].map((rule) => ruleLine(sign, rule));
    const more = all - rules.length;
    lines.push(h("p", {}, `${count(all)} ${word}:`), h("ul", { class: "plan", data: { kind: key } }, rules, more ? h("li", {}, `and ${count(more)} more`) : null));
  }
  lines.push(`${count(plan.counts.unchanged)} stay as they are. ${count(plan.counts.others)} at X are not of this connector, and are not touched.`);
  lines.push(`As X told it at ${time(plan.told_at)}.`);
  return lines;
}

function ruleLine(sign, rule) {
  const { value, tag } = typeof rule === "string" ? { value: rule, tag: "" } : rule;
  const by = rule.wanted_by ? [" (", name(rule.wanted_by, ""), ")"] : [];
  return h("li", {}, h("span", { "aria-hidden": "true" }, `${sign} `), h("bdi", { class: "mono", dir: "auto" }, value), " ", h("bdi", { class: "soft small", dir: "auto" }, tag), by);
}
