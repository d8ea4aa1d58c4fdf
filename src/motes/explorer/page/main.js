// The page: its state, its clock, and the parts that draw it.

import { Conditions } from "/conditions.js";
import { Link } from "/link.js";
import { colour } from "/paint.js";
import { Panel } from "/panel.js";
import { Planner } from "/recipe.js";
import { COUNTS, LAYERS, MOST_PANELS, Past, PLACES, QUANTITIES, SIDES, UNCONDITIONED, fresh, read, written } from "/state.js";
import { TableView } from "/table.js";
import { Taker } from "/take.js";
import { Tour } from "/tour.js";
import { TRAINING, Trainer } from "/train.js";
import { count, make, number, roam } from "/words.js";

const SECONDS = 7; // duration of a full pass at speed 0
const REST = 1.6; // seconds at either end
const CALM = 9; // pause between new pictures during training, relative to their duration: training gets nine tenths of the time
const LOOKS = 16; // places of the clock between two layers while it runs
const FIELDS = { // layer -> what it asks for, and under which name it is known
  arrows: { what: "score", known: "score", cells: 22 },
  density: { what: "density", known: "density", cells: 36 },
  lines: { what: "density", known: "density", cells: 36 },
  field: { what: "score", known: "field", cells: 48, slot: 1 },
  difference: { what: "density", known: "difference", cells: 36, slot: 1, of: "both" },
};
const ABOUT_LAYERS = {
  points: ["Points", "the cloud itself"],
  density: ["Density", "where points are likely at this time"],
  arrows: ["Arrows", "the score or the velocity at some points"],
  lines: ["Contours", "equal density: 0.5, 1.5, 3, 5 and 8 nats below its peak"],
  field: ["Streamlines", "the score or the velocity everywhere"],
  difference: ["Difference", "where the learned density is too high or too low"],
};
const QUANTITY_WORDS = { score: "score: the direction of higher density", velocity: "velocity: how points move towards data" };
const SIDE_WORDS = { learned: "learned", exact: "exact", both: "both" };

const id = (name) => document.getElementById(name);

