// Conditions of samples: a class, with guidance, and a known coordinate, set by dragging a line.

import { onCanvas } from "/layers.js";
import { make, number, roam } from "/words.js";

const id = (name) => document.getElementById(name);
const NEAR = 0.025; // distance from which the line can be grabbed, as a share of the picture
const BARS = 48;
const FEW = 30; // effective sample size below which an answer is unreliable
const DEEP = 0.2; // height of the highest bar, as a share of the picture
const css = (colour, share) => `rgba(${colour.map((part) => Math.round(255 * part)).join(",")},${share})`;

export class Conditions {
  constructor(explorer) {
    this.explorer = explorer;
    this.drags = false;
    this.answer = null; // of the line that is shown
    id("classes").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) explorer.change((state) => Object.assign(state, button.value === "" ? { label: null, guidance: 1 } : { label: Number(button.value) }));
    });
    id("guidance").addEventListener("input", () => this.#weigh());
    id("guidance").addEventListener("change", () => explorer.change((state) => { state.guidance = Number(id("guidance").value); }));
    id("axes").addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.#choose(button.value);
    });
    for (const box of ["classes", "axes"]) id(box).addEventListener("keydown", (event) => roam(event));
    id("known").addEventListener("input", () => this.#move(Number(id("known").value), false));
    id("known").addEventListener("change", () => this.#move(Number(id("known").value), true));
  }

  /** Options of requests about the current model. */
  get asked() {
    const { label, guidance } = this.explorer.state;
    return label === null ? {} : { label, guidance };
  }

  /** The line, while dragged or at rest. */
  get #line() {
    return this.moving ?? this.explorer.state.known;
  }

  #choose(text) {
    const { about } = this.explorer, axis = text === "" ? null : Number(text);
    return this.explorer.change((state) => {
      const [low, high] = about.box[axis] ?? [];
      state.known = axis === null ? null : { axis, value: Number(((low + high) / 2).toPrecision(4)) };
    });
  }

  #move(value, rests) {
    const { explorer } = this, { axis } = this.#line, [low, high] = explorer.about.box[axis];
    const known = { axis, value: Math.min(Math.max(Number(value.toPrecision(4)), low), high) };
    if (rests) {
      this.moving = null;
      explorer.change((state) => { state.known = known; });
      return;
    }
    this.moving = known;
    this.#tell();
    this.ask();
    explorer.redraw();
  }

  // --- on the picture ---

  /** Whether a point of the plane is close enough to grab the line. */
  near(at) {
    const line = this.#line;
    if (!line) return false;
    const [low, high] = this.explorer.about.box[line.axis];
    return Math.abs(at[line.axis] - line.value) < NEAR * (high - low);
  }

  grab(at) {
    this.drags = this.near(at);
    if (this.drags) this.explorer.point(null);
    return this.drags;
  }

  drag(at) {
    this.#move(at[this.#line.axis], false);
  }

  release() {
    if (!this.drags) return;
    this.drags = false;
    this.#move(this.#line.value, true);
  }

  // --- answers ---

  /** Request points on the line. */
  ask() {
    const { explorer } = this, line = this.#line;
    if (!line) return null;
    return explorer.link.ask("given", { ...explorer.named, ...line, seed: explorer.state.seed }).then((found) => {
      this.answer = { ...found.header, points: found.points, along: found.along, density: found.density };
      this.#tell();
      explorer.redraw();
    }, (error) => {
      if (error) id("known-note").textContent = error.message;
    });
  }

  /** Update the page to the state. */
  show(before) {
    const { state, about } = this.explorer;
    this.#chips("classes", ["all", ...about.classes], state.label);
    id("class-part").hidden = !about.classes.length;
    id("guidance-part").hidden = state.label === null;
    id("guidance").value = state.guidance;
    this.#weigh();
    this.#chips("axes", ["none", ...about.columns], state.known?.axis ?? null);
    id("known-part").hidden = !about.layers;
    id("line-part").hidden = !state.known;
    const changed = ["model", "seed", "label", "guidance", "known"].some((key) => JSON.stringify(before?.[key]) !== JSON.stringify(state[key]));
    if (!changed) return;
    if (!state.known || before?.model !== state.model || before?.known?.axis !== state.known.axis) this.answer = null;
    this.#tell();
    this.ask();
  }

  #chips(box, names, chosen) {
    const shown = [...id(box).children].map((one) => one.textContent).join("\n");
    if (shown !== names.join("\n")) {
      id(box).replaceChildren(...names.map((name, k) => make("button", name, { type: "button", role: "radio", value: k ? String(k - 1) : "" })));
    }
    for (const button of id(box).children) {
      const mine = button.value === (chosen === null ? "" : String(chosen));
      button.setAttribute("aria-checked", mine);
      button.tabIndex = mine ? 0 : -1;
    }
  }

  #weigh() {
    const weight = Number(id("guidance").value);
    id("guidance-value").textContent = number(weight);
    id("guidance").setAttribute("aria-valuetext", `${number(weight)}${weight === 1 ? ", no guidance" : ""}`);
  }

  #tell() {
    const line = this.#line, { about } = this.explorer;
    if (!line) {
      id("known-note").textContent = "";
      return;
    }
    const [low, high] = about.box[line.axis];
    Object.assign(id("known"), { min: low, max: high, step: (high - low) / 200 });
    id("known").value = line.value;
    id("known-value").textContent = `${about.columns[line.axis]} = ${number(line.value)}`;
    id("known").setAttribute("aria-valuetext", id("known-value").textContent);
    if (!this.answer) return;
    const { points, effective, warnings, density } = this.answer;
    const few = effective < FEW ? " This is too few for a reliable answer: the model has hardly any such points." : "";
    const exact = density ? " The blue line is the exact distribution." : "";
    id("known-note").textContent = `${points.shape[0]} points given this value, worth ${Math.round(effective)} independent ones.${few} The bars are their histogram along the line.${exact} ${warnings.join(" ")}`;
  }

  /** Draw the line, the points on it, their histogram, and the exact density. */
  draw(context, box, width, height, ratio) {
    const line = this.#line, { answer, explorer } = this;
    if (!line) return;
    const { axis } = line, other = 1 - axis, [low, high] = box[other], side = axis === 0 ? width : height;
    // Position on the canvas of a point along the line, and off it as a share of the picture.
    const at = (place, off) => {
      const point = [0, 0];
      point[axis] = line.value;
      point[other] = place;
      const [x, y] = onCanvas(point, box, width, height);
      return axis === 0 ? [x + off * side, y] : [x, y - off * side];
    };
    context.setLineDash([]);
    context.strokeStyle = explorer.ink;
    context.lineWidth = 1.5 * ratio;
    stroke(context, [at(low, 0), at(high, 0)]);
    if (!answer || answer.axis !== axis) return;
    const { points, along, density } = answer, count = points.shape[0], bins = new Float64Array(BARS), cell = (high - low) / BARS;
    for (let k = 0; k < count; k++) bins[Math.min(Math.max(Math.floor((points[2 * k + other] - low) / cell), 0), BARS - 1)] += 1 / (count * cell);
    const most = Math.max(...bins, ...(density ?? []));
    context.fillStyle = css(explorer.colours.learned, 0.45);
    bins.forEach((share, k) => {
      if (!share) return;
      const [x0, y0] = at(low + k * cell, 0), [x1, y1] = at(low + (k + 1) * cell, DEEP * share / most);
      context.fillRect(Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0));
    });
    if (density) {
      context.strokeStyle = css(explorer.colours.exact, 1);
      context.lineWidth = 1.8 * ratio;
      stroke(context, [...density].map((value, k) => at(along[k], DEEP * value / most)));
    }
    context.fillStyle = css(explorer.colours.learned, 0.9);
    for (let k = 0; k < count; k++) {
      const [x, y] = at(points[2 * k + other], 0);
      context.fillRect(x - ratio, y - ratio, 2 * ratio, 2 * ratio);
    }
  }
}

function stroke(context, places) {
  context.beginPath();
  places.forEach(([x, y], k) => (k ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
}
