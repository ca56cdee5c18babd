import { endsAll, mayRetry, predict, Refusal } from "./api.js";

/** Files under way at once: enough to keep a small service busy, too few to fill its line. */
const LANES = 2;

/** The files of this session and what became of them; fires "change" with the case it is about. */
export class Cases extends EventTarget {
  #waiting = [];
  #running = 0;

  constructor() {
    super();
    this.all = [];
    this.selected = null;
  }

  /** Add {file, name} of each and show the first of them; they are sent in their order. */
  add(files) {
    const added = files.map((each) => ({ ...each, state: "waiting", abort: new AbortController() }));
    for (const one of added) {
      this.all.push(one);
      this.#waiting.push(one);
      this.#changed(one);
    }
    if (added.length) this.select(added[0]);
    this.#pump();
  }

  /** Show one case. */
  select(one) {
    this.selected = one;
    this.dispatchEvent(new CustomEvent("select", { detail: one }));
  }

  /** Show the case `step` places further down the list. */
  step(step) {
    const next = this.all[this.all.indexOf(this.selected) + step];
    if (next) this.select(next);
  }

  /** Forget a case, and stop its request. */
  remove(one) {
    const place = this.all.indexOf(one);
    one.abort.abort();
    this.all.splice(place, 1);
    this.#waiting = this.#waiting.filter((each) => each !== one);
    this.#changed(one);
    if (this.selected === one) this.select(this.all[place] ?? this.all[place - 1] ?? null);
  }

  /** Forget all cases. */
  clear() {
    for (const one of [...this.all].reverse()) this.remove(one);
  }

  /** Send again what was refused and may be answered now. */
  retry() {
    for (const one of this.all.filter((each) => each.problem && mayRetry(each.problem))) {
      this.#waiting.push(one);
      this.#changed(one, { state: "waiting", problem: null, abort: new AbortController() });
    }
    this.#pump();
  }

  /** How many cases are finished, answered or refused. */
  get finished() {
    return this.all.filter((one) => one.state === "done" || one.state === "refused").length;
  }

  #pump() {
    while (this.#running < LANES && this.#waiting.length) this.#run(this.#waiting.shift());
  }

  async #run(one) {
    this.#running += 1;
    this.#changed(one, { state: "sending" });
    try {
      const onBusy = (status, seconds) => this.#changed(one, { state: "busy", status, seconds });
      const { answer, text } = await predict(one.file, one.abort.signal, onBusy);
      this.#changed(one, { state: "done", answer, text });
    } catch (error) {
      if (!one.abort.signal.aborted) {
        const problem = error instanceof Refusal ? error.problem
          : { title: "The answer cannot be read", code: "unreadable", detail: String(error) };
        this.#changed(one, { state: "refused", problem });
        if (endsAll(problem)) this.#refuseWaiting({ ...problem, request_id: null });
      }
    }
    this.#running -= 1;
    this.#pump();
  }

  #refuseWaiting(problem) {
    for (const one of this.#waiting.splice(0)) this.#changed(one, { state: "refused", problem });
  }

  #changed(one, facts = {}) {
    Object.assign(one, facts);
    this.dispatchEvent(new CustomEvent("change", { detail: one }));
  }
}
