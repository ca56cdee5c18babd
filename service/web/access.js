import { byId, el } from "./dom.js";

/** Of this page's memory alone: never in storage, a cookie or an address. */
let key = null;
let asking = null;

/** The key that requests carry; null before one was needed. */
export const accessKey = () => key;

/**
 * Ask the person for a key, once for all requests that wait for one; resolves when there is one and
 * rejects with `refusal` where the person declines.
 */
export function askForKey(refusal) {
  return once(why(refusal.problem)).then((given) => {
    if (!given) throw refusal;
  });
}

/** Let the person put another key in the place of the one in use. */
export function connectKeyChange() {
  byId("change-key").addEventListener("click", () => once("Enter another; Cancel keeps the one in use."));
}

function once(reason) {
  asking ??= ask(reason).finally(() => { asking = null; });
  return asking;
}

/** Ask for a key and use it; resolves to whether one was given. */
function ask(reason) {
  const box = byId("access-dialog");
  // Not of type password, which browsers offer to store; the style sheet hides what is typed.
  const field = el("input", {
    id: "access-key", class: "masked", type: "text", required: true, autofocus: true,
    autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    pattern: "\\s*[!-~]+\\s*", title: "one word of plain characters",
    "aria-describedby": "access-why access-note",
  });
  const form = el("form", { method: "dialog" },
    el("label", { for: "access-key" }, "Access key"), field,
    el("p", { id: "access-note", class: "foot" },
      "Whoever runs this service gives out keys. Yours stays in this page's memory and is gone when "
      + "the page is closed or loaded again."),
    el("div", { class: "row-actions" },
      el("button", { type: "button", onclick: () => box.close() }, "Cancel"),
      el("button", { type: "submit", class: "primary" }, "Continue")));
  box.replaceChildren(el("h2", { id: "access-title" }, "This service asks for a key"),
    el("p", { id: "access-why", class: "lead", role: "alert" }, reason), form);
  return new Promise((resolve) => {
    let given = "";
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      given = field.value.trim();
      box.close();
    });
    box.addEventListener("close", () => {
      box.replaceChildren();
      if (given) {
        key = given;
        byId("change-key").hidden = false;
      }
      resolve(Boolean(given));
    }, { once: true });
    box.showModal();
  });
}

function why(problem) {
  return problem.code === "missing_key" ? "Enter yours to read radiographs here." : problem.detail;
}
