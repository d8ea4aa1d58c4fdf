// Layers under and over the points: densities, arrows, contours, a probe.

import { css, fitted } from "/paint.js";

const LEVELS = [0.5, 1.5, 3, 5, 8]; // nats below the highest density

/** Return the position of a point on a canvas. */
export function onCanvas([x, y], box, width, height) {
  const [[left, right], [bottom, top]] = box;
  return [(x - left) / (right - left) * width, (top - y) / (top - bottom) * height];
}

/** Draw the density as an image with one pixel per cell, scaled up. */
export function density(context, answer, sides, colours, width, height) {
  for (const side of sides) {
    const log = answer[side];
    if (!log) continue;
    const cells = log.shape[0], image = new ImageData(cells, cells), highest = largest(log);
    const [red, green, blue] = colours[side].map((part) => Math.round(255 * part));
    for (let row = 0; row < cells; row++) {
      for (let column = 0; column < cells; column++) {
        const share = Math.sqrt(Math.exp(log[row * cells + column] - highest));
        const at = 4 * ((cells - 1 - row) * cells + column);
        image.data.set([red, green, blue, Math.round(150 / sides.length * share)], at);
      }
    }
    const small = new OffscreenCanvas(cells, cells);
    small.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, width, height);
  }
}

/** Draw contours of log p. */
export function lines(context, answer, sides, colours, width, height, ratio) {
  context.lineWidth = 1.2 * ratio;
  context.lineJoin = "round";
  for (const side of sides) {
    const log = answer[side];
    if (!log) continue;
    const cells = log.shape[0], highest = largest(log);
    LEVELS.forEach((level, k) => {
      context.strokeStyle = css(colours[side], 0.95 - 0.14 * k);
      context.beginPath();
      march(log, cells, highest - level, (x0, y0, x1, y1) => {
        context.moveTo((x0 + 0.5) / cells * width, height - (y0 + 0.5) / cells * height);
        context.lineTo((x1 + 0.5) / cells * width, height - (y1 + 0.5) / cells * height);
      });
      context.stroke();
    });
  }
}

/** Marching squares: segments between the centres of cells where `values` cross `level`. */
export function march(values, cells, level, segment) {
  const cross = (a, b) => (level - a) / (b - a);
  for (let y = 0; y + 1 < cells; y++) {
    for (let x = 0; x + 1 < cells; x++) {
      const a = values[y * cells + x], b = values[y * cells + x + 1];
      const c = values[(y + 1) * cells + x + 1], d = values[(y + 1) * cells + x];
      const ends = [];
      if (a > level !== b > level) ends.push([x + cross(a, b), y]);
      if (b > level !== c > level) ends.push([x + 1, y + cross(b, c)]);
      if (c > level !== d > level) ends.push([x + cross(d, c), y + 1]);
      if (d > level !== a > level) ends.push([x, y + cross(a, d)]);
      for (let k = 0; k + 1 < ends.length; k += 2) segment(...ends[k], ...ends[k + 1]);
    }
  }
}

/** Draw the score as arrows; their length is the score times the noise level, bounded by the cell. */
export function arrows(context, answer, sides, colours, box, scale, width, height, ratio) {
  const cells = answer.at.shape[1], cell = width / cells;
  context.lineCap = "round";
  for (const side of sides) {
    const found = answer[side], below = sides.length > 1 && side === "exact"; // so that both and the points are seen
    if (!found) continue;
    context.lineWidth = (below ? 3.2 : 1.4) * ratio;
    context.strokeStyle = css(colours[side], below ? 0.35 : 0.9 / Math.sqrt(sides.length));
    context.beginPath();
    for (let k = 0; k < cells * cells; k++) {
      const at = [answer.at[k % cells], answer.at[cells + Math.floor(k / cells)]];
      const [x, y] = onCanvas(at, box, width, height);
      const dx = found[2 * k] / scale[0], dy = -found[2 * k + 1] / scale[1];
      const size = Math.hypot(dx, dy);
      if (!(size > 1e-6)) continue;
      const long = 0.86 * cell * Math.tanh(size / 1.5), [ux, uy] = [dx / size, dy / size];
      const head = Math.min(3.6 * ratio, 0.45 * long);
      const [fromX, fromY] = [x - ux * long / 2, y - uy * long / 2], [toX, toY] = [x + ux * long / 2, y + uy * long / 2];
      context.moveTo(fromX, fromY);
      context.lineTo(toX, toY);
      context.moveTo(toX - head * (ux - 0.6 * uy), toY - head * (uy + 0.6 * ux));
      context.lineTo(toX, toY);
      context.lineTo(toX - head * (ux + 0.6 * uy), toY - head * (uy - 0.6 * ux));
    }
    context.stroke();
  }
}

