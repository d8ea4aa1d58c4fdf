// The curves of a schedule: alpha and sigma, which you can drag, and plots derived from them.

import { make, number } from "/words.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 360, HIGH = 230, LEFT = 44, RIGHT = 10, TOP = 12, BOTTOM = 26;
const LEAST = 0.001, LEAST_SIGMA = 1e-4, MOST_SIGMA = 1000;
const APART = 1.02; // minimum ratio of neighbouring sigmas
const NAMES = { alphas: "α, data", sigmas: "σ, noise" };

/** Create an SVG element with attributes. */
export function shape(tag, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

/** Move a knot; the others adapt, so that alpha never rises and sigma always does. */
export function moved(knots, curve, k, value) {
  const found = { alphas: [...knots.alphas], sigmas: [...knots.sigmas] }, one = found[curve], last = one.length - 1;
  if (curve === "alphas") {
    const to = Math.min(Math.max(value, LEAST), 1);
    one.forEach((was, j) => { one[j] = j < k ? Math.max(was, to) : j > k ? Math.min(was, to) : to; });
  } else {
    one[k] = Math.min(Math.max(value, LEAST_SIGMA * APART ** k), MOST_SIGMA / APART ** (last - k));
    for (let j = k - 1; j >= 0; j--) one[j] = Math.min(one[j], one[j + 1] / APART);
    for (let j = k + 1; j <= last; j++) one[j] = Math.max(one[j], one[j - 1] * APART);
  }
  for (const name of ["alphas", "sigmas"]) found[name] = found[name].map((each) => Number(each.toPrecision(5)));
  return found;
}

export class Curves {
  /** @param svg to draw in; @param said shows the focused point; @param onMove called with knots, and whether the drag has ended. */
  constructor(svg, said, onMove) {
    Object.assign(this, { svg, said, onMove, knots: null, top: 1, at: { alphas: 0, sigmas: 0 } });
    svg.setAttribute("viewBox", `0 0 ${WIDE} ${HIGH}`);
    this.axes = svg.appendChild(shape("g", { class: "axes" }));
    this.lines = Object.fromEntries(["sigmas", "alphas"].map((name) => [name, svg.appendChild(shape("path", { class: `line ${name}` }))]));
    this.words = Object.fromEntries(["sigmas", "alphas"].map((name) => [name, svg.appendChild(shape("text", { class: `word ${name}` }, NAMES[name]))]));
    this.handles = { alphas: [], sigmas: [] };
    svg.addEventListener("pointermove", (event) => this.drag && this.#move(event));
    for (const kind of ["pointerup", "pointercancel"]) svg.addEventListener(kind, () => this.#rest());
  }

  x(t) {
    return LEFT + t * (WIDE - LEFT - RIGHT);
  }

  y(value) {
    return HIGH - BOTTOM - value / this.top * (HIGH - TOP - BOTTOM);
  }

  /** Show the preview of a schedule; during a drag, its knots stay. */
  show({ knots, t, alpha, sigma }) {
    if (!this.drag) {
      this.knots = knots;
      this.top = 1.05 * Math.max(1, sigma.at(-1));
      this.#frame();
    }
    for (const [name, values] of [["alphas", alpha], ["sigmas", sigma]]) {
      this.lines[name].setAttribute("d", [...values].map((value, k) => `${k ? "L" : "M"}${this.x(t[k]).toFixed(2)} ${this.y(value).toFixed(2)}`).join(""));
    }
    this.#place();
  }

  #frame() {
    const parts = [];
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      parts.push(shape("line", { x1: this.x(share), x2: this.x(share), y1: TOP, y2: HIGH - BOTTOM, class: "rule" }));
      if (share % 0.5 === 0) parts.push(shape("text", { x: this.x(share), y: HIGH - 8, class: "tick", "text-anchor": share === 1 ? "end" : share ? "middle" : "start" }, share ? String(share) : "t = 0"));
    }
    for (const value of [0, 0.5, 1].map((share) => share * (this.top / 1.05))) {
      parts.push(shape("line", { x1: LEFT, x2: WIDE - RIGHT, y1: this.y(value), y2: this.y(value), class: "rule" }));
      parts.push(shape("text", { x: LEFT - 6, y: this.y(value) + 4, class: "tick", "text-anchor": "end" }, number(value, 2)));
    }
    this.axes.replaceChildren(...parts);
  }

  /** Place handles at the knots. */
  #place() {
    for (const curve of ["sigmas", "alphas"]) {
      const values = this.knots[curve], handles = this.handles[curve];
      while (handles.length > values.length) handles.pop().remove();
      while (handles.length < values.length) handles.push(this.#handle(curve, handles.length));
      this.at[curve] = Math.min(this.at[curve], values.length - 1);
      handles.forEach((handle, k) => {
        const t = (k + 1) / values.length;
        handle.setAttribute("transform", `translate(${this.x(t).toFixed(2)} ${this.y(values[k]).toFixed(2)})`);
        handle.setAttribute("tabindex", k === this.at[curve] ? 0 : -1);
        handle.setAttribute("aria-label", `${NAMES[curve]}, at t = ${number(t)}`);
        handle.setAttribute("aria-valuenow", values[k]);
        handle.setAttribute("aria-valuetext", number(values[k]));
        handle.setAttribute("aria-valuemin", curve === "alphas" ? LEAST : LEAST_SIGMA);
        handle.setAttribute("aria-valuemax", curve === "alphas" ? 1 : MOST_SIGMA);
      });
      const middle = Math.max(Math.ceil(values.length * (curve === "alphas" ? 0.3 : 0.75)) - 1, 0);
      const word = this.words[curve], t = (middle + 1) / values.length, above = this.y(values[middle]) > TOP + 34;
      word.setAttribute("x", this.x(t));
      word.setAttribute("y", this.y(values[middle]) + (above ? -12 : 24));
    }
  }

  #handle(curve, k) {
    const handle = shape("g", { role: "slider", class: `knot ${curve}` });
    handle.append(shape("circle", { r: 13, class: "reach" }), shape("circle", { r: 5, class: "dot" }));
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.svg.setPointerCapture(event.pointerId);
      this.drag = { curve, k, from: this.knots };
      this.#choose(curve, k);
    });
    handle.addEventListener("focus", () => this.#tell(curve, k));
    handle.addEventListener("keydown", (event) => this.#key(event, curve, k));
    this.svg.append(handle);
    return handle;
  }

  #choose(curve, k) {
    this.at[curve] = k;
    this.#place();
    this.handles[curve][k].focus({ preventScroll: true });
  }

  #move(event) {
    const { top, height } = this.svg.getBoundingClientRect(), y = (event.clientY - top) / height * HIGH;
    const { curve, k, from } = this.drag;
    const value = (HIGH - BOTTOM - y) / (HIGH - TOP - BOTTOM) * this.top;
    this.#set(moved(from, curve, k, value), curve, k, false);
  }

  #rest() {
    if (!this.drag) return;
    const { from } = this.drag;
    this.drag = null;
    if (this.knots !== from) this.onMove(this.knots, true);
  }

  #key(event, curve, k) {
    const to = { ArrowLeft: k - 1, ArrowRight: k + 1 }[event.key];
    const step = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (to === undefined && step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (to !== undefined) {
      if (this.handles[curve][to]) this.#choose(curve, to);
      return;
    }
    const far = (event.shiftKey ? 10 : 1) * step * (curve === "alphas" ? 0.01 : this.top / 105);
    this.#set(moved(this.knots, curve, k, this.knots[curve][k] + far), curve, k, true);
  }

  #set(knots, curve, k, rests) {
    this.knots = knots;
    this.#place();
    this.#tell(curve, k);
    this.onMove(knots, rests);
  }

  #tell(curve, k) {
    this.said.textContent = `${NAMES[curve]} = ${number(this.knots[curve][k])} at t = ${number((k + 1) / this.knots[curve].length)}`;
  }
}

