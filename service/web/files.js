import { announce, byId, el, percent, readable } from "./dom.js";

/** Keep the list of files and the progress true to the cases. */
export function connectFiles(cases) {
  const items = new Map();
  const said = new WeakMap();
  const refresh = (one) => {
    if (!cases.all.includes(one)) {
      items.get(one)?.item.remove();
      items.delete(one);
    } else {
      if (!items.has(one)) {
        items.set(one, makeItem(cases, one));
        byId("file-list").append(items.get(one).item);
      }
      fill(items.get(one), one);
    }
    showProgress(cases);
  };
  cases.addEventListener("change", ({ detail }) => {
    refresh(detail);
    const { state } = detail;
    if (["done", "refused"].includes(state) || (state === "busy" && said.get(detail) !== state)) tell(detail);
    said.set(detail, state);
  });
  cases.addEventListener("select", () => {
    if (cases.selected) tell(cases.selected);
    for (const [one, { button, item }] of items) {
      button.setAttribute("aria-current", one === cases.selected);
      if (one === cases.selected) reveal(item);
    }
  });
  byId("clear").addEventListener("click", () => {
    cases.clear();
    byId("add").focus();
  });
}

const tell = (one) => announce(`${one.name}: ${status(one)}`);

/** Scroll the list to an item, and never the page, where the radiograph may be in view. */
function reveal(item) {
  const list = item.parentElement;
  const bottom = item.offsetTop + item.offsetHeight;
  list.scrollTop = Math.max(Math.min(list.scrollTop, item.offsetTop), bottom - list.clientHeight);
}

function makeItem(cases, one) {
  const state = el("span", { class: "state" });
  const icon = el("span", { class: "icon", "aria-hidden": "true" });
  const button = el("button", {
    type: "button", class: "file", "aria-current": String(one === cases.selected),
    onclick: () => cases.select(one),
  }, icon, el("span", { class: "name", title: one.name }, one.name), state);
  const remove = el("button", {
    type: "button", class: "remove", "aria-label": `Remove ${one.name}`,
    onclick: () => {
      cases.remove(one);
      (byId("file-list").querySelector("[aria-current=true]") ?? byId("add")).focus();
    },
  }, "×");
  return { item: el("li", {}, button, remove), button, state, icon };
}

function fill({ item, state, icon }, one) {
  item.dataset.state = one.state;
  state.textContent = status(one);
  icon.textContent = { done: "✓", refused: "✕" }[one.state] ?? "";
}

function status(one) {
  if (one.state === "waiting") return "waiting";
  if (one.state === "sending") return "reading";
  if (one.state === "busy") {
    const why = one.status === 429 ? "the key is over its rate" : "the service is busy";
    return `${why}; again in ${one.seconds} s`;
  }
  if (one.state === "refused") return one.problem.detail;
  const positive = one.answer.findings.filter((entry) => entry.positive);
  if (!positive.length) return "no finding at its threshold";
  const [first] = positive.sort((a, b) => b.probability - a.probability);
  const more = positive.length > 1 ? ` and ${positive.length - 1} more` : "";
  return `${readable(first.finding)} ${percent(first.probability)}${more}`;
}

function showProgress(cases) {
  const { finished } = cases;
  const total = cases.all.length;
  byId("progress").hidden = total < 2;
  Object.assign(byId("progress-bar"), { max: total || 1, value: finished });
  byId("progress-text").textContent = `${finished} of ${total} finished`;
  byId("clear").disabled = total === 0;
  byId("save-csv").disabled = finished === 0;
}
