// The state of the page, its form in the address, and undo.

export const PLACES = 1024;
export const LAYERS = ["points", "density", "arrows", "lines", "field", "difference"];
export const QUANTITIES = ["score", "velocity"];
export const SIDES = ["learned", "exact", "both"];
export const COUNTS = [500, 1000, 2000, 5000, 10000, 20000];
export const STEPS = [1, 2, 4, 8, 16, 32, 64, 128, 256];
export const MOST_PANELS = 3;
const FIRST_COUNT = 5000;
const CHANGES = 60; // maximum changes of a recipe
export const UNCONDITIONED = { label: null, guidance: 1, known: null };

/** Return the initial state for a model. */
export function fresh(about) {
  const own = { sampler: about.sampler, steps: about.steps };
  return {
    model: about.name, n: FIRST_COUNT, seed: 0, place: PLACES,
    panels: about.data ? [{ sampler: "data", steps: 0 }, own] : [own],
    layers: ["points"], side: "learned", quantity: "score", ...UNCONDITIONED,
    learn: "swiss_roll", recipe: "default", changes: {},
    table: { name: "", row: {} },
  };
}

export function written(state) {
  const query = new URLSearchParams();
  query.set("model", state.model);
  query.set("n", state.n);
  query.set("seed", state.seed);
  query.set("at", state.place);
  query.set("show", state.panels.map((one) => (one.sampler === "data" ? "data" : `${one.sampler}.${one.steps}`)).join(","));
  query.set("layers", state.layers.join(","));
  query.set("side", state.side);
  if (state.quantity !== QUANTITIES[0]) query.set("vectors", state.quantity);
  if (state.table.name) query.set("table", state.table.name);
  if (Object.keys(state.table.row).length) query.set("row", JSON.stringify(state.table.row));
  if (state.label !== null) query.set("class", `${state.label}.${state.guidance}`);
  if (state.known) query.set("known", `${state.known.axis}.${state.known.value}`);
  if (state.learn !== "swiss_roll") query.set("learn", state.learn);
  if (state.recipe !== "default") query.set("recipe", state.recipe);
  for (const [key, value] of Object.entries(state.changes)) query.append("set", `${key}=${JSON.stringify(value)}`);
  return query.toString();
}

/** Read the state from an address; missing or invalid parts have their initial values. */
export function read(text, about, samplers, limits) {
  const query = new URLSearchParams(text.replace(/^#/, ""));
  const state = fresh(about);
  const whole = (name, low, high, otherwise) => {
    const value = query.has(name) ? Number(query.get(name)) : NaN;
    return Number.isInteger(value) && value >= low && value <= high ? value : otherwise;
  };
  state.n = whole("n", 1, limits.points, state.n);
  state.seed = whole("seed", 0, 2 ** 32 - 1, state.seed);
  state.place = whole("at", 0, PLACES, state.place);
  const known = new Set(samplers.map((one) => one.name));
  const panels = (query.get("show") ?? "").split(",").map((word) => {
    const [sampler, steps] = word.split(".");
    if (sampler === "data") return about.data ? { sampler, steps: 0 } : null;
    const count = Number(steps);
    return known.has(sampler) && Number.isInteger(count) && count >= 1 && count <= limits.steps
      ? { sampler, steps: count } : null;
  }).filter(Boolean);
  if (panels.length) state.panels = panels.slice(0, MOST_PANELS);
  if (query.has("layers")) state.layers = LAYERS.filter((name) => query.get("layers").split(",").includes(name));
  if (SIDES.includes(query.get("side")) && about.exact) state.side = query.get("side");
  if (QUANTITIES.includes(query.get("vectors"))) state.quantity = query.get("vectors");
  if (!about.exact) state.layers = state.layers.filter((name) => name !== "difference");
  if (!about.layers) state.layers = state.layers.filter((name) => name === "points");
  const [label, weight] = parts(query.get("class"));
  if (about.classes[label] !== undefined && weight >= 0 && weight <= limits.guidance) Object.assign(state, { label, guidance: weight });
  const [axis, value] = parts(query.get("known"));
  const [low, high] = about.box[axis] ?? [];
  if (about.layers && value >= low && value <= high) state.known = { axis, value };
  if (query.has("learn")) state.learn = query.get("learn");
  if (["ddpm", "tutorial"].includes(query.get("recipe"))) state.recipe = query.get("recipe");
  for (const text of query.getAll("set").slice(0, CHANGES)) {
    const [, key, said] = text.match(/^([a-z]+\.[a-z0-9_]+)=(.+)$/) ?? [];
    try {
      if (key) state.changes[key] = JSON.parse(said); // checked by the server
    } catch { /* as at first */ }
  }
  state.table = { name: query.get("table") ?? "", row: cells(query.get("row")) };
  return state;
}

/** Parse "1.0.5" as 1 and 0.5; [] for anything else. */
function parts(text) {
  const [, whole, rest] = (text ?? "").match(/^(\d+)\.(-?[\d.]+(?:e-?\d+)?)$/) ?? [];
  return whole === undefined || !Number.isFinite(Number(rest)) ? [] : [Number(whole), Number(rest)];
}

/** Parse the known cells in an address; the server checks them. */
function cells(text) {
  try {
    const row = JSON.parse(text ?? "{}");
    return row && typeof row === "object" && !Array.isArray(row) ? row : {};
  } catch {
    return {};
  }
}

/** Earlier states, for undo. */
export class Past {
  constructor(most = 100) {
    this.states = [];
    this.most = most;
  }

  keep(state) {
    this.states.push(structuredClone(state));
    if (this.states.length > this.most) this.states.shift();
  }

  back() {
    return this.states.pop();
  }
}
