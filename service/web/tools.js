import { byId, el } from "./dom.js";
import { ZOOM_STEP } from "./gestures.js";

/** Build the tool bar of the viewer; returns `tool()`, which is "pan" or "window". */
export function connectTools(viewer) {
  const button = (text, label, act, toggles = false) => el("button", {
    type: "button", class: "tool", title: label, "aria-label": label, onclick: act,
    "aria-pressed": toggles ? "false" : null,
  }, text);
  const drag = button("Window", "Dragging changes window and level", () => press(drag), true);
  const invert = button("Invert", "Invert black and white", () => (
    viewer.set({ inverted: !viewer.inverted })), true);
  const map = button("Map", "Show the activation map", () => (
    viewer.set({ mapShown: !viewer.mapShown })), true);
  const zoom = el("output", { class: "zoom", "aria-label": "Zoom", "aria-live": "off" });
  const width = slider("Width", 1, 510, (value) => (
    viewer.set({ window: { ...viewer.window, width: value } })));
  const level = slider("Level", 0, 255, (value) => (
    viewer.set({ window: { ...viewer.window, centre: value } })));
  const opacity = slider("Opacity", 0, 100, (value) => viewer.set({ opacity: value / 100 }));
  const group = (...children) => el("div", { class: "tool-group" }, ...children);
  byId("tools").append(
    group(
      button("−", "Zoom out", () => viewer.zoomBy(1 / ZOOM_STEP)), zoom,
      button("+", "Zoom in", () => viewer.zoomBy(ZOOM_STEP)),
      button("Fit", "Fit the window", () => viewer.fit()),
      button("1:1", "1:1, one pixel of the image on one of the page", () => (
        viewer.zoomBy(1 / viewer.scale))),
    ),
    group(map, opacity.label),
    group(drag, width.label, level.label, invert,
      button("Reset", "Reset window, level and inversion", () => viewer.resetWindow())),
  );
  const controls = byId("tools").querySelectorAll("button, input");
  const refresh = () => {
    for (const control of controls) control.disabled = !viewer.hasPicture;
    map.disabled = opacity.input.disabled = !viewer.map;
    zoom.textContent = viewer.hasPicture ? `${Math.round(viewer.scale * 100)} %` : "–";
    width.show(viewer.window.width);
    level.show(viewer.window.centre);
    opacity.show(viewer.opacity * 100);
    invert.setAttribute("aria-pressed", viewer.inverted);
    map.setAttribute("aria-pressed", Boolean(viewer.map) && viewer.mapShown);
  };
  viewer.addEventListener("change", refresh);
  refresh();
  return () => (drag.getAttribute("aria-pressed") === "true" ? "window" : "pan");
}

function press(toggle) {
  toggle.setAttribute("aria-pressed", toggle.getAttribute("aria-pressed") !== "true");
}

function slider(name, min, max, onInput) {
  const input = el("input", { type: "range", min, max, step: 1, oninput: () => onInput(Number(input.value)) });
  const value = el("output", { "aria-live": "off" });
  const label = el("label", { class: "slider" }, el("span", {}, name), input, value);
  const show = (number) => {
    input.value = number;
    value.textContent = Math.round(number);
  };
  return { label, input, show };
}
