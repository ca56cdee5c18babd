/** Make an element: attributes by name, `on…` as listeners, children as nodes or plain text. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Find the element with this id. */
export const byId = (id) => document.getElementById(id);

/** Say something to screen readers without moving the focus. */
export function announce(text) {
  byId("live").textContent = text;
}

/** A list of terms and their descriptions from pairs; pairs without a value are left out. */
export function terms(pairs) {
  const known = pairs.filter(([, value]) => value != null && value !== "");
  return el("dl", { class: "terms" }, ...known.map(([term, value]) => (
    el("div", {}, el("dt", {}, term), el("dd", {}, value))
  )));
}

/** A table of rows made by `el("tr", ...)`, under a line of headings. */
export function table(head, rows) {
  return el("table", {},
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...rows));
}

/** Finding names as people write them. */
export const readable = (finding) => finding.replaceAll("_", " ");

/** Probability as percent with enough digits to tell small ones apart. */
export function percent(probability) {
  const value = probability * 100;
  return `${value.toFixed(value < 1 ? 2 : 1)} %`;
}
