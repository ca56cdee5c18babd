import { accessKey, askForKey } from "./access.js";

const MAX_TRIES = 30;

/** Longest wait, in seconds, that a person is not asked about. */
const MAX_WAIT = 60;

/** A request that got no answer; `problem` is the service's own document about it. */
export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

const UNREACHABLE = {
  title: "No answer",
  code: "no_answer",
  detail: "The service ended the connection or cannot be reached; try again.",
};

const UNREADABLE = {
  title: "The file cannot be read",
  code: "unreadable_file",
  detail: "It is gone from its place or was changed since it was added; add it again.",
};

/** Get a JSON document of the service. */
export async function getJson(path) {
  const response = await send(path, {});
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** Ask for findings and maps; returns the answer and its text as received. */
export async function predict(file, signal, onBusy) {
  const response = await post("predict?maps=true", file, signal, onBusy);
  const text = await response.text();
  return { answer: JSON.parse(text), text };
}

/** Ask for the radiograph as the service decoded it; returns a PNG Blob. */
export async function fetchRadiograph(file, signal) {
  return (await post("radiograph", file, signal, () => {})).blob();
}

/** Post one file; a full service is asked again when it says so, `onBusy(status, seconds)` tells. */
async function post(path, file, signal, onBusy) {
  for (let attempt = 1; ; attempt += 1) {
    const body = new FormData();
    body.append("file", file, "image"); // a file's name may be a patient's: it stays here
    const response = await send(path, { method: "POST", body, signal }).catch(async (error) => {
      throw await isReadable(file) ? error : new Refusal(UNREADABLE);
    });
    if (response.ok) return response;
    const seconds = Number(response.headers.get("Retry-After"));
    const asksToWait = [429, 503].includes(response.status) && seconds > 0 && seconds <= MAX_WAIT;
    if (!asksToWait || attempt === MAX_TRIES) throw await refusal(response);
    for (let left = seconds; left > 0; left -= 1) {
      onBusy(response.status, left);
      await sleep(1000, signal);
    }
  }
}

/**
 * Whether a file can still be read: fetch fails alike for a file and for a service that is gone. One
 * that was gone before it was looked at has the size 0, and is found out by reading it whole.
 */
const isReadable = (file) => (
  (file.size ? file.slice(0, 1) : file).arrayBuffer().then(() => true, () => false));

/** Whether another key would help. */
export const needsKey = (problem) => problem.status === 401 || problem.code === "missing_scope";

/** Whether what was refused so would be refused of every file: no service, or no key for it. */
export const endsAll = (problem) => problem.code === UNREACHABLE.code || needsKey(problem);

/** Whether the same file may be answered later. */
export const mayRetry = (problem) => endsAll(problem) || [429, 503].includes(problem.status);

/** Send a request with the key; where that is not good enough, ask the person for one. */
async function send(path, options) {
  for (;;) {
    const used = accessKey();
    const response = await sendWith(used, path, options);
    if (![401, 403].includes(response.status)) return response;
    const refused = await refusal(response);
    if (!needsKey(refused.problem)) throw refused;
    if (accessKey() === used) await askForKey(refused); // else another request has asked meanwhile
    options.signal?.throwIfAborted();
  }
}

async function sendWith(used, path, options) {
  const headers = used === null ? {} : { Authorization: `Bearer ${used}` };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new Refusal(UNREACHABLE);
  }
}

async function refusal(response) {
  const problem = await response.json().catch(() => null);
  if (problem?.detail) return new Refusal(problem);
  const { status } = response;
  // Of a proxy: that it reaches no service, or what it makes of this one request.
  const what = [502, 503, 504].includes(status) ? UNREACHABLE
    : { title: "The file was turned away", code: `http_${status}` };
  return new Refusal({ ...what, detail: `A server before the service answered with status ${status}.` });
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
