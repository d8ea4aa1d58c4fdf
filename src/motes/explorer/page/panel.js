// One picture: a cloud that moves with the clock, its layers, and its captions.

import { difference, streaks } from "/field.js";
import { arrows, between, curve, density, lines, path, probe } from "/layers.js";
import { Painter, fitted } from "/paint.js";
import { PLACES, STEPS } from "/state.js";
import { count, make, number, samplerTitle } from "/words.js";

export class Panel {
  /** @param explorer has the state, the link and the colours; @param index of this panel in the state. */
  constructor(explorer, index) {
    this.explorer = explorer;
    this.index = index;
    const copy = document.getElementById("panel").content.cloneNode(true);
    this.figure = copy.querySelector("figure");
    for (const name of ["source", "steps", "in", "close", "frame", "points", "over", "message", "curve", "why"]) {
      this[name] = copy.querySelector(`.${name}`);
    }
    this.said = copy.querySelector(".reading .name");
    this.value = copy.querySelector(".reading .value");
    copy.querySelector("label").htmlFor = this.source.id = `source-${index}`;
    this.painter = new Painter(this.points);
    this.#fill();
    this.#listen();
  }

  get chosen() {
    return this.explorer.state.panels[this.index];
  }

  get isData() {
    return this.chosen.sampler === "data";
  }