/** Draw the point of the pointer, and the mean of all data that could have become it. */
export function probe(context, at, answer, colours, ink, box, width, height, ratio) {
  const [x, y] = onCanvas(at, box, width, height);
  for (const side of ["exact", "learned"]) {
    if (!answer?.[side]) continue;
    const [toX, toY] = onCanvas(answer[side].x0, box, width, height);
    context.strokeStyle = context.fillStyle = css(colours[side], 1);
    context.lineWidth = 2 * ratio;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(toX, toY);
    context.stroke();
    context.beginPath();
    context.arc(toX, toY, 4.2 * ratio, 0, 2 * Math.PI);
    context.fill();
  }
  context.strokeStyle = ink;
  context.lineWidth = 1.6 * ratio;
  context.beginPath();
  context.arc(x, y, 5.5 * ratio, 0, 2 * Math.PI);
  context.stroke();
}

/** Draw the trajectory of a particle, its position, and random futures. */
export function path(context, answer, place, sides, colours, box, width, height, ratio) {
  const follow = (points, from, count) => {
    context.beginPath();
    for (let k = from; k < from + count; k++) context.lineTo(...onCanvas([points[2 * k], points[2 * k + 1]], box, width, height));
    context.stroke();
  };
  context.lineJoin = context.lineCap = "round";
  if (answer.futures) {
    const [many, count] = answer.futures.shape, side = sides.at(-1);
    context.strokeStyle = context.fillStyle = css(colours[side], 0.42);
    context.lineWidth = ratio;
    for (let one = 0; one < many; one++) {
      follow(answer.futures, one * count, count);
      const last = (one + 1) * count - 1;
      dot(context, onCanvas([answer.futures[2 * last], answer.futures[2 * last + 1]], box, width, height), 2.6 * ratio);
    }
  }
  for (const side of sides) {
    const points = answer[side];
    if (!points) continue;
    context.strokeStyle = context.fillStyle = css(colours[side], 1);
    context.lineWidth = 2.2 * ratio;
    follow(points, 0, points.shape[0]);
    dot(context, onCanvas(at(answer.clock, points, place), box, width, height), 6 * ratio);
  }
  const { nearest } = answer.header;
  if (!nearest.at) return;
  context.strokeStyle = css(colours.exact, 1);
  context.lineWidth = 2 * ratio;
  context.beginPath();
  context.arc(...onCanvas(nearest.at, box, width, height), 8 * ratio, 0, 2 * Math.PI);
  context.stroke();
}

/** Return the point of a path at a place of the clock, which rises along the path. */
export function at(clock, points, place) {
  let k = 0;
  while (k + 2 < clock.length && clock[k + 1] < place) k++;
  const share = Math.min(Math.max((place - clock[k]) / (clock[k + 1] - clock[k]), 0), 1);
  return [0, 1].map((j) => points[2 * k + j] + share * (points[2 * k + 2 + j] - points[2 * k + j]));
}

function dot(context, [x, y], size) {
  context.beginPath();
  context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
}

