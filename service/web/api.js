import { accessKey, askForKey } from "./access.js";

const MAX_TRIES = 30;

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

/** Post one file; a full service is asked again when it says so, `onBusy(seconds)` tells. */
async function post(path, file, signal, onBusy) {
  for (let attempt = 1; ; attempt += 1) {
    const body = new FormData();
    body.append("file", file, "image"); // a file's name may be a patient's: it stays here
    const response = await send(path, { method: "POST", body, signal });
    if (response.ok) return response;
    const seconds = Number(response.headers.get("Retry-After"));
    if (![429, 503].includes(response.status) || !seconds || attempt === MAX_TRIES) {
      throw await refusal(response);
    }
    onBusy(seconds);
    await sleep(seconds * 1000, signal);
  }
}

/** Whether another key would help. */
export function needsKey({ problem }) {
  return problem.status === 401 || problem.code === "missing_scope";
}

/** Whether what was refused so would be refused of every file: no service, or no key for it. */
export const endsAll = (problem) => problem.code === UNREACHABLE.code || needsKey({ problem });

/** Whether the same file may be answered later. */
export const mayRetry = (problem) => endsAll(problem) || [429, 503].includes(problem.status);

/** Send a request with the key; where that is not good enough, ask the person for one. */
async function send(path, options) {
  for (;;) {
    const used = accessKey();
    const response = await sendWith(used, path, options);
    if (![401, 403].includes(response.status)) return response;
    const refused = await refusal(response);
    if (!needsKey(refused)) throw refused;
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
  return new Refusal(problem?.detail ? problem : {
    ...UNREACHABLE, detail: `The service answered with status ${response.status}.`,
  });
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
