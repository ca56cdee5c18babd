import { OPACITY } from "./overlay.js";

const MAX_SCALE = 16;
const FULL_WINDOW = { centre: 127.5, width: 255 };

/** The radiograph on a canvas with zoom, pan, window, level, inversion and a map over it. */
export class Viewer extends EventTarget {
  #picture = null;
  #base = null;
  #frame = 0;

  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.map = null;
    this.mapShown = true;
    this.opacity = OPACITY;
    this.#resetView();
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  get hasPicture() {
    return this.#picture !== null;
  }

  /** Show a picture from `loadPicture`, fitted, with the whole range; null for none. */
  show(picture) {
    this.#picture = picture;
    this.map = null;
    this.#resetView();
    if (picture) {
      this.#base = new OffscreenCanvas(picture.width, picture.height);
      this.fit();
    }
    this.#update({ pixels: true });
  }

  /** Lay a canvas from `paintMap` over the picture; null for none. */
  setMap(map) {
    this.map = map;
    this.#update();
  }

  /** Set `mapShown`, `opacity`, `inverted`, or `window` as {centre, width} in grey levels. */
  set(changes) {
    Object.assign(this, changes);
    this.window = {
      centre: clamp(this.window.centre, 0, 255), width: clamp(this.window.width, 1, 510),
    };
    this.#update({ pixels: "window" in changes || "inverted" in changes });
  }

  /** Widen the window and raise the level by grey levels. */
  windowBy(width, centre) {
    const { window } = this;
    this.set({ window: { centre: window.centre + centre, width: window.width + width } });
  }

  /** Show the whole range of grey again. */
  resetWindow() {
    this.set({ window: { ...FULL_WINDOW }, inverted: false });
  }

  /** Zoom by a factor, keeping the place under {x, y} (CSS pixels from the centre) where it is. */
  zoomBy(factor, { x = 0, y = 0 } = {}) {
    if (!this.#picture) return;
    const least = Math.min(this.#fitScale(), 1) / 2;
    const scale = clamp(this.scale * factor, least, MAX_SCALE);
    this.centre.x += x / this.scale - x / scale;
    this.centre.y += y / this.scale - y / scale;
    this.scale = scale;
    this.fitted = false;
    this.#update();
  }

  /** Move the picture by CSS pixels. */
  panBy(x, y) {
    if (!this.#picture) return;
    this.centre.x = clamp(this.centre.x - x / this.scale, 0, this.#picture.width);
    this.centre.y = clamp(this.centre.y - y / this.scale, 0, this.#picture.height);
    this.fitted = false;
    this.#update();
  }

  /** Show the whole picture as large as it goes. */
  fit() {
    if (!this.#picture) return;
    this.centre = { x: this.#picture.width / 2, y: this.#picture.height / 2 };
    this.scale = this.#fitScale();
    this.fitted = true;
    this.#update();
  }

  /** Draw the whole picture as it is windowed now, with its map or without, on a new canvas. */
  snapshot(withMap) {
    if (this.stale) this.#applyWindow();
    const { width, height } = this.#picture;
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    this.#paint(canvas.getContext("2d"), withMap);
    return canvas;
  }

  #resetView() {
    this.window = { ...FULL_WINDOW };
    this.inverted = false;
    this.scale = 1;
    this.centre = { x: 0, y: 0 };
    this.fitted = true;
  }

  #fitScale() {
    const { clientWidth, clientHeight } = this.canvas;
    return Math.min(clientWidth / this.#picture.width, clientHeight / this.#picture.height) || 1;
  }

  #resize() {
    const ratio = window.devicePixelRatio;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    if (this.fitted) this.fit();
    this.#draw();
  }

  #update({ pixels = false } = {}) {
    if (pixels) this.stale = true;
    this.#frame ||= requestAnimationFrame(() => this.#draw());
    this.dispatchEvent(new Event("change"));
  }

  #draw() {
    this.#frame = 0;
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.#picture) return;
    if (this.stale) this.#applyWindow();
    const zoom = this.scale * window.devicePixelRatio;
    // Whole pixels, or 1:1 would blur every one of them over its neighbours.
    context.setTransform(zoom, 0, 0, zoom, Math.round(canvas.width / 2 - this.centre.x * zoom),
      Math.round(canvas.height / 2 - this.centre.y * zoom));
    context.imageSmoothingEnabled = zoom < 4; // beyond, single pixels are what is looked at
    this.#paint(context, this.mapShown);
  }

  #paint(context, withMap) {
    context.imageSmoothingQuality = "high";
    context.drawImage(this.#base, 0, 0);
    if (!withMap || !this.map) return;
    context.imageSmoothingEnabled = true;
    context.globalAlpha = this.opacity;
    context.drawImage(this.map, 0, 0, this.#picture.width, this.#picture.height);
    context.globalAlpha = 1;
  }

  /** Look every grey value up in a table of 256 display values. */
  #applyWindow() {
    this.stale = false;
    const low = this.window.centre - this.window.width / 2;
    const table = Uint32Array.from({ length: 256 }, (_, value) => {
      const shown = Math.round(clamp(((value - low) / this.window.width) * 255, 0, 255));
      const grey = this.inverted ? 255 - shown : shown;
      return (0xff000000 | (grey * 0x010101)) >>> 0;
    });
    const { grey, width, height } = this.#picture;
    const pixels = new Uint32Array(grey.length);
    for (let i = 0; i < grey.length; i += 1) pixels[i] = table[grey[i]];
    const image = new ImageData(new Uint8ClampedArray(pixels.buffer), width, height);
    this.#base.getContext("2d").putImageData(image, 0, 0);
  }
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
