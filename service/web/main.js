import { connectAbout } from "./about.js";
import { accessKey } from "./access.js";
import { getJson, needsKey } from "./api.js";
import { Cases } from "./cases.js";
import { announce, byId, el, readable } from "./dom.js";
import { connectFiles } from "./files.js";
import { Findings } from "./findings.js";
import { connectGestures } from "./gestures.js";
import { takeFiles } from "./intake.js";
import { paintLegend, paintMap, range } from "./overlay.js";
import { loadPicture } from "./picture.js";
import { connectReport } from "./report.js";
import { copy, csvOf, curlOf, save } from "./save.js";
import { connectTools } from "./tools.js";
import { Viewer } from "./viewer.js";

/** Put the parts together once model and colours are known. */
function start(model, colours) {
  const cases = new Cases();
  const viewer = new Viewer(byId("canvas"));
  const findings = new Findings(model, () => showMap());
  let loading = new AbortController();
  const tool = connectTools(viewer);
  connectGestures(viewer, { tool, step: (by) => cases.step(by) });
  connectAbout(model);
  connectFiles(cases);
  connectReport(model, viewer, () => ({ one: cases.selected, finding: findings.chosen }));
  connectSaving(cases, model);
  takeFiles((files) => cases.add(files));
  paintLegend(byId("legend-bar"), colours);
  cases.addEventListener("select", () => showCase());
  cases.addEventListener("change", ({ detail }) => detail === cases.selected && showAnswer());
  viewer.addEventListener("change", () => {
    byId("legend").hidden = !(viewer.map && viewer.mapShown);
  });
  document.documentElement.dataset.ready = "";

  async function showCase() {
    const one = cases.selected;
    viewer.show(null);
    byId("loading").hidden = true;
    byId("main").toggleAttribute("data-empty", !one);
    byId("welcome").hidden = Boolean(one);
    byId("canvas").setAttribute("aria-label", one ? `Radiograph ${one.file.name}` : "No radiograph yet");
    showAnswer();
    loading.abort();
    loading = new AbortController();
    if (one) await loadFor(one, loading.signal);
  }

  async function loadFor(one, signal) {
    byId("loading").hidden = false;
    byId("loading").textContent = "Reading the file";
    try {
      const picture = await loadPicture(one.file, signal);
      if (signal.aborted) return;
      viewer.show(picture);
      byId("loading").hidden = true;
      showMap();
      refreshActions();
    } catch (error) {
      // A file that cannot be read is refused by /predict as well, and that covers this line.
      if (!signal.aborted) byId("loading").textContent = error.message;
    }
  }

  function showAnswer() {
    const one = cases.selected;
    findings.show(one?.answer ?? null);
    showFacts(one);
    showRefusal(one?.problem);
    showMap();
    refreshActions();
  }

  function showMap() {
    const rows = findings.chosen && cases.selected?.answer?.activation_maps?.[findings.chosen];
    const shown = rows && viewer.hasPicture;
    viewer.setMap(shown ? paintMap(rows, colours) : null);
    if (!shown) return;
    byId("legend-title").textContent = `Where the network looked: ${readable(findings.chosen)}`;
    const [low, high] = range(rows).map((value) => signed(value));
    byId("legend-range").textContent = `logits ${low} to ${high}`;
    byId("legend-caution").hidden = cases.selected.answer.findings
      .some((entry) => entry.finding === findings.chosen && entry.positive);
  }

  function refreshActions() {
    const answered = Boolean(cases.selected?.answer);
    for (const id of ["copy-curl", "save-json"]) byId(id).disabled = !answered;
    byId("print").disabled = !(answered && viewer.hasPicture);
  }
}

/** A logit with its sign, which is what says whether it speaks for the finding. */
function signed(value) {
  const digits = Math.abs(value).toFixed(1);
  if (digits === "0.0") return digits;
  return (value < 0 ? "−" : "+") + digits;
}

function connectSaving(cases, model) {
  const names = model.findings.map((facts) => facts.name);
  const stem = () => cases.selected.file.name.replace(/\.[^.]*$/, "") || "answer";
  byId("copy-curl").addEventListener("click", () => (
    copy(curlOf(cases.selected, accessKey() !== null), byId("copy-curl"))));
  byId("save-json").addEventListener("click", () => (
    save(`${stem()}.json`, "application/json", cases.selected.text)));
  byId("save-csv").addEventListener("click", () => (
    save("findings.csv", "text/csv", csvOf(cases.all, names))));
}

function showFacts(one) {
  const input = one?.answer?.input;
  byId("facts").hidden = !input;
  if (!input) return;
  byId("facts").replaceChildren(
    el("p", {}, `${input.format} ${input.width} × ${input.height}, ${input.bits} bit`),
    ...input.warnings.map((each) => el("p", { class: "caution" }, `⚠ ${each.detail}`)));
}

function showRefusal(problem) {
  byId("refusal").hidden = !problem;
  byId("refusal").replaceChildren(...(problem ? [
    el("p", { class: "refusal-title" }, `✕ ${problem.title}`), el("p", {}, problem.detail),
    el("p", { class: "code" }, problem.request_id ? `${problem.code}, request ${problem.request_id}` : problem.code),
  ] : []));
}

/** Ask what is served and start; without an answer say why, and let it be tried again. */
async function begin() {
  const welcome = [...byId("welcome").childNodes];
  try {
    start(...await Promise.all([getJson("model"), getJson("web/colours.json")]));
  } catch (error) {
    const locked = error.problem && needsKey(error);
    const refused = error.problem?.status ? error.problem.title : "The service cannot be reached";
    const title = locked ? "A key is needed" : refused;
    const again = () => {
      byId("welcome").replaceChildren(...welcome);
      begin();
    };
    announce(title);
    byId("welcome").replaceChildren(el("p", { class: "welcome-title" }, title),
      el("p", {}, locked ? "Whoever runs this service gives out keys." : error.message),
      el("button", { type: "button", class: "primary", onclick: again },
        locked ? "Enter a key" : "Try again"));
  }
}

begin();
