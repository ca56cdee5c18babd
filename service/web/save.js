import { announce } from "./dom.js";

/** The shell command that gets the answer of this case again; a key is named, never shown. */
export function curlOf(one, withKey) {
  const url = new URL("predict?maps=true", document.baseURI).href;
  const name = one.name.replace(/[\\"]/g, "\\$&"); // curl's own quoting inside -F
  const key = withKey ? '-H "Authorization: Bearer $KEY" ' : "";
  return `curl ${key}-F ${quote(`file=@"${name}"`)} ${quote(url)}`;
}

/** Put text on the clipboard; where the browser forbids it, say so. */
export async function copy(text, button) {
  button.dataset.label ??= button.textContent;
  clearTimeout(button.dataset.timer);
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
    announce("Copied");
  } catch {
    window.prompt("Copy this command:", text);
  }
  button.dataset.timer = setTimeout(() => { button.textContent = button.dataset.label; }, 1500);
}

/** Save text as a file. */
export function save(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A table of all cases, one line for each file (RFC 4180); the mark is for Excel. */
export function csvOf(cases, findings) {
  const head = ["file", "outcome", "detail", "format", "width", "height", "bits", "sha256",
    "model", "version", "digest", ...findings, ...findings.map((name) => `${name}_positive`),
    "disclaimer"];
  const lines = cases.map((one) => {
    const line = lineOf(one, findings);
    return [...line, ...Array(head.length - line.length).fill("")];
  });
  return `\uFEFF${[head, ...lines].map((line) => `${line.map(cell).join(",")}\r\n`).join("")}`;
}

function lineOf(one, findings) {
  if (one.problem) return [one.name, one.problem.code, one.problem.detail];
  if (!one.answer) return [one.name, "unfinished"];
  const { input, model, probabilities, findings: calls, disclaimer } = one.answer;
  const positive = new Map(calls.map((entry) => [entry.finding, entry.positive]));
  return [one.name, "answered", input.warnings.map((each) => each.detail).join(" "),
    input.format, input.width, input.height, input.bits, input.sha256,
    model.name, model.version, model.digest,
    ...findings.map((name) => probabilities[name]), ...findings.map((name) => positive.get(name)),
    disclaimer];
}

function cell(value) {
  if (typeof value !== "string") return String(value);
  // A spreadsheet runs text that starts so as a formula; the apostrophe makes it text.
  const safe = /^[\s]*[=+\-@＝＋－＠\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
