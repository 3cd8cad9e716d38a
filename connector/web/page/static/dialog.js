// The page's one dialog, and the line that says what became of a request.

import { fill, h, say } from "./dom.js";

const TOAST_MS = 6_000;

const dialog = document.getElementById("dialog");
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());

/** Open the dialog, with something else than it shows now if it is open. */
export function show(title, lines, buttons, { large = false } = {}) {
  dialog.classList.toggle("large", large);
  fill(dialog, h("h2", { id: "dialog-title" }, title), lines.map((line) => (line instanceof Node ? line : h("p", {}, line))), h("div", { class: "acts" }, buttons));
  if (!dialog.open) dialog.showModal();
}

/** A button that closes the dialog. */
export function closer(title) {
  return h("button", { type: "button", onclick: () => dialog.close() }, title);
}

/** Ask before *act* is called; what it throws is shown in the dialog, *done* in a line once it has ended. */
export function confirm({ title, lines, verb, danger, act, done }) {
  const error = h("p", { class: "error", role: "alert" });
  const button = h("button", { type: "button", class: danger ? "main danger" : "main" }, verb);
  button.addEventListener("click", async () => {
    button.disabled = true;
    say(button, "Asking …");
    try {
      await act();
      dialog.close();
      toast(done);
    } catch (refusal) {
      say(error, refusal.message);
      say(button, verb);
      button.disabled = false;
    }
  });
  show(title, [...lines, error], [closer("Cancel"), button]);
  button.focus();
}

let hiding;

/** Say *text* for some seconds. */
export function toast(text) {
  const place = document.getElementById("toast");
  say(place, text);
  clearTimeout(hiding);
  hiding = setTimeout(() => say(place, ""), TOAST_MS);
}
