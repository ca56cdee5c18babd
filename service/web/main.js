import { showKeys, showModel } from "./about.js";
import { accessKey, connectKeyChange } from "./access.js";
import { getJson, mayRetry, needsKey } from "./api.js";
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
  let served = model;
  const models = new Map([[model.digest, model]]);
  const modelOf = (answer) => (answer ? models.get(answer.model.digest) : served);
  const cases = new Cases();
  const viewer = new Viewer(byId("canvas"));
  const findings = new Findings(model, () => showMap());
  let loading = new AbortController();
  const tool = connectTools(viewer);
  connectGestures(viewer, { tool, step: (by) => cases.step(by) });
  showKeys();
  showModel(model);
  connectFiles(cases);
  connectReport(viewer, () => (
    { one: cases.selected, finding: findings.chosen, model: modelOf(cases.selected?.answer) }));
  connectSaving(cases, model);
  takeFiles((files) => cases.add(files));
  paintLegend(byId("legend-bar"), colours);
  cases.addEventListener("select", () => showCase());
  cases.addEventListener("change", ({ detail }) => {
    if (detail.answer) meet(detail.answer.model);
    if (detail === cases.selected) showAnswer();
  });
  viewer.addEventListener("change", () => {
    byId("legend").hidden = !(viewer.map && viewer.mapShown);
  });
  window.addEventListener("beforeunload", (event) => {
    if (cases.finished < cases.all.length) event.preventDefault(); // the browser asks first
  });
  document.documentElement.dataset.ready = "";

  /** A version taken up since the page was loaded is known by its answer alone at first. */
  async function meet(answering) {
    if (models.has(answering.digest)) return;
    models.set(answering.digest, answering);
    served = await getJson("model").catch(() => served);
    models.set(served.digest, served);
    showModel(served);
    showAnswer();
  }

  async function showCase() {
    const one = cases.selected;
    viewer.show(null);
    byId("loading").hidden = true;
    byId("main").toggleAttribute("data-empty", !one);
    byId("welcome").hidden = Boolean(one);
    byId("canvas").setAttribute("aria-label", one ? `Radiograph ${one.name}` : "No radiograph yet");
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
      if (signal.aborted) return;
      byId("loading").replaceChildren(`${error.message} `,
        ...(mayRetry(error.problem ?? {}) ? [tryAgain(() => {
          byId("canvas").focus();
          showCase();
        })] : []));
    }
  }

  function showAnswer() {
    const one = cases.selected;
    findings.show(one?.answer ?? null, modelOf(one?.answer), isUnderWay(one));
    showFacts(one);
    showRefusal(one?.problem, () => {
      byId("canvas").focus();
      cases.retry();
      showCase();
    });
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

const isUnderWay = (one) => Boolean(one && !one.answer && !one.problem);

/** A logit with its sign, which is what says whether it speaks for the finding. */
function signed(value) {
  const digits = Math.abs(value).toFixed(1);
  if (digits === "0.0") return digits;
  return (value < 0 ? "−" : "+") + digits;
}

function connectSaving(cases, model) {
  const names = model.findings.map((facts) => facts.name);
  const stem = () => cases.selected.file.name.replace(/\.(png|jpe?g|dcm|dicom)$/i, "");
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

const tryAgain = (onclick) => el("button", { type: "button", onclick }, "Try again");

function showRefusal(problem, retry) {
  byId("refusal").hidden = !problem;
  byId("tools").inert = Boolean(problem);
  byId("refusal").replaceChildren(...(problem ? [
    el("p", { class: "refusal-title" }, `✕ ${problem.title}`), el("p", {}, problem.detail),
    el("p", { class: "code" }, problem.request_id ? `${problem.code}, request ${problem.request_id}` : problem.code),
    mayRetry(problem) ? tryAgain(retry) : "",
  ] : []));
}

/** Ask what is served and start; without an answer say why, and let it be tried again. */
async function begin() {
  const welcome = [...byId("welcome").childNodes];
  try {
    start(...await Promise.all([getJson("model"), getJson("web/colours.json")]));
  } catch (error) {
    const locked = error.problem && needsKey(error.problem);
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

connectKeyChange();
// Whether or not the page is ready, or the browser would leave it and open the file.
for (const type of ["dragover", "drop"]) {
  document.addEventListener(type, (event) => event.preventDefault());
}
begin();
