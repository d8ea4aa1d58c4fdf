// Interactive training: its data, its progress, and its snapshots.

import { lossCurve } from "/layers.js";
import { Sketchpad } from "/sketch.js";
import { count, make, number } from "/words.js";

export const TRAINING = "training"; // the name of its model
const DRAWN = "your drawing";
const DRAWN_NOISE = 0.05;
const SMOOTHED = 60; // points of the curve
const EVERY = 500; // milliseconds between two curves while it trains

const FILE = "your file";

const id = (name) => document.getElementById(name);

export class Trainer {
  constructor(explorer) {
    this.explorer = explorer;
    this.losses = [];
    this.news = null; // the last state sent by the server
    this.shown = 0; // step of the snapshot shown
    this.follows = true; // whether it is the newest one
    this.pad = new Sketchpad(id("sketch"), explorer.limits.nodes, () => this.#other());
    explorer.link.onNews = (header, arrays) => this.#take(header, arrays);
    for (const { name } of explorer.shapes) id("shape").append(make("option", name.replaceAll("_", " "), { value: name }));
    id("shape").append(make("option", DRAWN, { value: DRAWN }));
    this.#listen();
  }

  get draws() {
    return id("shape").value === DRAWN;
  }

  #listen() {
    id("shape").addEventListener("change", () => this.#choose(id("shape").value));
    id("train").addEventListener("click", () => this.press());
    id("one-step").addEventListener("click", () => this.#do({ do: "step", count: 1 }));
    id("pace").addEventListener("change", () => this.news?.plays && this.#do({ do: "play", pace: Number(id("pace").value) }));
    id("moment").addEventListener("input", () => {
      this.show(Number(id("moment").value));
      this.explorer.hurry();
    });
    id("weights").addEventListener("change", () => {
      this.explorer.renew();
      this.explorer.hurry();
    });
    id("open-file").addEventListener("click", () => id("file").click());
    id("file").addEventListener("change", () => this.upload(id("file").files[0]));
    for (const name of ["first", "second"]) id(name).addEventListener("change", () => this.#other());
    const section = document.querySelector(".train");
    for (const kind of ["dragover", "dragleave", "drop"]) {
      section.addEventListener(kind, (event) => {
        event.preventDefault();
        section.classList.toggle("dropping", kind === "dragover");
        if (kind === "drop" && event.dataTransfer.files[0]) this.upload(event.dataTransfer.files[0]);
      });
    }
  }

  /** Upload a file with columns of numbers to the server, which keeps it in memory. */
  async upload(file) {
    if (!file) return;
    const { upload: most } = this.explorer.limits;
    if (file.size > most) {
      this.#note(`The file is larger than ${count(most)} bytes, the maximum.`);
      return;
    }
    this.#note("Reading the file …");
    let found;
    try {
      found = await (await fetch(`/data${location.search}`, { method: "POST", body: file })).json();
    } catch {
      found = { error: "The file could not be sent to the server." };
    }
    id("file").value = "";
    this.#note(found.error ?? `${count(found.rows)} rows; about a tenth of them is held out for comparison.`);
    if (found.error) return;
    this.file = found;
    id("file-note").textContent = found.notes.join(" ");
    if (![...id("shape").options].some((one) => one.value === FILE)) id("shape").append(make("option", FILE, { value: FILE }));
    for (const [k, name] of ["first", "second"].entries()) {
      id(name).replaceChildren(...found.columns.map((column, place) => make("option", column, { value: place })));
      id(name).value = String(k);
    }
    if (this.explorer.state.learn === FILE) this.#other();
    else this.#choose(FILE);
  }

  /** Choose another shape, with its own noise and classes. */
  #choose(name) {
    return this.explorer.change((state) => {
      state.learn = name;
      delete state.changes["data.noise"];
      delete state.changes["data.label"];
    });
  }

  /** The rows have changed: the drawing, or the chosen columns. */
  #other() {
    this.fresh();
    this.explorer.planner.ask();
  }

  /** Update the form to the state. */
  bring() {
    const { learn } = this.explorer.state, known = [...id("shape").options].some((one) => one.value === learn);
    id("shape").value = known ? learn : id("shape").options[0].value; // only this page has the file
    const isFile = id("shape").value === FILE;
    id("easel").hidden = !this.draws;
    id("file-columns").hidden = id("file-note").hidden = !isFile;
    id("noise").disabled = id("rows").disabled = isFile;
    if (this.draws) this.pad.draw();
  }

  get #shape() {
    return this.explorer.shapes.find((one) => one.name === id("shape").value);
  }

  /** The default noise of the shape. */
  get noise() {
    return this.#shape ? this.#shape.noise : DRAWN_NOISE;
  }

  /** Number of classes of the shape. */
  get classes() {
    return this.#shape?.classes ?? 0;
  }

  /** Add the changes that the rows need: a drawing has no default noise. */
  complete(changes) {
    return this.draws ? { "data.noise": DRAWN_NOISE, ...changes } : changes;
  }

  /** The training data in a request. */
  get what() {
    const column = (name) => Number(id(name).value);
    if (this.draws) return this.pad.asked;
    if (id("shape").value === FILE) return { upload: this.file.upload, first: column("first"), second: column("second") };
    return { shape: id("shape").value };
  }

  /** The choices no longer match the training. */
  fresh() {
    if (this.news?.plays) this.#do({ do: "pause" });
    this.begun = false;
    this.#tell();
  }

  /** Start, continue or pause. */
  press() {
    if (!this.begun) return this.start();
    return this.#do(this.news?.plays ? { do: "pause" } : { do: "play", pace: Number(id("pace").value) });
  }

  async start() {
    this.#note("Preparing the network …");
    try {
      const found = await this.explorer.link.ask("train", { do: "start", ...this.explorer.planner.asked });
      Object.assign(this, { run: found.header.run, begun: true, follows: true, shown: 0 });
      this.#note("");
      await this.explorer.watch();
      await this.#do({ do: "play", pace: Number(id("pace").value) });
    } catch (error) {
      if (error) this.#note(error.message);
    }
  }

  async #do(options) {
    try {
      await this.explorer.link.ask("train", options);
    } catch (error) {
      if (error) this.#note(error.message);
    }
  }