  #fill() {
    const { samplers, about, limits } = this.explorer;
    if (about.data) this.source.append(make("option", "Data, dissolving", { value: "data" }));
    for (const [label, noisy] of [["Without noise (ODE)", false], ["With noise (SDE)", true]]) {
      const group = make("optgroup", "", { label });
      const own = samplers.filter(({ stochastic }) => stochastic === noisy);
      for (const { name } of own) group.append(make("option", samplerTitle(name), { value: name }));
      this.source.append(group);
    }
    const all = [...new Set([...STEPS, this.chosen.steps, about.steps])].filter((steps) => steps > 0 && steps <= limits.steps);
    for (const steps of all.sort((a, b) => a - b)) this.steps.append(make("option", String(steps), { value: steps }));
  }

  #listen() {
    const { explorer } = this;
    this.source.addEventListener("change", () => explorer.change((state) => {
      const sampler = this.source.value;
      state.panels[this.index] = { sampler, steps: sampler === "data" ? 0 : this.chosen.steps || explorer.about.steps };
    }));
    this.steps.addEventListener("change", () => explorer.change((state) => {
      state.panels[this.index] = { ...this.chosen, steps: Number(this.steps.value) };
    }));
    this.close.addEventListener("click", () => explorer.change((state) => state.panels.splice(this.index, 1)));
    this.frame.addEventListener("pointermove", (event) => {
      const at = this.where(event);
      if (explorer.conditions.drags) return explorer.conditions.drag(at);
      this.frame.dataset.grabs = explorer.conditions.near(at);
      explorer.point(at);
      if (event.buttons & 1) explorer.drop(at);
    });
    this.frame.addEventListener("pointerdown", (event) => {
      const at = this.where(event);
      if (event.button === 0 && explorer.conditions.grab(at)) return this.frame.setPointerCapture(event.pointerId);
      explorer.point(at);
      if (event.button === 0) explorer.drop(at);
    });
    for (const kind of ["pointerup", "pointercancel"]) this.frame.addEventListener(kind, () => explorer.conditions.release());
    this.frame.addEventListener("pointerleave", () => explorer.point(null));
    this.frame.addEventListener("blur", () => explorer.point(null));
    this.frame.addEventListener("keydown", (event) => explorer.pointByKey(event));
  }

  /** Return the point of the plane under the pointer. */
  where(event) {
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    const [[x0, x1], [y0, y1]] = this.explorer.about.box;
    return [x0 + (event.clientX - left) / width * (x1 - x0), y1 - (event.clientY - top) / height * (y1 - y0)];
  }

  /** Request the chosen points. */
  async load() {
    const { explorer, chosen } = this, { link, state } = explorer;
    this.frame.setAttribute("aria-label", `Picture ${this.index + 1}: ${this.isData ? "real points with noise" : `points drawn by ${samplerTitle(chosen.sampler)}`}. Arrow keys move the point for "At one point".`);
    const about = explorer.samplers.find((one) => one.name === chosen.sampler);
    this.source.value = chosen.sampler;
    this.steps.value = String(chosen.steps);
    this.in.hidden = this.isData;
    this.close.hidden = state.panels.length === 1;
    this.why.textContent = this.isData ? "Real points with noise, which the network learns to remove." : sentence(about);
    const asked = { ...explorer.named, n: state.n, seed: state.seed };
    this.tell("");
    try {
      if (this.isData) {
        const found = await link.ask("cloud", asked, this.index);
        this.chain = this.distance = null;
        const both = new Float32Array(found.points.length * 2);
        both.set(found.points);
        both.set(found.noise, found.points.length);
        this.painter.load(both, found.points.shape[0]);
        this.loaded = "data";
      } else {
        const how = { ...asked, sampler: chosen.sampler, steps: chosen.steps };
        const waiting = setTimeout(() => this.tell("Drawing the points …"), 400);
        const found = await link.ask("chain", how, this.index).finally(() => clearTimeout(waiting));
        this.tell("");
        this.distance = null;
        this.chain = { ...found.header, clock: found.clock, stops: found.stops };
        this.painter.load(found.points, found.points.shape[1]);
        this.loaded = "chain";
        explorer.redraw();
        if (explorer.about.data) this.distance = await link.ask("distance", how, this.index);
      }
      explorer.redraw();
    } catch (error) {
      if (error) this.tell(error.message);
    }
  }

  tell(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  /** Return the current step: the number k of stops passed, and the share of the way to the next one. */
  step(place) {
    const { clock } = this.chain;
    let k = 0;
    while (k + 2 < clock.length && clock[k + 1] > place) k++;
    const share = Math.min(Math.max((clock[k] - place) / (clock[k] - clock[k + 1]), 0), 1);
    return { k, share };
  }

  /** Return which clouds are mixed at a place of the clock, and how. */
  mixture(place) {
    const { explorer } = this, { about, colours, state } = explorer;
    const shown = { box: about.box, glow: explorer.dark, seen: state.layers.includes("points") };
    if (this.loaded === "data") {
      const alpha = explorer.alpha[place], sigma = explorer.sigma[place], zoom = Math.hypot(alpha, sigma);
      const mix = [alpha / zoom, sigma / zoom];
      const shift = about.mean.map((mean) => mean * (1 - mix[0]));
      return { ...shown, first: 0, second: 1, mix, shift, colour: colours.exact };
    }
    const { k, share } = this.step(place);
    return { ...shown, first: k, second: k + 1, mix: [1 - share, share], shift: [0, 0], colour: colours.learned };
  }

  draw(place) {
    if (this.loaded) this.painter.draw(this.mixture(place));
    this.#over(place);
    this.#read(place);
  }

  #over(place) {
    const { explorer, over } = this, { state } = explorer;
    const asked = state.known || explorer.pointed || explorer.particle || state.layers.some((name) => name !== "points");
    over.hidden = !asked; // an empty canvas over the points is as slow as a full one
    if (!asked) return;
    const ratio = fitted(over), context = over.getContext("2d"), { width, height } = over;
    context.clearRect(0, 0, width, height);
    this.cover(context, place, width, height, ratio);
  }

  /** Draw the layers over the points, on a canvas or an object with the same methods. */
  cover(context, place, width, height, ratio) {
    const { explorer } = this, { about, colours, state } = explorer;
    const sides = state.side === "both" ? ["exact", "learned"] : [state.side];
    const field = explorer.field(place);
    if (field.field) streaks(context, field.field, sides, colours, about.box, width, height);
    if (field.difference) difference(context, field.difference, colours, width, height);
    if (field.density && state.layers.includes("density")) density(context, field.density, sides, colours, width, height);
    if (field.density && state.layers.includes("lines")) lines(context, field.density, sides, colours, width, height, ratio);
    if (field.score) arrows(context, field.score, sides, colours, about.box, about.scale, width, height, ratio);
    if (explorer.particle) path(context, explorer.particle, place, sides, colours, about.box, width, height, ratio);
    explorer.conditions.draw(context, about.box, width, height, ratio);
    if (explorer.pointed) probe(context, explorer.pointed, explorer.probed, colours, explorer.ink, about.box, width, height, ratio);
  }

  #read(place) {
    const { explorer } = this;
    if (this.loaded === "data") {
      const alpha = explorer.alpha[place], sigma = explorer.sigma[place];
      this.said.textContent = `xₜ = ${number(alpha)} · data + ${number(sigma)} · noise`;
      this.value.textContent = "";
      this.curve.hidden = true;
      return;
    }
    this.said.textContent = this.loaded === "chain" ? this.progress(place) : "";
    this.curve.hidden = !explorer.about.data; // reserve its space, so that nothing below it moves
    this.value.textContent = "";
    if (!this.distance) {
      this.curve.setAttribute("aria-label", "The distance to real points is not computed yet");
      this.curve.getContext("2d").clearRect(0, 0, this.curve.width, this.curve.height);
      return;
    }
    const { clock, distance, reference } = this.distance;
    const [now, two] = [distance, reference].map((values) => between(clock, values, place));
    this.value.textContent = `distance ${now.toFixed(3)}`;
    this.curve.setAttribute("aria-label", `Distance to real points ${now.toFixed(3)}; reference value ${two.toFixed(3)}`);
    this.now = { distance: now, reference: two };
    curve(this.curve, this.distance, place, PLACES, explorer.colours, explorer.soft);
  }

  /** Steps and evaluations done. */
  progress(place) {
    const { steps, evaluations, stops } = this.chain, { k, share } = this.step(place);
    const done = Math.round(stops[share === 1 ? k + 1 : k]);
    const asked = evaluations === null ? "adaptive" : `${count(Math.min(done * evaluations, total(steps, evaluations)))} of ${count(total(steps, evaluations))} evaluations`;
    return `step ${count(done)} of ${count(steps)}, ${asked}`;
  }

  /** Description for screen readers. */
  get summary() {
    if (this.isData) return "real points with noise";
    const { sampler, steps } = this.chosen, now = this.distance && this.now;
    const far = now ? `, distance to real points ${now.distance.toFixed(3)}, reference value ${now.reference.toFixed(3)}` : "";
    return `${samplerTitle(sampler)} in ${steps} steps${far}`;
  }
}

/** Evaluations of all steps: the last one, to the data, needs one. */
const total = (steps, evaluations) => (steps - 1) * evaluations + 1;

function sentence({ order, stochastic, when }) {
  return `${stochastic ? "Adds noise in each step" : "No noise during sampling"}; order ${order}. When to use it: ${when}.`;
}
