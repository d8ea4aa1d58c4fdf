// What the pages of the labs share: pictures with points to drag, controls, the exact denoiser, noise.

import { floats, normal } from "/model.js";
import { march } from "/layers.js";
import { fitted } from "/paint.js";
import { number } from "/words.js";

if (window !== window.parent) document.documentElement.classList.add("framed");
const id = (name) => document.getElementById(name);
const data = JSON.parse(id("data").textContent);
const planes = [];
let redraw = () => {};

/** Draw the page now and after each change; `draw` returns what the pictures show, in words. */
function page(draw) {
  let waiting = false, settled;
  redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      const words = draw();
      for (const plane of planes) plane.describe(words);
      id("reading").textContent = words;
      clearTimeout(settled);
      settled = setTimeout(() => { id("spoken").textContent = words; }, 500); // not at each step of a drag
      document.documentElement.dataset.drawn = Number(document.documentElement.dataset.drawn ?? 0) + 1;
    });
  };
  for (const event of ["input", "change"]) document.addEventListener(event, redraw);
  window.addEventListener("resize", redraw);
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", redraw);
  for (const button of document.querySelectorAll("[data-play]")) playing(button, id(button.dataset.play));
  redraw();
}

/** Return the value of a slider, and write it next to the slider as `text` of it. */
function value(name, text = (x) => number(x, 3)) {
  const slider = id(name), words = text(slider.valueAsNumber);
  slider.parentElement.querySelector("output").textContent = words;
  slider.setAttribute("aria-valuetext", words);
  return slider.valueAsNumber;
}

/** Do something when a button is pressed, and draw. */
function press(name, action) {
  id(name).addEventListener("click", () => {
    action();
    redraw();
  });
}

/** A button that moves a slider to its end in five seconds. */
function playing(button, slider) {
  const [low, high] = [Number(slider.min), Number(slider.max)], words = button.textContent;
  let before = null, at = low;
  const stop = () => {
    before = null;
    button.textContent = words;
  };
  const tick = (now) => {
    if (before === null) return;
    at += (now - before) / 5000 * (high - low);
    before = now;
    slider.value = Math.min(at, high);
    redraw();
    if (at >= high) stop();
    else requestAnimationFrame(tick);
  };
  button.addEventListener("click", () => {
    if (before !== null) return stop();
    at = slider.valueAsNumber >= high ? low : slider.valueAsNumber;
    before = performance.now();
    button.textContent = "Pause";
    return requestAnimationFrame(tick);
  });
}

/** A picture of the plane, or a chart with axes; points are [x, y, x, y, ...] in its own units. */
class Plane {
  /** @param box [[left, right], [bottom, top]]; @param margin [left, bottom] in pixels, for ticks. */
  constructor(name, box, margin = [0, 0]) {
    Object.assign(this, { frame: id(name), box, margin, handles: [] });
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("role", "img");
    this.frame.append(this.canvas);
    this.context = this.canvas.getContext("2d");
    this.frame.addEventListener("click", (event) => {
      if (event.target !== this.canvas || !this.handles.length) return;
      const to = this.from(event), away = ({ at }) => Math.hypot(at[0] - to[0], at[1] - to[1]);
      this.handles.reduce((a, b) => (away(b) < away(a) ? b : a)).move(to);
    });
    planes.push(this);
  }

  describe(words) { this.canvas.setAttribute("aria-label", words); }

