import { byId, el, readable, table, terms } from "./dom.js";
import { GESTURES, KEYS } from "./gestures.js";
import { save } from "./save.js";

/** Let the dialog about keys and mouse be opened. */
export function showKeys() {
  dialog("keys", "Keys and mouse", el("h3", {}, "Keys, while the radiograph has the focus"),
    terms(KEYS), el("h3", {}, "Mouse and touch"), terms(GESTURES),
    el("h3", {}, "Findings"), terms([["↑ ↓", "previous, next finding"],
      ["Enter", "what it means, and its activation map"]]));
}

/** Show which model is served, also in its dialog, and what it is for. */
export function showModel(model) {
  byId("intent").textContent = model.intended_use;
  byId("open-model").textContent = `Model ${model.name} ${model.version}`;
  dialog("model", `Model ${model.name}, version ${model.version}`,
    el("p", { class: "lead" }, model.intended_use),
    modelFacts(model), el("h3", {}, "How well it tells each finding"), measures(model),
    el("p", { class: "foot" }, `AUROC with its 95 % interval, on the ${model.findings[0].split ?? "evaluation"} images.`),
    el("div", { class: "row-actions" }, el("button", {
      type: "button", id: "save-model",
      onclick: () => save("model.json", "application/json", JSON.stringify(model, null, 1)),
    }, "Save the whole description")));
}

/** What is known of a model, at least what an answer says of it, as a list of terms. */
export function modelFacts(model) {
  const data = model.training_data ?? {};
  const count = (number, what) => (number == null ? null : `${number.toLocaleString("en")} ${what}`);
  const counts = [count(data.images, "images"), count(data.patients, "patients")].filter(Boolean);
  const macro = model.macro_auroc?.test;
  return terms([
    ["Version", `${model.name} ${model.version}${model.date ? `, ${model.date}` : ""}`],
    ["Digest", model.digest],
    ["Answers in", model.precision],
    ["Trained on", [data.dataset, ...counts].filter(Boolean).join(", ")],
    ["Labels", data.label_version],
    ["Split", data.split],
    ["Calibration", model.calibration?.method],
    ["Mean AUROC", macro == null ? null : `${macro.toFixed(3)} on the test split`],
  ]);
}

function measures(model) {
  const number = (value, digits) => (value == null ? "–" : value.toFixed(digits));
  const rows = model.findings.map((facts) => el("tr", {},
    el("th", { scope: "row" }, readable(facts.name)),
    el("td", {}, number(facts.auroc, 3)),
    el("td", {}, facts.auroc_ci?.map((bound) => bound.toFixed(2)).join("–") ?? "–"),
    el("td", {}, facts.images ? `${facts.positives} / ${facts.images}` : "–"),
    el("td", {}, number(facts.threshold, 3))));
  const head = ["Finding", "AUROC", "95 % interval", "Positives", "Threshold"];
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "AUROC per finding" },
    table(head, rows));
}

function dialog(name, title, ...content) {
  const box = byId(`${name}-dialog`);
  const close = el("button", { type: "button", class: "quiet", onclick: () => box.close() }, "Close");
  box.replaceChildren(
    el("div", { class: "panel-head" }, el("h2", { id: `${name}-title` }, title), close), ...content);
  box.onclick = (event) => event.target === box && box.close();
  Object.assign(byId(`open-${name}`), { disabled: false, onclick: () => box.showModal() });
}
