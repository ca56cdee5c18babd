const SIDE = 256;
const FADE = [0.45, 0.95];
const SPREAD = 0.55; // of a cell

/** Opacity of the map where it is strongest, as in the service's own overlay. */
export const OPACITY = 0.55;

/** Paint a class activation map, rows of numbers, as a square canvas to be stretched over the image. */
export function paintMap(rows, anchors) {
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  const context = canvas.getContext("2d");
  const image = context.createImageData(SIDE, SIDE);
  normalise(smooth(rows)).flat().forEach((value, place) => {
    image.data.set([...colour(value, anchors), 255 * fadeIn(value)], 4 * place);
  });
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Least and greatest value of a map. */
export function range(rows) {
  const bounds = rows.map((row) => [Math.min(...row), Math.max(...row)]);
  return [Math.min(...bounds.map(([low]) => low)), Math.max(...bounds.map(([, high]) => high))];
}

/** Paint the colours from weaker to stronger into a canvas, as they look over middle grey. */
export function paintLegend(canvas, anchors) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x += 1) {
    const value = x / (canvas.width - 1);
    context.fillStyle = "rgb(70 70 70)";
    context.fillRect(x, 0, 1, canvas.height);
    context.fillStyle = `rgb(${colour(value, anchors).join(" ")} / ${fadeIn(value)})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

function normalise(rows) {
  const [low, high] = range(rows);
  return rows.map((row) => row.map((value) => (value - low) / (high - low || 1)));
}

/** Enlarge to SIDE rows of SIDE values without the creases that linear interpolation leaves. */
function smooth(rows) {
  const down = weights(rows.length);
  const across = weights(rows[0].length);
  const narrow = down.map((row) => rows[0].map((_, column) => (
    row.reduce((sum, weight, cell) => sum + weight * rows[cell][column], 0))));
  return narrow.map((row) => across.map((each) => (
    each.reduce((sum, weight, cell) => sum + weight * row[cell], 0))));
}

/** For each pixel the weight of every cell: Gaussian in the distance to its centre, summing to 1. */
function weights(cells) {
  return Array.from({ length: SIDE }, (_, pixel) => {
    const place = ((pixel + 0.5) * cells) / SIDE - 0.5;
    const raw = Array.from({ length: cells }, (__, cell) => (
      Math.exp(-0.5 * ((place - cell) / SPREAD) ** 2)));
    const sum = raw.reduce((one, other) => one + other);
    return raw.map((weight) => weight / sum);
  });
}

function colour(value, anchors) {
  const place = value * (anchors.length - 1);
  const first = Math.min(Math.floor(place), anchors.length - 2);
  return anchors[first].map((from, channel) => (
    Math.round(mix(from, anchors[first + 1][channel], place - first))
  ));
}

function fadeIn(value) {
  const share = Math.min(Math.max((value - FADE[0]) / (FADE[1] - FADE[0]), 0), 1);
  return share * share * (3 - 2 * share);
}

const mix = (from, to, share) => from + (to - from) * share;
