// The recipe of a training: its options, its preview, and its findings.

import { Curves, numberField, plot } from "/schedule.js";
import { TRAINING } from "/train.js";
import { count, make, number } from "/words.js";

const id = (name) => document.getElementById(name);

const RECIPES = ["default", "ddpm", "tutorial"];
const SCHEDULES = {
  exploding: "exploding: data stays, noise grows", continuous_linear: "linear, continuous", continuous_cosine: "cosine, continuous",
  rectified_flow: "rectified flow: straight lines", linear: "linear betas, in steps", quad: "squared betas, in steps",
  sigmoid: "sigmoid betas, in steps", cosine: "cosine betas, in steps", knots: "custom curves",
};
const NUMBERS = {
  sigma_max: "largest noise, σ at t = 1", rho: "exponent, ρ", steps: "steps, T", start: "first beta", end: "last beta",
  offset: "offset", max_beta: "largest beta", beta_min: "rate at t = 0", beta_max: "rate at t = 1", alpha_1: "data left, α at t = 1",
};
const FIELDS = {
  rows: "data.rows", width: "network.width", depth: "network.depth", batch: "training.batch", rate: "training.learning_rate",
  until: "training.steps", ema: "training.ema", decay: "training.decay", "loss-kind": "loss.kind",
};
const WITH_STEPS = ["linear", "quad", "sigmoid", "cosine"]; // kinds of schedule
const ANY_TIME = ["times.kind", "network.kind", "grid.steps"];
const WAIT = 120; // milliseconds without changes before a preview is requested

export class Planner {
  constructor(explorer) {
    this.explorer = explorer;
    this.curves = new Curves(id("curves"), id("curve-said"), (knots, rests) => this.#drag(knots, rests));
    for (const name of RECIPES) id("recipe").append(make("option", name, { value: name }));
    this.#listen();
  }

  get #trainer() {
    return this.explorer.trainer;
  }

  /** Options of requests about this recipe: the recipe, its changes, and the training data. */
  get asked() {
    const { recipe, changes, seed } = this.explorer.state;
    return { recipe, changes: this.#trainer.complete(merged(changes, this.draft ?? {})), seed, ...this.#trainer.what };
  }

  #listen() {
    id("recipe").addEventListener("change", () => this.explorer.change((state) => {
      state.recipe = id("recipe").value;
      state.changes = { "training.steps": Number(id("until").value) }; // a recipe may have more steps than the page allows
    }));
    for (const [name, key] of Object.entries(FIELDS)) {
      id(name).addEventListener("change", () => {
        const text = id(name).value;
        this.set({ [key]: text !== "" && Number.isFinite(Number(text)) ? Number(text) : text });
      });
    }
    id("noise").addEventListener("change", () => id("noise").value !== "" && this.set({ "data.noise": Number(id("noise").value) }));
    id("standardise").addEventListener("change", () => this.set({ "data.standardise": id("standardise").checked }));
    id("with-classes").addEventListener("change", () => this.set({ "data.label": id("with-classes").checked ? "class" : null }));
    id("schedule").addEventListener("change", () => {
      const kind = id("schedule").value;
      this.set(kind === "knots" ? this.#knots(this.curves.knots) : { "schedule.kind": kind, ...this.#atAnyTime(kind) });
    });
    id("schedule-reset").addEventListener("click", () => this.explorer.change((state) => {
      state.changes = without(state.changes, "schedule");
      for (const key of ANY_TIME) delete state.changes[key];
    }));
    id("diagnose").addEventListener("click", () => this.diagnose());
  }

  /** Change keys of the recipe; null removes a change, and a new kind removes the other keys of its section. */
  set(more) {
    return this.explorer.change((state) => { state.changes = merged(state.changes, more); });
  }

  #knots({ alphas, sigmas }) {
    const above = alphas.map((value) => Math.min(Math.max(Number(value.toPrecision(5)), 0.001), 1));
    const below = sigmas.map((value) => Number(value.toPrecision(5)));
    return { "schedule.kind": "knots", "schedule.alphas": above, "schedule.sigmas": below, ...this.#atAnyTime("knots") };
  }

  /** Changes of a recipe with steps for a continuous schedule: times, network and grid without steps. */
  #atAnyTime(kind) {
    const { recipe, steps } = this.plan ?? {};
    if (!steps || WITH_STEPS.includes(kind)) return {};
    return {
      ...(recipe.times.kind === "steps" && { "times.kind": "uniform" }),
      ...(recipe.network.kind === "step_gated" && { "network.kind": "residual" }),
      ...(recipe.grid.kind === "uniform" && !recipe.grid.steps && { "grid.steps": Math.min(steps, this.explorer.limits.steps) }),
    };
  }

