import { fetchRadiograph } from "./api.js";

/** Longest side that is kept, in pixels: what the service returns, and quick to window. */
const MAX_SIDE = 2048;
const PNG = [0x89, 0x50, 0x4e, 0x47];
const JPEG = [0xff, 0xd8, 0xff];
const EXIF = 0x65584966; // eXIf

/**
 * Load the grey values of a file as {width, height, grey}. The browser decodes 8-bit PNG and JPEG,
 * so that they show at once; DICOM and deeper PNG come decoded from the service.
 */
export async function loadPicture(file, signal) {
  if (await isBrowserReadable(file)) {
    const bitmap = await toBitmap(file).catch(() => null);
    if (bitmap) return toPicture(bitmap);
  }
  return toPicture(await toBitmap(await fetchRadiograph(file, signal)));
}

async function isBrowserReadable(file) {
  const head = new Uint8Array(await file.slice(0, 32).arrayBuffer());
  const starts = (signature) => signature.every((byte, place) => head[place] === byte);
  if (starts(JPEG)) return true;
  // Byte 24 of a PNG is its bit depth; by eXIf the browser alone would turn the picture.
  return starts(PNG) && head[24] <= 8 && !(await hasExif(file));
}

async function hasExif(png) {
  const view = new DataView(await png.arrayBuffer());
  for (let at = 8; at + 8 <= view.byteLength; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === EXIF) return true;
  }
  return false;
}

const toBitmap = (blob) => createImageBitmap(blob, { colorSpaceConversion: "none" });

function toPicture(bitmap) {
  const scale = Math.min(1, MAX_SIDE / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillRect(0, 0, width, height); // transparency lies over black, as in the service
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return { width, height, grey: luma(context.getImageData(0, 0, width, height).data) };
}

function luma(rgba) {
  const grey = new Uint8Array(rgba.length / 4);
  for (let i = 0, at = 0; i < grey.length; i += 1, at += 4) {
    // ITU-R BT.601 with the service's integer weights; grey stays exactly what it is.
    grey[i] = (rgba[at] * 19595 + rgba[at + 1] * 38470 + rgba[at + 2] * 7471 + 32768) >> 16;
  }
  return grey;
}
