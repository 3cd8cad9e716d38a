// What a person can do: each button asks once more, says what follows, and shows what the worker answers.

import { ask, connectorPath } from "./api.js";
import { closer, confirm, show, toast } from "./dialog.js";
import { h, name } from "./dom.js";
import { UNKNOWN, count, duration, interval, known, usd } from "./format.js";
import { edit } from "./editor.js";
import { compareRules } from "./plan.js";

const CHANGES = {
  pause: {
    title: "Pause",
    method: "PUT",
    path: "/pause",
    text: "It reads nothing until somebody resumes it. What X sends meanwhile is a gap, which is repaired after that if X still has it.",
  },
  resume: { title: "Resume", method: "PUT", path: "/resume", text: "It connects to X, and X charges for its posts again." },
  stop: {
    title: "Stop",
    method: "PUT",
    path: "/stop",
    danger: true,
    text: "Its tasks end, drained, until somebody resumes it. What X sends meanwhile is a gap.",
  },
  restart: {
    title: "Restart",
    method: "POST",
    path: "/restart?includeTasks=true",
    text: "The connector and its tasks begin anew: its connection to X is closed and opened again.",
  },
};
/** A task that pauses by itself says why: its budget or X's credit, which nobody can resume. */
const PAUSES_ITSELF = ["restart", "stop"];
const OFFERED = { RUNNING: ["pause", "stop", "restart"], PAUSED: ["resume", "stop"], STOPPED: ["resume"] };

export class Actions {
  /** Return the buttons that fit the state of a connector. */
  buttons(connector, of, { edit: editable = false } = {}) {
    const itself = of.state === "PAUSED" && of.detail;
    const offered = itself ? PAUSES_ITSELF : OFFERED[of.state] ?? ["restart", "pause", "stop"];
    const made = offered.map((key) => {
      const change = CHANGES[key];
      const label = `${change.title} ${connector}`;
      return h("button", { type: "button", class: change.danger ? "danger" : null, "aria-label": label, onclick: () => this.change(key, connector) }, change.title);
    });
    if (editable && of.stream === "filtered") {
      made.push(h("button", { type: "button", "aria-label": `Rules of ${connector}`, onclick: () => compareRules(connector) }, "Rules"));
    }
    if (editable) made.push(h("button", { type: "button", "aria-label": `Edit ${connector}`, onclick: () => edit(connector, toast) }, "Edit"));
    return made;
  }

  change(key, connector) {
    const change = CHANGES[key];
    confirm({
      title: [`${change.title} `, name(connector, ""), "?"],
      lines: [change.text],
      verb: change.title,
      danger: change.danger,
      act: () => ask(change.method, connectorPath(connector, change.path)),
      done: `${connector}: ${change.title.toLowerCase()} was asked for.`,
    });
  }

  /** Show a gap, with what can be done about it. */
  gap(gap) {
    const buttons = [
      gap.can_retry ? h("button", { type: "button", onclick: () => this.retry(gap) }, "Retry …") : null,
      gap.can_accept ? h("button", { type: "button", onclick: () => this.accept(gap) }, "Accept …") : null,
    ];
    show(["Gap of ", name(gap.connector, "")], gapLines(gap), [...buttons, closer("Close")]);
  }

  retry(gap) {
    const cost = known(gap.estimate_usd)
      ? `It may bring ${count(gap.estimate_posts)} posts and cost ${usd(gap.estimate_usd)}, by the rate before the gap.`
      : "What it will cost is not known: there is no rate from before the gap.";
    this.#order(gap, "retry", "Retry", [`X is asked for its posts again. ${cost}`]);
  }

  accept(gap) {
    this.#order(gap, "accept", "Accept", ["It is not repaired and not shown as missing any more. Its posts stay out of the topic. This cannot be undone."], true);
  }

  #order(gap, action, verb, lines, danger = false) {
    confirm({
      title: [`${verb} the gap of `, name(gap.connector, ""), "?"],
      lines: [...gapLines(gap).slice(0, 2), ...lines],
      verb,
      danger,
      act: () => ask("POST", "coverage", { connector: gap.connector, action, from: gap.from }),
      done: `The gap of ${gap.connector}: ${action} was asked for.`,
    });
  }
}

function gapLines(gap) {
  const cost = known(gap.estimate_usd) && !gap.posts ? `about ${usd(gap.estimate_usd)} for ${count(gap.estimate_posts)} posts` : `${usd(gap.cost_usd)} for ${count(gap.posts)} posts until now`;
  return [
    `${interval(gap.from, gap.to)} (${duration(gap.seconds)})`,
    `Reason: ${gap.reason || UNKNOWN}. State: ${gap.state}.`,
    gap.doing ?? "",
    `Cost: ${cost}.`,
  ].filter(Boolean);
}
