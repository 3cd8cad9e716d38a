// Elements made of values.  A text from outside becomes a text node or an attribute, never markup.

/** Properties that `h` sets as such; all others become attributes. */
const PROPERTIES = new Set(["checked", "disabled", "hidden", "indeterminate", "open", "selected"]);

/**
 * Make an element: `h("button", {class: "main", onclick: act, data: {kind: "gap"}}, "Stop ", h("bdi", {}, name))`.
 *
 * Attributes that are null, undefined or false are left out; children that are null are left out, too.
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else set(element, name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined).map(node));
  return element;
}

/** Set an attribute or property, if it has another value; null, undefined and false remove an attribute. */
export function set(element, name, value) {
  if (PROPERTIES.has(name)) {
    if (element[name] !== value) element[name] = value;
  } else if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** Let *element* show *text* and nothing else; an element that shows it already is not touched. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Replace the children of *element*; null children are left out. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined).map(node));
}

/**
 * Let *parent* have one child for each of *items*, in their order.
 *
 * A child is kept for as long as its key is: `make(item)` returns a new one, `show(child, item)` brings it up to date.
 * So the focus, an open list and the place of the pointer outlive each update.
 */
export function keyed(parent, items, key, make, show) {
  const kept = parent.keptChildren ?? new Map();
  const next = new Map();
  for (const item of items) {
    const name = key(item);
    if (!next.has(name)) next.set(name, [kept.get(name) ?? make(item), item]);
  }
  for (const [name, child] of kept) if (!next.has(name)) child.remove();
  let place = parent.firstChild;
  for (const [child, item] of next.values()) {
    show(child, item);
    if (child === place) place = place.nextSibling;
    else move(parent, child, place);
  }
  parent.keptChildren = new Map([...next].map(([name, [child]]) => [name, child]));
}

/** Put *child* before *place*; `moveBefore`, where a browser has it, keeps the focus that `insertBefore` loses. */
function move(parent, child, place) {
  if (child.parentNode === parent && parent.moveBefore) parent.moveBefore(child, place);
  else parent.insertBefore(child, place);
}

/** A text of unknown direction and length, whole in its title. */
export function name(text, className = "long") {
  return h("bdi", { class: className, dir: "auto", title: text }, text);
}

function node(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}