  clear() {
    this.ratio = fitted(this.canvas);
    this.wide = this.canvas.width / this.ratio;
    this.tall = this.canvas.height / this.ratio;
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries(["learned", "exact", "ink", "soft", "line", "frame"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    this.context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.context.clearRect(0, 0, this.wide, this.tall);
    for (const handle of this.handles) handle.place();
  }

  /** Return the place of a point in pixels of the page. */
  to(x, y) {
    const [[left, right], [bottom, top]] = this.box, [low, under] = this.margin, edge = under ? 10 : 0;
    return [low + (x - left) / (right - left) * (this.wide - low - edge), edge + (top - y) / (top - bottom) * (this.tall - under - edge)];
  }

  from({ clientX, clientY }) {
    const { left, top } = this.frame.getBoundingClientRect(), [x0, y1] = this.to(this.box[0][0], this.box[1][1]), [x1, y0] = this.to(this.box[0][1], this.box[1][0]);
    const share = [(clientX - left - x0) / (x1 - x0), (clientY - top - y0) / (y1 - y0)];
    return this.box.map(([low, high], k) => low + Math.min(Math.max(share[k], 0), 1) * (high - low));
  }

  #style(colour, { width = 1.6, alpha = 1, dash = [] } = {}) {
    const { context } = this;
    context.strokeStyle = context.fillStyle = this.colours[colour] ?? colour;
    context.globalAlpha = alpha;
    context.lineWidth = width;
    context.lineJoin = context.lineCap = "round";
    context.setLineDash(dash);
  }

  dots(points, colour, { size = 1.7, alpha = 0.55, weights = null } = {}) {
    this.#style(colour, { alpha });
    for (let k = 0; k < points.length; k += 2) {
      if (weights) {
        if (weights[k / 2] < 0.02) continue;
        this.context.globalAlpha = alpha * weights[k / 2];
      }
      this.context.beginPath();
      this.context.arc(...this.to(points[k], points[k + 1]), size, 0, 7);
      this.context.fill();
    }
  }

  line(points, colour, options) {
    this.#style(colour, options);
    this.context.beginPath();
    for (let k = 0; k < points.length; k += 2) this.context.lineTo(...this.to(points[k], points[k + 1]));
    this.context.stroke();
  }

  arrow([x0, y0], [x1, y1], colour, options = {}) {
    const from = this.to(x0, y0), to = this.to(x1, y1), long = Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (long < 1) return;
    const [ux, uy] = [(to[0] - from[0]) / long, (to[1] - from[1]) / long], head = Math.min(options.head ?? 9, 0.5 * long);
    this.#style(colour, options);
    const { context } = this;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(to[0] - head * (ux - 0.5 * uy), to[1] - head * (uy + 0.5 * ux));
    context.lineTo(...to);
    context.lineTo(to[0] - head * (ux + 0.5 * uy), to[1] - head * (uy - 0.5 * ux));
    context.stroke();
  }

  circle([x, y], radius, colour, options = {}) {
    this.#style(colour, options);
    const [cx, cy] = this.to(x, y), [edge] = this.to(x + radius, y);
    this.context.beginPath();
    this.context.arc(cx, cy, edge - cx, 0, 7);
    if (options.fill) this.context.fill();
    else this.context.stroke();
  }

  /** Fill a bar of a chart. */
  bar(x0, x1, y0, y1, colour, options) {
    this.#style(colour, options);
    const [a, b] = this.to(x0, y0), [c, d] = this.to(x1, y1);
    this.context.fillRect(Math.min(a, c), Math.min(b, d), Math.abs(c - a), Math.abs(d - b));
  }

  text(words, [x, y], colour, { align = "left", dx = 0, dy = 0, size = 13 } = {}) {
    this.#style(colour);
    const { context } = this, [atX, atY] = this.to(x, y);
    context.font = `${size}px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif`;
    context.textAlign = align;
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeStyle = this.colours.frame;
    context.strokeText(words, atX + dx, atY + dy);
    context.fillText(words, atX + dx, atY + dy);
  }

  /** Shade values on a grid of cells, [y][x], by value / max. */
  shade(values, cells, colour, strength = 0.6) {
    const most = values.reduce((a, b) => Math.max(a, b), 1e-300), image = new ImageData(cells, cells);
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(this.colours[colour].slice(at, at + 2), 16));
    values.forEach((one, k) => image.data.set([red, green, blue, 255 * strength * Math.sqrt(one / most)], 4 * ((cells - 1 - Math.floor(k / cells)) * cells + k % cells)));
    const small = new OffscreenCanvas(cells, cells);
    small.getContext("2d").putImageData(image, 0, 0);
    this.context.globalAlpha = 1;
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(small, 0, 0, this.wide, this.tall);
  }

  /** Draw a contour of values on a grid of cells. */
  contour(values, cells, level, colour, options) {
    this.#style(colour, options);
    const [[left, right], [bottom, top]] = this.box, x = (k) => left + (k + 0.5) / cells * (right - left), y = (k) => bottom + (k + 0.5) / cells * (top - bottom);
    this.context.beginPath();
    march(values, cells, level, (x0, y0, x1, y1) => {
      this.context.moveTo(...this.to(x(x0), y(y0)));
      this.context.lineTo(...this.to(x(x1), y(y1)));
    });
    this.context.stroke();
  }

  /** Return the centres of the cells of a grid over the box, as points. */
  cells(cells) {
    const [[left, right], [bottom, top]] = this.box, found = new Float64Array(2 * cells * cells);
    for (let k = 0; k < cells * cells; k++) {
      found[2 * k] = left + (k % cells + 0.5) / cells * (right - left);
      found[2 * k + 1] = bottom + (Math.floor(k / cells) + 0.5) / cells * (top - bottom);
    }
    return found;
  }

  /** Draw ticks, [[value, words], ...] for each axis, and the names of the axes. */
  axes(x, y, [nameX, nameY]) {
    const [[left, right], [bottom, top]] = this.box;
    for (const [at, words] of x) this.text(words, [at, bottom], "soft", { align: "center", dy: 11, size: 12 });
    for (const [at, words] of y) {
      this.line([left, at, right, at], "line", { width: 1 });
      this.text(words, [left, at], "soft", { align: "right", dx: -6, size: 12 });
    }
    this.text(nameX, [right, bottom], "soft", { align: "right", dy: 27, size: 12 });
    this.text(nameY, [left, top], "soft", { dx: 8, dy: 7, size: 12 });
  }