  #note(text) {
    id("train-note").textContent = text;
  }

  #take(news, { losses }) {
    if (news.run === null) return;
    if (news.since === 0) this.losses = [];
    for (const loss of losses) this.losses.push(loss);
    this.news = news;
    if (news.error) this.#note(news.error);
    if (this.follows && this.begun && news.run === this.run) this.show(news.snapshots.length - 1);
    else this.#tell();
    if (!news.plays) this.explorer.hurry(); // new pictures no longer slow down a training
  }

  /** Show the snapshot with an index. */
  show(index) {
    const steps = this.news.snapshots, step = steps[index], changed = step !== this.shown;
    this.follows = index === steps.length - 1;
    this.shown = step;
    this.#tell();
    if (changed && this.explorer.state.model === TRAINING) this.explorer.renew();
  }

  /** Whether it trains at full speed. */
  get hurries() {
    return Boolean(this.begun && this.news?.plays) && id("pace").value === "0";
  }

  /** Options of requests about this model. */
  get asked() {
    return { snapshot: this.shown, weights: id("weights").value };
  }

  #tell() {
    const { news } = this, plays = Boolean(news?.plays && this.begun);
    const done = Boolean(this.begun && news && news.run === this.run && news.step >= news.steps);
    id("train").textContent = plays ? "Pause" : done ? "Trained" : this.begun ? "Continue" : "Train";
    id("train").disabled = done && !plays;
    id("train").setAttribute("aria-pressed", plays);
    id("one-step").disabled = !this.begun || plays || done;
    if (!news) return;
    id("moments").hidden = id("weights-field").hidden = news.snapshots.length < 2;
    id("moment").max = news.snapshots.length - 1;
    id("moment").value = Math.max(news.snapshots.indexOf(this.shown), 0);
    id("moment").setAttribute("aria-valuetext", `step ${count(this.shown)}`);
    const recent = this.losses.slice(-200), mean = recent.reduce((a, b) => a + b, 0) / recent.length;
    const floor = news.floor ? `, irreducible ${number(news.floor)}` : "";
    // The first step waits for its compilation, which other trainings make longer.
    id("course-name").textContent = plays && !news.step ? "compiling the training …" : `step ${count(news.step)} of ${count(news.steps)}; the pictures show step ${count(this.shown)}`;
    id("course-value").textContent = recent.length ? `loss ${number(mean)}${floor}` : "";
    const now = performance.now();
    if (plays && now < (this.drawn ?? 0) + EVERY) return;
    this.drawn = now;
    this.draw();
  }

  /** Draw the losses so far, each point a mean over some steps. */
  draw() {
    const { losses, news, explorer } = this;
    id("loss").hidden = !news;
    if (!news) return;
    const width = Math.max(Math.ceil(losses.length / SMOOTHED), 1), points = [];
    for (let k = 0; k < losses.length; k += width) {
      const part = losses.slice(k, k + width);
      points.push([k + part.length / 2, part.reduce((a, b) => a + b, 0) / part.length]);
    }
    const about = { steps: news.steps, floor: news.floor, shown: this.shown };
    lossCurve(id("loss"), points, about, explorer.colours, explorer.soft);
    id("loss").setAttribute("aria-label", `Loss over ${count(losses.length)} steps; ${id("course-value").textContent}`);
  }
}
