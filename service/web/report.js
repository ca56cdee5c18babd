import { modelFacts } from "./about.js";
import { byId, el, percent, readable, table, terms } from "./dom.js";

/** Fill the report whenever the page is printed; `current()` is the case in view, and its model. */
export function connectReport(viewer, current) {
  const report = byId("report");
  window.addEventListener("beforeprint", () => {
    const { one, finding, model } = current();
    report.replaceChildren(...(one?.answer && viewer.hasPicture
      ? content(model, viewer, one, finding)
      : [el("p", {}, "There is no answered radiograph to print.")]));
    report.hidden = false;
  });
  window.addEventListener("afterprint", () => {
    report.hidden = true;
    report.replaceChildren();
  });
  byId("print").addEventListener("click", () => window.print());
}

function content(model, viewer, { answer, name }, finding) {
  const { input } = answer;
  const mapped = finding && viewer.map;
  return [
    el("header", {}, el("h1", {}, "X-Pro: findings of a chest radiograph"),
      el("p", { class: "warning" }, "Not for diagnosis. ", answer.disclaimer)),
    terms([
      ["File", name],
      ["Image", `${input.format}, ${input.width} × ${input.height} pixels, ${input.bits} bits`],
      ["SHA-256", input.sha256],
      ["Request", answer.request_id],
      ["Printed", new Date().toISOString().replace("T", " ").slice(0, 16).concat(" UTC")],
      ["Notes", input.warnings.map((each) => each.detail).join(" ")],
    ]),
    el("div", { class: "images" },
      figure(viewer.snapshot(false), "Radiograph, as windowed on screen"),
      mapped ? figure(viewer.snapshot(true), `Activation map of ${readable(finding)}: where, not how much`) : null),
    findings(answer),
    el("h2", {}, "Model"), modelFacts(model),
  ];
}

function figure(canvas, caption) {
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", caption);
  return el("figure", {}, canvas, el("figcaption", {}, caption));
}

function findings(answer) {
  const rows = answer.findings.map((entry) => el("tr", { class: entry.positive ? "positive" : null },
    el("th", { scope: "row" }, readable(entry.finding)),
    el("td", {}, percent(entry.probability)), el("td", {}, percent(entry.threshold)),
    el("td", {}, entry.positive ? "▲ at or above" : "below"),
    el("td", {}, entry.codes.snomed_ct ?? "–"), el("td", {}, entry.codes.radlex ?? "–")));
  const head = ["Finding", "Probability", "Threshold", "Call", "SNOMED CT", "RadLex"];
  return table(head, rows);
}