  #drag(knots, rests) {
    const more = this.#knots(knots);
    if (!rests) {
      this.draft = more;
      this.#ask(0);
      return;
    }
    this.draft = null;
    this.set(more);
  }

  /** Update the page to the state; `before` is the previous state. */
  show(before) {
    const { recipe, changes, learn, seed } = this.explorer.state, was = this.shown;
    this.shown = { what: JSON.stringify([recipe, changes, learn]), seed };
    id("recipe").value = recipe;
    const other = was?.what !== this.shown.what;
    if (other && before) this.#trainer.fresh();
    if (other || was.seed !== seed) this.#ask(WAIT); // a new seed changes the rows of the preview, not the running training
  }

  /** Request the preview; the training data may have changed too, such as a drawing. */
  ask() {
    this.#ask(WAIT);
  }

  #ask(wait) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(async () => {
      try {
        const found = await this.explorer.link.ask("plan", this.asked);
        this.plan = { ...found.header, t: found.t, alpha: found.alpha, sigma: found.sigma, logSnr: found.log_snr, betas: found.betas };
        this.#say("");
        this.#fill();
      } catch (error) {
        if (error) this.#say(error.message);
      }
    }, wait);
  }

  #say(text) {
    id("plan-note").textContent = text;
  }

  #fill() {
    const { recipe, kinds } = this.plan, value = (key) => key.split(".").reduce((part, name) => part?.[name], recipe);
    for (const [box, section] of [["schedule", "schedule"], ["loss-kind", "loss"]]) {
      if (!id(box).options.length) for (const kind of kinds[section]) id(box).append(make("option", (section === "schedule" && SCHEDULES[kind]) || kind.replaceAll("_", " "), { value: kind }));
    }
    for (const [name, key] of Object.entries(FIELDS)) choose(id(name), value(key));
    id("recipe-about").textContent = `${recipe.about[0].toUpperCase()}${recipe.about.slice(1)}.`;
    id("schedule").value = recipe.schedule.kind;
    id("noise").value = recipe.data.noise ?? this.#trainer.noise;
    id("standardise").checked = recipe.data.standardise;
    id("with-classes").checked = recipe.data.label === "class";
    id("with-classes").disabled = !this.#trainer.classes;
    this.#schedule();
    this.#findings(id("findings"), this.plan.findings, "No problems detected before training.");
  }

  #schedule() {
    const { recipe, t, alpha, sigma, logSnr, betas, steps, prior, allowed, left } = this.plan;
    const own = Object.entries(recipe.schedule).filter(([key]) => NUMBERS[key]), names = own.map(([key]) => key).join();
    if (id("schedule-numbers").dataset.names !== names) {
      id("schedule-numbers").dataset.names = names;
      id("schedule-numbers").replaceChildren(...own.flatMap(([key, now]) => numberField(key, NUMBERS[key], now, (value) => this.set({ [`schedule.${key}`]: value }))));
    }
    for (const [key, now] of own) if (document.activeElement !== id(`schedule-${key}`)) id(`schedule-${key}`).value = now;
    id("schedule-reset").disabled = !Object.keys(this.explorer.state.changes).some((key) => key.startsWith("schedule."));
    this.curves.show(this.plan);
    plot(id("snr"), t, logSnr, {
      low: -12, high: 12, line: 0, words: ["data", "noise"],
      name: `Log of the signal-to-noise ratio, from data to noise; ${number(logSnr.at(-1))} at t = 1. It is 0 where signal and noise are equal.`,
    });
    id("betas").toggleAttribute("hidden", !steps);
    id("betas-said").textContent = steps
      ? `Beta, the variance that each of the ${count(steps)} steps adds: from ${number(betas[0], 2)} to ${number(betas.at(-1), 2)}.`
      : "This schedule is continuous, so it has no betas.";
    if (steps) {
      const places = [...betas].map((_, k) => (betas.length > 1 ? k / (betas.length - 1) : 0));
      plot(id("betas"), places, betas, { low: 0, high: Math.max(...betas), words: ["step 1", `step ${count(steps)}`], name: id("betas-said").textContent });
    }
    const power = left < 0.0005 ? "Less than 0.05 %" : left > 0.995 ? "All" : `${number(100 * left, 2)} %`;
    id("prior-value").textContent = `${number(prior, 2)} nats`;
    id("prior-value").className = prior > allowed ? "value wrong" : "value";
    id("prior-said").textContent = prior > allowed
      ? `Too large: sampling starts from another distribution than the forward process ends in. ${power} of the signal's power remains at t = 1.`
      : `Small enough: below ${number(allowed)} nats, it is not detectable in 10,000 samples. ${power} of the signal's power remains at t = 1.`;
  }

  /** List findings, each with its fix as a button. */
  #findings(list, findings, otherwise) {
    list.replaceChildren(...(findings.length ? findings.map((one) => this.#finding(one)) : [make("li", otherwise)]));
  }

  #finding({ name, meaning, fix, changes, beyond }) {
    const item = make("li", "", { className: "finding" });
    item.append(make("b", `${name.replaceAll("_", " ")}. `), make("span", meaning));
    if (!fix) {
      item.append(make("p", "No option fixes this; it needs other data.", { className: "small" }));
      return item;
    }
    const button = make("button", "Fix it and train", { type: "button", disabled: Boolean(beyond) });
    button.addEventListener("click", () => this.apply(changes));
    const line = make("div", "", { className: "field" });
    line.append(button, make("code", Object.entries(changes).map(([key, value]) => `${key} = ${value}`).join(", ")));
    item.append(line);
    if (beyond) item.append(make("p", `Beyond the limits of this page: ${beyond} In the terminal: motes train ${fix}`, { className: "small" }));
    return item;
  }

  /** Apply the changes of a fix, and train. */
  async apply(changes) {
    await this.set(changes);
    await this.#trainer.start();
  }

  /** Show the problems of the current model. */
  async diagnose() {
    const { explorer } = this, name = explorer.state.model === TRAINING ? "your training" : explorer.state.model.replaceAll("_", " ");
    id("diagnose-note").textContent = `Diagnosing ${name}; this takes up to a minute …`;
    id("found").replaceChildren();
    try {
      const { header } = await explorer.link.ask("diagnose", explorer.named);
      const { findings, against, total, real, parts, notes } = header;
      this.#findings(id("found"), findings, "No problems detected.");
      const split = Object.entries(parts).map(([part, value]) => `${part} ${number(value, 2)}`).join(", ");
      id("diagnose-note").textContent = `Evaluated ${name} against ${against}. Its squared distance is ${number(total, 2)}; the reference value is ${number(real, 2)}. `
        + `Sources of the difference: ${split}. ${notes.join(" ")}`;
    } catch (error) {
      if (error) id("diagnose-note").textContent = error.message;
    }
  }
}

/** Return changes without the keys of a section. */
export const without = (changes, section) => Object.fromEntries(Object.entries(changes).filter(([key]) => !key.startsWith(`${section}.`)));

/** Merge more changes into changes. */
export function merged(changes, more) {
  let found = { ...changes };
  for (const key of Object.keys(more)) if (key.endsWith(".kind")) found = without(found, key.split(".")[0]);
  for (const [key, value] of Object.entries(more)) {
    if (value === null) delete found[key];
    else found[key] = value;
  }
  return found;
}

/** Choose a value in a list; add it if necessary. */
function choose(select, value) {
  if (value === undefined) {
    select.disabled = true;
    return;
  }
  select.disabled = false;
  const all = [...select.options];
  if (!all.some((one) => one.value === String(value))) {
    const next = all.find((one) => Number(one.value) > value) ?? null;
    select.insertBefore(make("option", typeof value === "number" ? (value < 1 ? String(value) : count(value)) : String(value), { value }), next);
  }
  select.value = String(value);
}
