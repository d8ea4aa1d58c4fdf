// Streamlines of vectors, and the difference of learned and exact densities.


const SIDE = 240; // pixels of the image of streamlines, which is scaled to the picture
const REACH = 16; // pixels of a streamline in each direction
const STEEP = 4; // strength of a difference: at a quarter of the peak it has 3/4 of its colour

const drawn = new WeakMap(); // answer -> its image, and the options of the image

/** A line integral convolution of noise along the vectors (Cabral & Leedom 1993): each pixel is the mean along its streak. */
export function streaks(context, answer, sides, colours, box, width, height) {
  for (const side of sides) {
    if (!answer[side]) continue;
    const key = `${side} ${colours[side]}`;
    if (drawn.get(answer[side])?.key !== key) drawn.set(answer[side], { key, image: convolved(answer, side, colours[side], box) });
    context.drawImage(drawn.get(answer[side]).image, 0, 0, width, height);
  }
}

function convolved(answer, side, colour, box) {
  const cells = answer.at.shape[1], values = answer[side], noise = specks();
  const [[left, right], [bottom, top]] = box, x = new Float32Array(SIDE * SIDE), y = new Float32Array(SIDE * SIDE);
  const strength = new Float32Array(SIDE * SIDE);
  for (let row = 0; row < SIDE; row++) {
    for (let column = 0; column < SIDE; column++) {
      const at = row * SIDE + column;
      const dx = blended(values, cells, 0, column, row) / (right - left), dy = -blended(values, cells, 1, column, row) / (top - bottom);
      const size = Math.hypot(dx, dy);
      x[at] = size > 1e-9 ? dx / size : 0;
      y[at] = size > 1e-9 ? dy / size : 0;
      strength[at] = Math.tanh(12 * size);
    }
  }
  const image = new ImageData(SIDE, SIDE), [red, green, blue] = colour.map((part) => Math.round(255 * part));
  for (let at = 0; at < SIDE * SIDE; at++) {
    let sum = noise[at], count = 1;
    for (const way of [-1, 1]) {
      let px = at % SIDE + 0.5, py = Math.floor(at / SIDE) + 0.5, here = at;
      for (let step = 0; step < REACH; step++) {
        px += way * x[here];
        py += way * y[here];
        if (px < 0 || py < 0 || px >= SIDE || py >= SIDE) break;
        here = Math.floor(py) * SIDE + Math.floor(px);
        sum += noise[here];
        count++;
      }
    }
    const share = Math.min(Math.max(0.5 + 3 * (sum / count - 0.5), 0), 1);
    image.data.set([red, green, blue, Math.round(190 * share * share * strength[at])], 4 * at);
  }
  const canvas = new OffscreenCanvas(SIDE, SIDE);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** Interpolate a component of the vectors between the centres of cells; rows are counted from the top. */
function blended(values, cells, component, column, row) {
  const x = (column + 0.5) / SIDE * cells - 0.5, y = cells - 0.5 - (row + 0.5) / SIDE * cells;
  const x0 = Math.min(Math.max(Math.floor(x), 0), cells - 2), y0 = Math.min(Math.max(Math.floor(y), 0), cells - 2);
  const a = Math.min(Math.max(x - x0, 0), 1), b = Math.min(Math.max(y - y0, 0), 1);
  const at = (i, j) => values[2 * ((y0 + j) * cells + x0 + i) + component];
  return (1 - b) * ((1 - a) * at(0, 0) + a * at(1, 0)) + b * ((1 - a) * at(0, 1) + a * at(1, 1));
}

let kept;

/** Uniform noise, the same at every time, so that streamlines do not flicker. */
function specks() {
  if (kept) return kept;
  kept = new Float32Array(SIDE * SIDE);
  let word = 20231;
  for (let k = 0; k < kept.length; k++) {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
    kept[k] = word / 2 ** 32;
  }
  return kept;
}

/** Draw where the learned density is too high, in its colour, and where the exact one is higher, in the exact colour. */
export function difference(context, answer, colours, width, height) {
  const { learned, exact } = answer;
  if (!learned || !exact) return;
  const cells = exact.shape[0], image = new ImageData(cells, cells), highest = exact.reduce((a, b) => Math.max(a, b), -Infinity);
  for (let at = 0; at < cells * cells; at++) {
    const apart = Math.exp(learned[at] - highest) - Math.exp(exact[at] - highest);
    const colour = colours[apart > 0 ? "learned" : "exact"].map((part) => Math.round(255 * part));
    const row = cells - 1 - Math.floor(at / cells);
    image.data.set([...colour, Math.round(220 * Math.tanh(STEEP * Math.abs(apart)))], 4 * (row * cells + at % cells));
  }
  const small = new OffscreenCanvas(cells, cells);
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(small, 0, 0, width, height);
}
