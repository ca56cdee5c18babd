import { byId, el, percent, readable, terms } from "./dom.js";
import { MEANINGS } from "./meanings.js";

const TICKS = [0, 0.01, 0.1, 0.25, 0.5, 1];

/** Findings are rare, so a linear bar would show most of them, and their thresholds, as nothing. */
const along = (probability) => `${Math.sqrt(probability) * 100}%`;

/** The list of findings: bars, thresholds, calls, and on demand what each one is. */
export class Findings {
  #model;
  #answer = null;
  #rows = new Map();
  #order = "probability";

  /** `onChoose(name)` is called with the chosen finding, or null. */
  constructor(model, onChoose) {
    this.#model = model;
    this.onChoose = onChoose;
    this.chosen = null;
    for (const tick of TICKS) {
      byId("axis").append(at(el("span", {}, `${tick * 100}${tick === 1 ? " %" : ""}`), tick));
    }
    for (const { name } of model.findings) this.#rows.set(name, this.#row(name));
    for (const input of document.querySelectorAll("input[name=order]")) {
      input.addEventListener("change", () => {
        this.#order = input.value;
        this.#arrange();
      });
    }
    this.show(null, model);
  }

  /** Show the findings of an answer of /predict, or the bare list for null; `model` gave it. */
  show(answer, model, underWay = false) {
    this.#answer = answer;
    this.#model = model;
    const entries = answer?.findings ?? this.#model.findings.map(bare);
    for (const entry of entries) this.#fill(this.#rows.get(entry.finding), entry);
    this.#arrange();
    const positive = entries.filter((entry) => entry.positive).length;
    byId("summary").textContent = answer
      ? `${positive} of ${entries.length} at or above their threshold`
      : underWay ? "Waiting for the answer." : "Choose a finding to read what it means.";
  }

  /** Choose a finding by name, or null for none. */
  choose(name) {
    this.chosen = name;
    for (const [each, row] of this.#rows) {
      row.button.setAttribute("aria-expanded", each === name);
      row.detail.hidden = each !== name;
    }
    this.#rows.get(name)?.item.scrollIntoView({ block: "nearest" });
    this.onChoose(name);
  }

  #row(name) {
    const row = {
      call: el("span", { class: "call", "aria-hidden": "true" }),
      number: el("span", { class: "number" }),
      spoken: el("span", { class: "unseen" }),
      bar: el("span", { class: "bar-fill" }),
      mark: el("span", { class: "mark" }),
      detail: el("div", { class: "detail", id: `detail-${name}`, hidden: true }),
    };
    row.button = el("button", {
      type: "button", "aria-expanded": "false", "aria-controls": row.detail.id,
      onclick: () => this.choose(this.chosen === name ? null : name),
      onkeydown: (event) => moveFocus(event, row.item),
    }, row.call, el("span", { class: "name" }, readable(name)), row.number, row.spoken,
    el("span", { class: "bar", "aria-hidden": "true" }, row.bar, row.mark));
    row.item = el("li", { "data-finding": name }, row.button, row.detail);
    return row;
  }

  #fill(row, entry) {
    const answered = entry.probability != null;
    row.item.dataset.probability = answered ? entry.probability : "";
    row.item.classList.toggle("positive", Boolean(entry.positive));
    row.call.textContent = entry.positive ? "▲" : "";
    row.number.textContent = answered ? percent(entry.probability) : "";
    const side = entry.positive ? "at or above" : "below";
    row.spoken.textContent = answered ? `, ${side} its threshold of ${percent(entry.threshold)}` : "";
    row.bar.style.width = along(entry.probability ?? 0);
    at(row.mark, entry.threshold);
    const facts = this.#model.findings?.find(({ name }) => name === entry.finding);
    const parts = [el("p", {}, MEANINGS[entry.finding]), describe(entry, facts)];
    if (answered) parts.push(el("button", {
      type: "button", class: "show", onclick: showRadiograph,
    }, "See it on the radiograph"));
    row.detail.replaceChildren(...parts);
  }

  #arrange() {
    const rows = [...this.#rows.values()];
    if (this.#answer && this.#order === "probability") {
      rows.sort((one, other) => other.item.dataset.probability - one.item.dataset.probability);
    }
    const focused = document.activeElement;
    byId("finding-list").replaceChildren(...rows.map((row) => row.item));
    if (byId("finding-list").contains(focused)) focused.focus();
  }
}

/** On a narrow screen the radiograph may have been scrolled away. */
function showRadiograph() {
  byId("stage").scrollIntoView({ block: "center" });
  byId("canvas").focus({ preventScroll: true });
}

const bare = ({ name, threshold }) => ({ finding: name, threshold });

function at(element, probability) {
  element.style.left = along(probability);
  return element;
}

/** `facts` are those of the model that answered, where they are known. */
function describe(entry, facts) {
  const codes = entry.codes;
  const rule = [facts?.threshold_rule, facts?.threshold_source].filter(Boolean).join(", ");
  return terms([
    ["Probability", entry.probability != null ? `${entry.probability} (calibrated)` : null],
    ["Threshold", entry.threshold.toPrecision(3) + (rule && ` (${rule})`)],
    ["AUROC", facts && auroc(facts)],
    ["SNOMED CT", codes && (codes.snomed_ct ?? "none verified")],
    ["RadLex", codes && (codes.radlex ?? "none verified")],
  ]);
}

/** AUROC with its interval and on how many images it was measured. */
export function auroc(facts) {
  if (facts.auroc == null) return "not measured";
  const interval = facts.auroc_ci?.map((bound) => bound.toFixed(2)).join(" to ");
  const where = facts.images ? `; ${facts.positives} of ${facts.images} ${facts.split} images` : "";
  return facts.auroc.toFixed(2) + (interval ? ` (95 % interval ${interval}${where})` : "");
}

function moveFocus(event, item) {
  const next = { ArrowDown: item.nextElementSibling, ArrowUp: item.previousElementSibling }[event.key];
  if (!next) return;
  event.preventDefault();
  next.querySelector("button").focus();
}
