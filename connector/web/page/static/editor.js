// Edits the configuration of a connector: a form of its class's declarations, validated as it is typed.

import { ask, connectorPath } from "./api.js";
import { closer, show } from "./dialog.js";
import { fill, h, keyed, name, say, set } from "./dom.js";

const TYPED_MS = 350;
const CLASS = "connector.class";
const FIXED = new Set(["name", CLASS]);

/** Open the editor of *connector*; *told* is called with a sentence once the change is made. */
export async function edit(connector, told) {
  const error = h("p", { class: "error", role: "alert" });
  show(["Configuration of ", name(connector, "")], [h("p", { class: "soft" }, "Asking the worker …"), error], [closer("Close")], { large: true });
  try {
    const before = (await ask("GET", connectorPath(connector))).config;
    new Editor(connector, before, told).open(await validated(before));
  } catch (refusal) {
    say(error, refusal.message);
  }
}

const validated = (config) => ask("PUT", `connector-plugins/${encodeURIComponent(config[CLASS])}/config/validate`, config);

class Editor {
  constructor(connector, before, told) {
    this.connector = connector;
    this.before = before;
    this.config = { ...before };
    this.told = told;
    this.all = false;
    this.words = "";
    this.asked = 0;
  }

  open(validation) {
    this.rows = h("div", {});
    this.status = h("p", { role: "status", class: "small" });
    this.error = h("p", { class: "error", role: "alert" });
    this.warnings = h("ul", { class: "small" });
    const search = h("input", { type: "search", id: "option-words", placeholder: "topic, budget …", oninput: ({ target }) => this.#seek(target.value) });
    const all = h("input", { type: "checkbox", id: "option-all", onchange: ({ target }) => this.#showAll(target.checked) });
    const tools = h("p", { class: "tools" }, h("label", { for: "option-words" }, "Find"), search, h("label", {}, all, "all options"));
    this.save = h("button", { type: "button", class: "main", onclick: () => this.#review() }, "Review");
    show(["Configuration of ", name(this.connector, "")], [tools, this.rows, this.warnings, this.status, this.error], [closer("Cancel"), this.save], { large: true });
    this.#show(validation);
    search.focus();
  }

  #seek(words) {
    this.words = words.trim().toLowerCase();
    this.#show(this.validation);
  }

  #showAll(all) {
    this.all = all;
    this.#show(this.validation);
  }

  #show(validation) {
    this.validation = validation;
    const options = validation.configs.filter((option) => this.#listed(option));
    keyed(this.rows, options, ({ definition }) => definition.name, (option) => this.#make(option), (row, option) => this.#mark(row, option));
    fill(this.warnings, validation.warnings.map((warning) => h("li", {}, warning)));
    const changes = this.#changes();
    const wrong = validation.error_count;
    const made = changes.length === 1 ? "1 change" : `${changes.length} changes`;
    say(this.status, wrong ? `${made}; ${wrong} ${wrong === 1 ? "option is" : "options are"} wrong.` : `${made}; the configuration is valid.`);
    this.save.disabled = wrong > 0 || changes.length === 0;
  }

  #listed({ definition, value }) {
    if (FIXED.has(definition.name)) return false;
    if (value.errors.length) return true;
    if (this.words) return `${definition.name} ${definition.documentation}`.toLowerCase().includes(this.words);
    return this.all || definition.name in this.config || definition.name in this.before || definition.required;
  }

  #make({ definition, value }) {
    const key = definition.name;
    const id = `option-${key}`;
    const typed = ({ target }) => this.#typed(key, target.value);
    const choices = definition.type === "BOOLEAN" ? ["true", "false"] : value.recommended_values;
    const standard = definition.default_value === null ? "not set" : `default: ${definition.default_value}`;
    const attributes = { id, oninput: typed, "aria-describedby": `${id}-doc ${id}-error`, dir: "auto" };
    let field;
    if (choices.length && definition.type !== "LIST" && choices.length <= 20) {
      const present = this.config[key];
      const offered = present === undefined || choices.includes(present) ? choices : [present, ...choices];
      field = h("select", attributes, h("option", { value: "" }, standard), offered.map((choice) => h("option", { value: choice }, choice)));
    } else {
      field = h("input", { ...attributes, type: "text", spellcheck: "false", autocomplete: "off", placeholder: standard });
    }
    field.value = this.config[key] ?? "";
    return h("div", { class: "option" }, h("label", { for: id }, key), field, h("p", { class: "error", id: `${id}-error` }), h("p", { class: "doc", id: `${id}-doc` }, definition.documentation));
  }

  #mark(row, { value }) {
    const [, field, error] = row.children;
    set(field, "aria-invalid", value.errors.length ? "true" : null);
    say(error, value.errors.join(" "));
    set(error, "hidden", !value.errors.length);
  }

  #typed(key, text) {
    if (text === "" && !(this.before[key] === "")) delete this.config[key];
    else this.config[key] = text;
    this.save.disabled = true;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#validate(), TYPED_MS);
  }

  async #validate() {
    const asked = ++this.asked;
    try {
      const validation = await validated(this.config);
      if (asked !== this.asked) return; // more was typed meanwhile
      say(this.error, "");
      this.#show(validation);
    } catch (refusal) {
      if (asked === this.asked) say(this.error, refusal.message);
    }
  }

  /** Return `[option, before, after]` of all that differs; null is an option that is not set. */
  #changes() {
    const keys = [...new Set([...Object.keys(this.before), ...Object.keys(this.config)])].sort();
    return keys.map((key) => [key, this.before[key] ?? null, this.config[key] ?? null]).filter(([, before, after]) => before !== after);
  }

  #review() {
    const rows = this.#changes().map(([key, before, after]) =>
      h("tr", {}, h("th", { scope: "row" }, key), h("td", { class: "wrap" }, before ?? "not set"), h("td", { class: "wrap" }, after ?? "not set")),
    );
    const heads = ["Option", "Now", "Then"].map((head) => h("th", { scope: "col" }, head));
    const table = h("table", {}, h("caption", {}, "The task begins anew with these options."), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
    const error = h("p", { class: "error", role: "alert" });
    const back = h("button", { type: "button", onclick: () => this.open(this.validation) }, "Back");
    const apply = h("button", { type: "button", class: "main", onclick: () => this.#apply(apply, error) }, "Apply");
    show(["Change ", name(this.connector, ""), "?"], [h("div", { class: "scroll" }, table), error], [back, apply], { large: true });
    apply.focus();
  }

  async #apply(button, error) {
    button.disabled = true;
    try {
      const changes = Object.fromEntries(this.#changes().map(([key, , after]) => [key, after]));
      await ask("PATCH", connectorPath(this.connector, "/config"), changes);
      document.getElementById("dialog").close();
      this.told(`${this.connector} has its new configuration.`);
    } catch (refusal) {
      say(error, refusal.message);
      button.disabled = false;
    }
  }
}