class Explorer {
  async start() {
    this.link = new Link((why) => this.trouble(why));
    this.past = new Past();
    this.panels = [];
    this.fields = new Map();
    this.asking = new Set(); // requests about layers
    this.hurry = () => {}; // called to end a pause early
    this.paint();
    const hello = (await this.link.ask("hello")).header;
    Object.assign(this, { models: hello.models, samplers: hello.samplers, limits: hello.limits, shapes: hello.shapes });
    const wanted = new URLSearchParams(location.hash.slice(1)).get("model");
    await this.open(this.models.includes(wanted) ? wanted : this.models[0]);
    this.state = read(location.hash, this.about, this.samplers, this.limits);
    this.#fill();
    this.#listen();
    this.trainer = new Trainer(this);
    this.planner = new Planner(this);
    this.conditions = new Conditions(this);
    this.taker = new Taker(this);
    this.table = new TableView(this, hello.tables, hello.opens);
    this.tour = new Tour(this);
    this.show();
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!still && !location.hash) this.play(-1);
  }

  /** Load a model: its schedule and its description. */
  async open(name) {
    const found = await this.link.ask("open", { model: name, ...(name === TRAINING ? this.trainer.asked : {}) });
    Object.assign(this, { about: found.header.about, alpha: found.alpha, sigma: found.sigma });
    this.fields.clear();
    this.pointed = this.probed = this.particle = this.dropped = null;
    id("particle-note").textContent = "";
    id("clear").disabled = true;
  }

  /** The model for requests. */
  get named() {
    const { model } = this.state;
    return { model, ...this.conditions.asked, ...(model === TRAINING ? this.trainer.asked : {}) };
  }

  /** Show the training that has begun. */
  async watch() {
    if (!this.models.includes(TRAINING)) {
      this.models.push(TRAINING);
      id("models").append(make("button", "your training", { type: "button", role: "radio", value: TRAINING }));
    }
    if (this.state.model !== TRAINING) this.past.keep(this.state);
    this.took = undefined;
    await this.open(TRAINING);
    Object.assign(this.state, { model: TRAINING, ...UNCONDITIONED });
    this.#withoutTruth();
    this.show();
  }

  /** Draw again with other weights. Requests made meanwhile are drawn once, at the end. */
  async renew() {
    this.renewed = false;
    if (this.renewing) return;
    this.renewing = true;
    while (!this.renewed) {
      this.renewed = true;
      const begin = performance.now();
      await this.#again();
      const took = performance.now() - begin;
      await this.#calm(CALM * Math.min(took, this.took ?? 0)); // the first pictures include compilation
      this.took = took;
    }
    this.renewing = false;
  }

  /** Request everything that is shown of the model again. */
  async #again() {
    this.fields.clear();
    this.draw();
    const clouds = this.panels.filter((panel) => !panel.isData).map((panel) => panel.load());
    await Promise.all([...clouds, ...this.asking, this.conditions.ask(), this.dropAgain()]);
  }

  /** Leave the machine to a training at full speed for a while, or until `hurry` is called. */
  #calm(milliseconds) {
    if (!this.trainer.hurries) return null;
    return new Promise((done) => {
      this.hurry = done;
      setTimeout(done, milliseconds);
    });
  }

  // --- choices ---

  /** Change the state so that it can be undone. */
  async change(how) {
    const before = structuredClone(this.state);
    how(this.state);
    if (written(before) === written(this.state)) return;
    this.past.keep(before);
    await this.apply(before);
  }

  async apply(before) {
    if (before.model !== this.state.model) {
      await this.open(this.state.model);
      if (!(this.state.label in this.about.classes)) Object.assign(this.state, { label: null, guidance: 1 });
      if (!this.about.layers) this.state.known = null;
      this.#withoutTruth();
      if (!this.about.layers) this.state.layers = ["points"];
      if (!this.about.data) this.state.panels = this.state.panels.filter((one) => one.sampler !== "data");
      if (!this.state.panels.length) this.state.panels = fresh(this.about).panels;
    }
    this.show(before);
  }

  /** Hide what needs the exact distribution if it is unknown. */
  #withoutTruth() {
    if (this.about.exact) return;
    this.state.side = "learned";
    this.state.layers = this.state.layers.filter((name) => name !== "difference");
  }

  async undo() {
    const before = this.state, state = this.past.back();
    if (!state) return;
    this.state = { ...state, place: before.place };
    await this.apply(before);
  }

  reset() {
    return this.change((state) => Object.assign(state, fresh(this.about), { place: state.place }));
  }

  // --- display ---

  #fill() {
    for (const name of this.models) id("models").append(make("button", name.replaceAll("_", " "), { type: "button", role: "radio", value: name }));
    for (const side of SIDES) id("sides").append(make("button", SIDE_WORDS[side], { type: "button", role: "radio", value: side, className: `side-${side}` }));
    for (const name of LAYERS) {
      const label = make("label"), words = make("span");
      words.append(make("b", ABOUT_LAYERS[name][0]), " ", make("span", ABOUT_LAYERS[name][1]));
      label.append(make("input", "", { type: "checkbox", value: name, id: `layer-${name}` }), words);
      id("layers").append(label);
    }
    for (const name of QUANTITIES) id("quantity").append(make("option", QUANTITY_WORDS[name], { value: name }));
    for (const n of [...new Set([...COUNTS, this.state.n])].filter((n) => n <= this.limits.points).sort((a, b) => a - b)) {
      id("count").append(make("option", count(n), { value: n }));
    }
    const { points, steps, futures, cells, sockets, trainings, training_steps: longest, rows, batch, width, depth, upload, columns } = this.limits;
    id("limits").textContent = `Limits of this page: ${count(points)} points, ${count(steps)} steps of a sampler, ${futures} random `
      + `futures, ${cells} cells per side of a layer, and trainings of ${count(longest)} steps on ${count(rows)} points, in batches of `
      + `${count(batch)}, with a network of ${depth} layers of width ${width}. A file has at most ${number(upload / 1e6)} MB and ${columns} columns. `
      + `Up to ${sockets} pages can be open at once, and ${trainings} of them can train. `
      + "All work stops when the page is closed. Nothing leaves this machine.";
  }

  #listen() {
    const choose = (box, key) => id(box).addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) this.change((state) => { state[key] = button.value; });
    });
    choose("models", "model");
    choose("sides", "side");
    for (const box of ["models", "sides"]) id(box).addEventListener("keydown", (event) => roam(event));
    id("layers").addEventListener("change", (event) => this.layer(event.target.value, event.target.checked));
    id("count").addEventListener("change", () => this.change((state) => { state.n = Number(id("count").value); }));
    id("seed").addEventListener("change", () => {
      const seed = Number(id("seed").value);
      if (Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32) this.change((state) => { state.seed = seed; });
      else id("seed").value = this.state.seed;
    });
    id("quantity").addEventListener("change", () => this.change((state) => { state.quantity = id("quantity").value; }));
    id("futures").addEventListener("change", () => this.dropAgain());
    id("clear").addEventListener("click", () => this.drop(null));
    id("more").addEventListener("click", () => this.change((state) => state.panels.push({ sampler: "euler", steps: 8 })));
    id("again").addEventListener("click", () => this.another());
    id("to-data").addEventListener("click", () => this.press(-1));
    id("to-noise").addEventListener("click", () => this.press(1));
    id("clock").addEventListener("input", () => {
      this.play(0);
      this.go(Number(id("clock").value));
    });
    id("undo").addEventListener("click", () => this.undo());
    id("reset").addEventListener("click", () => this.reset());
    id("theme").addEventListener("click", () => this.paint(this.dark ? "light" : "dark"));
    id("large").addEventListener("click", () => this.enlarge());
    id("keys").addEventListener("click", () => id("help").showModal());
    window.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("resize", () => {
      this.redraw();
      this.trainer.draw();
      this.table.draw();
    });
    window.addEventListener("hashchange", () => this.fromAddress());
    window.matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.paint());
  }

  layer(name, on) {
    return this.change((state) => { state.layers = LAYERS.filter((one) => (one === name ? on : state.layers.includes(one))); });
  }

  another() {
    return this.change((state) => { state.seed = (state.seed + 1) % 2 ** 32; });
  }

  async fromAddress() {
    if (location.hash.slice(1) === written(this.state)) return;
    const wanted = new URLSearchParams(location.hash.slice(1)).get("model"), before = structuredClone(this.state);
    if (this.models.includes(wanted) && wanted !== this.state.model) await this.open(wanted);
    this.state = read(location.hash, this.about, this.samplers, this.limits);
    this.past.keep(before);
    this.show();
  }

  /** Update the page to the state; with `before`, request only what has changed. */
  show(before) {
    const { state, about } = this;
    const same = before && ["model", "n", "seed", "label", "guidance"].every((key) => before[key] === state[key]);
    if (before && (before.label !== state.label || before.guidance !== state.guidance)) {
      this.fields.clear();
      this.last = {};
    }
    if (!before || before.panels.length !== state.panels.length || before.model !== state.model) this.#build();
    this.panels.forEach((panel, k) => {
      if (!same || panel.loaded === undefined || JSON.stringify(before.panels[k]) !== JSON.stringify(state.panels[k])) panel.load();
    });
    for (const [box, key] of [["models", "model"], ["sides", "side"]]) {
      for (const button of id(box).children) {
        const mine = button.value === state[key];
        button.setAttribute("aria-checked", mine);
        button.tabIndex = mine ? 0 : -1;
        button.disabled = box === "sides" && !about.exact && button.value !== "learned";
      }
    }
    for (const name of LAYERS) {
      const can = name === "points" || (about.layers && (name !== "difference" || about.exact));
      Object.assign(id(`layer-${name}`), { checked: state.layers.includes(name), disabled: !can });
    }
    id("quantity").value = state.quantity;
    id("quantity-field").hidden = !state.layers.some((name) => name === "arrows" || name === "field");
    id("about").textContent = `${about.title ? `${about.title[0].toUpperCase()}${about.title.slice(1)}. ` : ""}The network has ${count(about.parameters)} parameters.`;
    id("count").value = String(state.n);
    id("seed").value = String(state.seed);
    id("undo").disabled = !this.past.states.length;
    id("command").textContent = state.model === TRAINING ? "motes explore" : `motes explore ${state.model}`;
    this.address();
    this.tell();
    this.taker.tell();
    this.table.show();
    this.trainer.bring();
    this.planner.show(before);
    this.conditions.show(before);
    if (before && ["side", "seed", "label", "guidance"].some((key) => before[key] !== state[key])) this.dropAgain();
    this.redraw();
  }

  #build() {
    this.panels = this.state.panels.map((_, k) => new Panel(this, k));
    const frames = this.panels.map((panel) => panel.figure);
    id("panels").replaceChildren(...frames);
    id("panels").dataset.count = frames.length;
    id("more").hidden = frames.length >= MOST_PANELS;
  }

  /** Write the state into the address, once it no longer changes. */
  address() {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => history.replaceState(null, "", `#${written(this.state)}`), 200);
  }

  /** Set the colours, by the system's preference unless one was chosen. */
  paint(theme) {
    if (theme) this.theme = theme;
    const chosen = this.theme ?? (window.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
    document.documentElement.dataset.theme = chosen;
    this.dark = chosen === "dark";
    id("theme").textContent = this.dark ? "Light" : "Dark";
    const style = getComputedStyle(document.documentElement);
    const named = (name) => style.getPropertyValue(name).trim();
    this.colours = { learned: colour(named("--learned")), exact: colour(named("--exact")) };
    this.ink = named("--ink");
    this.soft = named("--soft");
    this.trainer?.draw();
    this.trainer?.pad.draw();
    this.table?.draw();
    this.redraw();
  }

  /** Switch between large and normal type. */
  enlarge() {
    const { dataset } = document.documentElement, large = !("large" in dataset);
    if (large) dataset.large = "";
    else delete dataset.large;
    id("large").setAttribute("aria-pressed", large);
    this.redraw();
    this.trainer.draw();
    this.table.draw();
  }

  // --- the clock ---

  /** Play towards data (-1) or noise (1), or pause (0). */
  play(direction) {
    this.direction = direction;
    this.resting = 0;
    if (direction < 0 && this.state.place === 0) this.state.place = PLACES;
    if (direction > 0 && this.state.place === PLACES) this.state.place = 0;
    this.exact = this.state.place;
    id("to-data").setAttribute("aria-pressed", direction < 0);
    id("to-noise").setAttribute("aria-pressed", direction > 0);
    if (!direction) this.rest();
    this.redraw();
  }

  press(direction) {
    this.play(this.direction === direction ? 0 : direction);
  }

  go(place) {
    this.state.place = Math.min(Math.max(Math.round(place), 0), PLACES);
    this.rest();
    this.redraw();
  }

  /** Update the address, the summary and the values once the clock stops. */
  rest() {
    this.address();
    clearTimeout(this.saying);
    this.saying = setTimeout(() => { id("summary").textContent = this.summary; }, 600);
    if (this.pointed) this.point(this.pointed);
  }

  tick(now) {
    this.awaited = false;
    const passed = Math.min((now - (this.before ?? now)) / 1000, 0.1);
    this.before = this.direction ? now : undefined;
    if (this.direction) this.#move(passed);
    if (this.stale) {
      this.stale = false;
      this.draw();
    }
    if (this.direction) this.#await();
  }

  /** Move the clock by some seconds. */
  #move(passed) {
    if (this.resting > 0) {
      this.resting -= passed;
      if (this.resting <= 0) this.play(-this.direction);
      return;
    }
    this.exact += this.direction * passed * PLACES / SECONDS * 2 ** Number(id("speed").value);
    this.state.place = Math.min(Math.max(Math.round(this.exact), 0), PLACES);
    if (this.direction < 0 ? this.exact <= 0 : this.exact >= PLACES) this.resting = REST;
    this.stale = true;
  }

  /** Draw in the next frame. If nothing moves, no frame is requested. */
  redraw() {
    this.stale = true;
    this.#await();
  }

  #await() {
    if (this.awaited) return;
    this.awaited = true;
    requestAnimationFrame((now) => this.tick(now));
  }

  draw() {
    if (!this.state) return;
    const { place } = this.state;
    id("clock").value = place;
    const text = `noise σ/α ${number(this.sigma[place] / this.alpha[place], 2)}`;
    id("now").textContent = text;
    id("clock").setAttribute("aria-valuetext", text);
    for (const panel of this.panels) panel.draw(place);
    this.frames = (this.frames ?? 0) + 1;
  }

  // --- layers ---

  /** Return the layers at a place: the answer, or the last one until it arrives. */
  field(place) {
    const { state } = this, found = {};
    const at = this.direction ? Math.round(place / LOOKS) * LOOKS : place;
    for (const [layer, one] of Object.entries(FIELDS)) {
      if (state.layers.includes(layer)) found[one.known] ??= this.#field(one, at);
    }
    return found;
  }

  #field({ what, known, cells, slot = 0, of = this.state.side }, place) {
    const { state } = this, name = `${known} ${of}`, ways = what === "score" ? { quantity: state.quantity } : {};
    const key = `${name} ${place} ${ways.quantity ?? ""}`;
    if (this.fields.has(key)) return this.fields.get(key);
    if (this.waiting?.[known] !== key) {
      (this.waiting ??= {})[known] = key;
      const asked = { ...this.named, of, place, cells, ...ways };
      const answered = this.link.ask(what, asked, slot).then((answer) => {
        this.fields.set(key, answer);
        if (this.fields.size > 400) this.fields.delete(this.fields.keys().next().value);
        this.last = { ...this.last, [name]: { model: asked.model, quantity: ways.quantity, answer } };
        this.waiting[known] = null;
        id("layer-note").textContent = "";
        this.redraw();
      }, (error) => {
        if (this.waiting[known] === key) this.waiting[known] = null;
        if (error) id("layer-note").textContent = error.message;
      }).finally(() => this.asking.delete(answered));
      this.asking.add(answered);
      if (what === "density" && of !== "exact") {
        id("layer-note").textContent = "A learned density takes a second: it is integrated along the flow.";
      }
    }
    const last = this.last?.[name];
    return last?.model === state.model && last.quantity === ways.quantity ? last.answer : undefined;
  }

  // --- one point ---

  /** Request the values at a point of the plane; null: none. */
  point(at) {
    this.pointed = this.about?.layers ? at : null;
    if (!this.pointed) this.probed = null;
    this.redraw();
    this.tell();
    if (!this.pointed || this.direction) return;
    this.link.ask("probe", { ...this.named, place: this.state.place, at }).then((answer) => {
      if (!this.pointed) return;
      this.probed = answer.header;
      this.redraw();
      this.tell();
    }, (error) => error && (id("probe-note").textContent = error.message));
  }

  /** Drop a particle at a point at this time; null removes it. */
  async drop(at) {
    this.dropped = this.about?.layers ? at && { at, place: this.state.place } : null;
    id("clear").disabled = !this.dropped;
    if (!this.dropped) {
      this.particle = null;
      id("particle-note").textContent = "";
      this.redraw();
      return;
    }
    const { side, seed } = this.state, many = id("futures").checked ? this.limits.futures : 0;
    try {
      const found = await this.link.ask("paths", { ...this.named, of: side, seed, many, ...this.dropped });
      if (!this.dropped) return;
      this.particle = found;
      this.#tellParticle();
      this.redraw();
    } catch (error) {
      if (error) id("probe-note").textContent = error.message;
    }
  }

  /** Describe the particle's start and end, and the nearest training point. */
  #tellParticle() {
    const { particle, about } = this, way = particle.learned ?? particle.exact, { nearest } = particle.header;
    const pair = (values) => about.columns.map((name, k) => `${name} = ${number(values[k])}`).join(", ");
    const near = nearest.at
      ? ` The nearest of the ${count(nearest.rows)} training points, marked by a ring, is ${number(nearest.distance, 2)} standard deviations away.` : "";
    id("particle-note").textContent = `From the noise at ${pair(way.slice(-2))} to the data at ${pair(way.slice(0, 2))}.${near}`;
  }

  /** Drop the particle again after a change of the model or the layers. */
  dropAgain() {
    return this.dropped && this.drop(this.dropped.at);
  }

  pointByKey(event) {
    if (event.key === "Enter" && this.pointed) this.drop(this.pointed);
    if (event.key === "Escape") this.drop(null);
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!move || !this.about.layers) return;
    event.preventDefault();
    event.stopPropagation();
    const far = event.shiftKey ? 0.1 : 0.02;
    const from = this.pointed ?? this.about.box.map(([low, high]) => (low + high) / 2);
    this.point(from.map((value, k) => {
      const [low, high] = this.about.box[k];
      return Math.min(Math.max(value + move[k] * far * (high - low), low), high);
    }));
  }

  /** Show the values at the point. */
  tell() {
    const body = id("probe").tBodies[0], { pointed, probed, about } = this;
    if (!pointed) {
      body.replaceChildren();
      id("probe-note").textContent = about?.layers === false ? "This needs a model with two columns."
        : "Hold the pointer over a picture, or focus it and use the arrow keys. The line leads to the mean of all data that could have become this point.";
      return;
    }
    const pair = (values) => `${number(values[0])}, ${number(values[1])}`;
    const rows = [["", "learned", "exact"]];
    const sides = ["learned", "exact"].map((side) => probed?.[side]);
    rows.push(["log p, nats", ...sides.map((one) => (one ? number(one.log_p, 4) : "–"))]);
    rows.push(["score", ...sides.map((one) => (one ? pair(one.score) : "–"))]);
    rows.push([`mean ${about.columns.join(", ")}`, ...sides.map((one) => (one ? pair(one.x0) : "–"))]);
    body.replaceChildren(...rows.map((cells, k) => {
      const row = make("tr");
      cells.forEach((text, column) => row.append(make(column && k ? "td" : "th", text, { className: k || !column ? "" : `is-${text}`, scope: column ? "col" : "row" })));
      return row;
    }));
    id("probe-note").textContent = this.direction ? `At ${pair(pointed)}. Pause to see the values.` : `At ${about.columns[0]} = ${number(pointed[0])}, ${about.columns[1]} = ${number(pointed[1])}.`;
  }

  // --- everything else ---

  get summary() {
    const { place } = this.state;
    const each = this.panels.map((panel, k) => `Picture ${k + 1}: ${panel.summary}.`).join(" ");
    return `${this.state.model.replaceAll("_", " ")}, noise ${number(this.sigma[place] / this.alpha[place], 2)} times the data. ${each}`;
  }

  key(event) {
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "z") {
        event.preventDefault();
        this.undo();
      }
      return;
    }
    const typing = event.target.closest?.("input:not([type=range]):not([type=checkbox]), select, dialog");
    if (typing || event.altKey) return;
    const onButton = event.target.closest?.("button, input[type=checkbox]");
    const far = event.shiftKey ? 64 : 8, { place } = this.state;
    const keys = {
      " ": () => this.press(this.direction || -1),
      ArrowLeft: () => this.scrub(place - far), ArrowRight: () => this.scrub(place + far),
      Home: () => this.scrub(0), End: () => this.scrub(PLACES),
      n: () => this.another(), x: () => this.table.unmask(), p: () => this.trainer.press(), m: () => this.enlarge(), u: () => this.undo(), r: () => this.reset(),
      t: () => this.paint(this.dark ? "light" : "dark"), "?": () => id("help").showModal(),
    };
    LAYERS.forEach((name, k) => { keys[k + 1] = () => this.layer(name, !this.state.layers.includes(name)); });
    SIDES.forEach((side) => { keys[side[0]] = () => (this.about.exact || side === "learned") && this.change((state) => { state.side = side; }); });
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || (onButton && event.key === " ")) return;
    const slides = event.target.closest?.("input[type=range]:not(#clock), [role=radiogroup]"); // these handle such keys themselves
    if (slides && /^(Arrow|Home|End)/.test(event.key)) return;
    event.preventDefault();
    act();
  }

  scrub(place) {
    this.play(0);
    this.go(place);
  }

  trouble(why) {
    id("trouble").textContent = why;
    id("trouble").hidden = false;
    if (this.state) this.play(0);
  }
}

window.explorer = new Explorer();
window.explorer.start().catch((error) => error && window.explorer.trouble(error.message));