/** Plot values against their positions from 0 to 1, with labels at both ends. */
export function plot(svg, places, values, { low, high, line, words, name }) {
  const width = 360, height = 96, left = 44, y = (value) => 10 + (high - Math.min(Math.max(value, low), high)) / (high - low) * (height - 30);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const x = (place) => left + place * (width - left - 10), parts = [];
  for (const value of [low, high]) parts.push(shape("text", { x: left - 6, y: y(value) + 4, class: "tick", "text-anchor": "end" }, number(value, 2)));
  if (line !== undefined) parts.push(shape("line", { x1: left, x2: width - 10, y1: y(line), y2: y(line), class: "rule strong" }));
  parts.push(shape("path", { class: "line own", d: [...values].map((value, k) => `${k ? "L" : "M"}${x(places[k]).toFixed(2)} ${y(value).toFixed(2)}`).join("") }));
  words.forEach((text, k) => parts.push(shape("text", { x: k ? width - 10 : left, y: height - 4, class: "tick", "text-anchor": k ? "end" : "start" }, text)));
  svg.replaceChildren(...parts);
  svg.setAttribute("aria-label", name);
}

/** Create a number field with a label. */
export function numberField(key, text, value, onChange) {
  const label = make("label", text, { htmlFor: `schedule-${key}` });
  const input = make("input", "", { type: "number", id: `schedule-${key}`, step: "any", value });
  input.addEventListener("change", () => input.value !== "" && onChange(Number(input.value)));
  return [label, input];
}