  /** Add a point that is dragged, or moved with the arrow keys; `along` restricts it to "x" or "y", `onto` to a curve. */
  handle(name, at, { colour = "ink", along = "xy", left = false, onto = (to) => to } = {}) {
    const button = document.createElement("button"), handle = { at: [...at], button };
    button.type = "button";
    button.className = "handle";
    button.style.setProperty("--colour", `var(--${colour})`);
    button.append(Object.assign(document.createElement("span"), { textContent: name }));
    handle.move = (to) => {
      handle.at = onto(this.box.map(([low, high], k) => (along.includes("xy"[k]) ? Math.min(Math.max(to[k], low), high) : handle.at[k])));
      redraw();
    };
    handle.place = () => {
      const [x, y] = this.to(...handle.at), where = [..."xy"].filter((one) => along.includes(one)).map((one) => `${one} ${handle.at["xy".indexOf(one)].toFixed(2)}`);
      const room = button.firstChild.offsetWidth + 12; // of the name, which is never cut by the picture
      button.classList.toggle("left", left ? x > room : x > this.wide - room);
      button.style.left = `${x}px`;
      button.style.top = `${y}px`;
      button.setAttribute("aria-label", `${name}: ${where.join(", ")}. Arrow keys move it.`);
    };
    button.addEventListener("pointerdown", (event) => button.setPointerCapture(event.pointerId));
    button.addEventListener("pointermove", (event) => button.hasPointerCapture(event.pointerId) && handle.move(this.from(event)));
    button.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key];
      if (!way) return;
      event.preventDefault();
      const step = (event.shiftKey ? 5 : 1) / 50;
      handle.move(handle.at.map((one, k) => one + way[k] * step * (this.box[k][1] - this.box[k][0])));
    });
    this.frame.append(button);
    this.handles.push(handle);
    return handle;
  }
}

/** The exact denoiser of weighted atoms with Gaussian blur, at y = x_t / alpha_t and r = sigma_t / alpha_t. */
class Atoms {
  /** @param at [x, y, x, y, ...]; @param weights sum to 1; @param spread standard deviations of the blur, across and up. */
  constructor(at, weights, spread) {
    Object.assign(this, { at, log: Float64Array.from(weights, Math.log), spread });
  }

  static of({ at, weights, spread }) { return new Atoms(floats(at), floats(weights), spread); }

  /** Return E[x_0 | y, r] of points y, [x, y, x, y, ...], and log p_r(y) in nats. */
  exact(points, r) {
    const { at, spread } = this, n = points.length / 2, m = this.log.length;
    const total = spread.map((one) => one * one + r * r), kept = spread.map((one, k) => one * one / total[k]);
    const x0 = new Float64Array(2 * n), log = new Float64Array(n), joint = new Float64Array(m);
    for (let i = 0; i < n; i++) {
      const x = points[2 * i], y = points[2 * i + 1];
      let most = -Infinity, mass = 0, meanX = 0, meanY = 0;
      for (let k = 0; k < m; k++) {
        const dx = x - at[2 * k], dy = y - at[2 * k + 1];
        joint[k] = this.log[k] - (dx * dx / total[0] + dy * dy / total[1]) / 2;
        if (joint[k] > most) most = joint[k];
      }
      for (let k = 0; k < m; k++) {
        if (joint[k] < most - 35) continue;
        const share = Math.exp(joint[k] - most);
        mass += share;
        meanX += share * at[2 * k];
        meanY += share * at[2 * k + 1];
      }
      x0[2 * i] = meanX / mass + kept[0] * (x - meanX / mass);
      x0[2 * i + 1] = meanY / mass + kept[1] * (y - meanY / mass);
      log[i] = most + Math.log(mass) - Math.log(2 * Math.PI) - Math.log(total[0] * total[1]) / 2;
    }
    return { x0, log };
  }

  denoise(points, r) { return this.exact(points, r).x0; }
}

/** Return the sliced Wasserstein-2 distance of two sets of as many points, over 32 directions. */
function distance(one, other) {
  let sum = 0;
  for (let k = 0; k < 32; k++) {
    const [c, s] = [Math.cos(Math.PI * k / 32), Math.sin(Math.PI * k / 32)];
    const along = (points) => Float64Array.from({ length: points.length / 2 }, (_, i) => c * points[2 * i] + s * points[2 * i + 1]).sort();
    const [a, b] = [along(one), along(other)];
    sum += a.reduce((total, value, i) => total + (value - b[i]) ** 2, 0) / a.length;
  }
  return Math.sqrt(sum / 32);
}