/** Draw the distance along the clock, and its current value. */
export function curve(canvas, answer, place, places, colours, soft) {
  const ratio = fitted(canvas), context = canvas.getContext("2d"), { width, height } = canvas, pad = 4 * ratio;
  context.clearRect(0, 0, width, height);
  const most = 1.08 * Math.max(...answer.distance, ...answer.reference);
  const x = (clock) => pad + clock / places * (width - 2 * pad), y = (value) => height - pad - value / most * (height - 2 * pad);
  const draw = (values, dash, style) => {
    context.setLineDash(dash);
    context.strokeStyle = style;
    context.lineWidth = 1.6 * ratio;
    context.beginPath();
    values.forEach((value, k) => context.lineTo(x(answer.clock[k]), y(value)));
    context.stroke();
    context.setLineDash([]);
  };
  context.strokeStyle = soft;
  context.globalAlpha = 0.35;
  context.lineWidth = ratio;
  context.beginPath();
  context.moveTo(pad, height - pad);
  context.lineTo(width - pad, height - pad);
  context.stroke();
  context.globalAlpha = 1;
  draw(answer.reference, [4 * ratio, 4 * ratio], css(colours.exact, 0.9));
  draw(answer.distance, [], css(colours.learned, 1));
  context.fillStyle = css(colours.learned, 1);
  context.beginPath();
  context.arc(x(place), y(between(answer.clock, answer.distance, place)), 3.6 * ratio, 0, 2 * Math.PI);
  context.fill();
}

/** Draw the loss on a logarithmic scale, its theoretical minimum, and the step shown. */
export function lossCurve(canvas, points, { steps, floor, shown }, colours, soft) {
  // Drawn by the CPU: a few lines cost little next to the training.
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const ratio = fitted(canvas), { width, height } = canvas, size = 12 * ratio;
  const [left, right, top, bottom] = [46 * ratio, width - 8 * ratio, 10 * ratio, height - 24 * ratio];
  context.clearRect(0, 0, width, height);
  const values = [...points.map(([, value]) => value), ...(floor ? [floor] : [])].filter((value) => value > 0);
  if (!values.length) return;
  const low = Math.log(Math.min(...values) / 1.12), high = Math.log(Math.max(...values) * 1.06);
  const x = (step) => left + step / steps * (right - left);
  const y = (value) => bottom - (Math.log(value) - low) / (high - low) * (bottom - top);
  context.font = `${size}px system-ui, sans-serif`;
  context.fillStyle = soft;
  context.textAlign = "right";
  for (const share of [0, 0.5, 1]) {
    const value = Math.exp(low + share * (high - low));
    context.fillText(value.toPrecision(2), left - 6 * ratio, y(value) + size / 3);
  }
  context.textAlign = "left";
  context.fillText("step 0", left, height - 6 * ratio);
  context.textAlign = "right";
  context.fillText(steps.toLocaleString("en"), right, height - 6 * ratio);
  const draw = (places, dash, style, wide) => {
    context.setLineDash(dash.map((part) => part * ratio));
    context.strokeStyle = style;
    context.lineWidth = wide * ratio;
    context.beginPath();
    places.forEach(([atX, atY]) => context.lineTo(atX, atY));
    context.stroke();
    context.setLineDash([]);
  };
  draw([[x(shown), top], [x(shown), bottom]], [], css(colours.learned, 0.35), 1);
  if (floor) {
    draw([[left, y(floor)], [right, y(floor)]], [4, 4], css(colours.exact, 0.9), 1.5);
    context.fillStyle = css(colours.exact, 1);
    context.fillText("irreducible: the loss of the exact denoiser", right, y(floor) + 1.25 * size);
  }
  draw(points.filter(([, value]) => value > 0).map(([step, value]) => [x(step), y(value)]), [], css(colours.learned, 1), 2);
}

/** Interpolate values linearly at a place of the falling `clock`. */
export function between(clock, values, place) {
  let k = 0;
  while (k + 2 < clock.length && clock[k + 1] > place) k++;
  if (clock.length === 1) return values[0];
  const share = Math.min(Math.max((clock[k] - place) / (clock[k] - clock[k + 1]), 0), 1);
  return values[k] + share * (values[k + 1] - values[k]);
}

const largest = (values) => values.reduce((a, b) => (b > a ? b : a), -Infinity);
