import { announce } from "./dom.js";

const PAN_STEP = 40;
export const ZOOM_STEP = 1.25;
const WINDOW_STEP = 8;
const OPACITY_STEP = 0.1;

/** How far, in CSS pixels, a pointer may move for a click. */
const CLICK = 4;

/** What the keys do while the radiograph has the focus; [keys for people, meaning]. */
export const KEYS = [
  ["Arrow keys", "move the radiograph"],
  ["+  −", "zoom in, zoom out"],
  ["F or 0", "fit the window"],
  ["1", "one pixel of the image on one of the page"],
  ["Shift ← →", "narrower or wider window (contrast)"],
  ["Shift ↑ ↓", "level: darker or brighter"],
  ["I", "invert"],
  ["R", "reset window, level and inversion"],
  ["M", "show or hide the activation map"],
  ["[  ]", "less or more opacity of the map"],
  ["Page Up, Page Down", "previous or next file"],
];

/** What mouse and fingers do over the radiograph. */
export const GESTURES = [
  ["Wheel, pinch", "zoom at the pointer"],
  ["Drag", "move, or window and level when the tool Window is on"],
  ["Right drag, Shift drag", "window (sideways) and level (up and down)"],
  ["Click", "move that place to the middle, when zoomed"],
  ["Double click", "fit"],
];

/** Connect keyboard, mouse and touch to the viewer; `tool()` is "pan" or "window". */
export function connectGestures(viewer, { tool, step }) {
  connectKeys(viewer, step);
  connectPointers(viewer, tool);
  const { canvas } = viewer;
  viewer.addEventListener("change", () => canvas.classList.toggle("fitted", viewer.fitted));
  canvas.addEventListener("dblclick", () => viewer.fit());
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    if (!viewer.hasPicture) return;
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? event.deltaY * 30 : event.deltaY;
    viewer.zoomBy(Math.exp(-pixels * 0.0015), place(canvas, event));
  }, { passive: false });
}

function connectKeys(viewer, step) {
  const fade = (by) => viewer.set({ opacity: Math.min(Math.max(viewer.opacity + by, 0), 1) });
  const plain = {
    ArrowLeft: () => viewer.panBy(-PAN_STEP, 0),
    ArrowRight: () => viewer.panBy(PAN_STEP, 0),
    ArrowUp: () => viewer.panBy(0, -PAN_STEP),
    ArrowDown: () => viewer.panBy(0, PAN_STEP),
    "+": () => viewer.zoomBy(ZOOM_STEP),
    "=": () => viewer.zoomBy(ZOOM_STEP),
    "-": () => viewer.zoomBy(1 / ZOOM_STEP),
    0: () => viewer.fit(),
    f: () => viewer.fit(),
    1: () => viewer.zoomBy(1 / viewer.scale),
    i: () => {
      viewer.set({ inverted: !viewer.inverted });
      announce(viewer.inverted ? "Inverted" : "Not inverted");
    },
    r: () => viewer.resetWindow(),
    m: () => {
      if (!viewer.map) return;
      viewer.set({ mapShown: !viewer.mapShown });
      announce(viewer.mapShown ? "Map shown" : "Map hidden");
    },
    "[": () => fade(-OPACITY_STEP),
    "]": () => fade(OPACITY_STEP),
    PageUp: () => step(-1),
    PageDown: () => step(1),
  };
  const shifted = {
    ArrowLeft: () => viewer.windowBy(-WINDOW_STEP, 0),
    ArrowRight: () => viewer.windowBy(WINDOW_STEP, 0),
    ArrowUp: () => viewer.windowBy(0, WINDOW_STEP),
    ArrowDown: () => viewer.windowBy(0, -WINDOW_STEP),
  };
  viewer.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act = (event.shiftKey && shifted[key]) || plain[key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

function connectPointers(viewer, tool) {
  const { canvas } = viewer;
  const pointers = new Map();
  let windowing = false;
  let start = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (!viewer.hasPicture) return;
    canvas.setPointerCapture(event.pointerId);
    start = pointers.size ? null : place(canvas, event);
    pointers.set(event.pointerId, place(canvas, event));
    windowing = event.button === 2 || event.shiftKey || tool() === "window";
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(canvas, event);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) pinch(viewer, before, now, other);
    else if (windowing) viewer.windowBy(now.x - before.x, (before.y - now.y) / 2);
    else viewer.panBy(now.x - before.x, now.y - before.y);
    pointers.set(event.pointerId, now);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!start || windowing || viewer.fitted) return;
    const now = place(canvas, event);
    if (Math.hypot(now.x - start.x, now.y - start.y) < CLICK) viewer.panBy(-now.x, -now.y);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
}

function pinch(viewer, before, now, other) {
  const distance = (one) => Math.hypot(one.x - other.x, one.y - other.y) || 1;
  viewer.panBy((now.x - before.x) / 2, (now.y - before.y) / 2);
  const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
  viewer.zoomBy(distance(now) / distance(before), middle);
}

/** Where an event is, in CSS pixels from the centre of the canvas. */
function place(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
}
