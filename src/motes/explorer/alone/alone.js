// The page without a server: a clock, real points, samples of the network, arrows and a particle.

import { chain, floats, levels, Network, normal, step } from "/model.js";
import { arrows, onCanvas } from "/layers.js";
import { Painter, colour, fitted } from "/paint.js";
import { number } from "/words.js";

const { about, clock, network: parts, data: real, least } = JSON.parse(document.getElementById("model").textContent);
const network = new Network(parts.layers, parts.sigmaData);
const [alpha, sigma] = [floats(clock.alpha), floats(clock.sigma)], places = alpha.length - 1;
const level = (place) => sigma[place] / alpha[place], most = level(places);
const CELLS = 20, SECONDS = 7, REST = 1.6, LEGS = 64;
const id = (name) => document.getElementById(name);
const painters = ["real", "drawn"].map((name) => new Painter(id(name)));
const state = { place: places, direction: window.matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : -1, resting: 0, exact: places };
let points, stops, particle = null, seed = 0, stale = true;

/** Convert y at noise level r to drawn points: divided by sqrt(1 + r^2), in the data's units. */
const shown = (y, r) => y.map((value, k) => about.mean[k % 2] + about.scale[k % 2] * value / Math.hypot(1, r));
const unshown = (u, r) => u.map((value, k) => (value - about.mean[k % 2]) / about.scale[k % 2] * Math.hypot(1, r));

/** Return the place of a noise level on the clock. */
function placeOf(r) {
  let [low, high] = [0, places];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (level(middle) > r) high = middle; else low = middle;
  }
  return r <= 0 ? 0 : low + (r - level(low)) / (level(high) - level(low));
}

function draw() {
  const n = Number(id("count").value), steps = Number(id("steps").value), heun = id("sampler").value === "heun";
  points = floats(real).slice(0, 2 * n);
  const m = points.length / 2, noise = normal(4 * n, seed).slice(0, 2 * m);
  const both = new Float32Array(4 * m);
  both.set(points);
  both.set(noise.map((one, k) => one * about.scale[k % 2]), 2 * m);
  painters[0].load(both, m);
  const all = levels(steps, most, least), begin = performance.now();
  const start = normal(2 * n, seed + 1).map((one) => one * Math.hypot(1, most));
  const found = chain(network, start, all, heun);
  stops = all.map(placeOf);
  const clouds = new Float32Array(2 * n * found.length);
  found.forEach((y, k) => clouds.set(shown(y, all[k]), 2 * n * k));
  painters[1].load(clouds, n);
  id("took").textContent = `${(heun ? 2 * steps - 1 : steps).toLocaleString("en")} evaluations of ${n.toLocaleString("en")} points in ${((performance.now() - begin) / 1000).toFixed(2)} s`;
  stale = true;
}

function paint() {
  const style = getComputedStyle(document.documentElement), named = (name) => style.getPropertyValue(name).trim();
  const colours = { learned: colour(named("--learned")), exact: colour(named("--exact")) };
  const { place } = state, glow = document.documentElement.dataset.theme === "dark", { box } = about;
  const zoom = Math.hypot(alpha[place], sigma[place]), mix = [alpha[place] / zoom, sigma[place] / zoom];
  painters[0].draw({ first: 0, second: 1, mix, shift: about.mean.map((mean) => mean * (1 - mix[0])), box, colour: colours.exact, glow, seen: true });
  let k = 0;
  while (k + 2 < stops.length && stops[k + 1] > place) k++;
  const share = Math.min(Math.max((stops[k] - place) / (stops[k] - stops[k + 1]), 0), 1);
  painters[1].draw({ first: k, second: k + 1, mix: [1 - share, share], shift: [0, 0], box, colour: colours.learned, glow, seen: true });
  for (const name of ["real-over", "drawn-over"]) {
    const canvas = id(name), ratio = fitted(canvas), context = canvas.getContext("2d"), { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    if (id("arrows").checked) arrows(context, field(place), ["learned"], colours, box, about.scale, width, height, ratio);
    if (particle) follow(context, colours, box, width, height, ratio);
  }
  id("clock").value = place;
  id("now").textContent = `noise σ/α ${number(level(place), 2)}`;
}

/** Return the score times the noise level at the centres of cells. */
function field(place) {
  const r = Math.max(level(place), least), at = [0, 1].map((j) => Array.from({ length: CELLS }, (_, k) => about.box[j][0] + (k + 0.5) / CELLS * (about.box[j][1] - about.box[j][0])));
  const u = Array.from({ length: 2 * CELLS * CELLS }, (_, k) => at[k % 2][k % 2 ? Math.floor(k / 2 / CELLS) : Math.floor(k / 2) % CELLS]);
  const y = unshown(u, r), x0 = network.denoise(y, r);
  const answer = { at: Object.assign([...at[0], ...at[1]], { shape: [2, CELLS] }) };
  answer.learned = y.map((value, k) => (x0[k] - value) / r * about.scale[k % 2]);
  return answer;
}

/** Compute the trajectory of a particle dropped at a point now. */
function drop(u) {
  const from = Math.max(state.place, placeOf(least) + 1), way = (to) => {
    const stops = Array.from({ length: LEGS + 1 }, (_, k) => from + k / LEGS * (to - from));
    const at = (place) => (place <= 0 ? 0 : level(Math.floor(place)) + (place % 1) * (level(Math.min(Math.floor(place) + 1, places)) - level(Math.floor(place))));
    let y = unshown(u, at(from));
    return stops.map((place, k) => {
      if (k) y = step(network, y, at(stops[k - 1]), at(place), true);
      return { place, at: shown(y, at(place)) };
    });
  };
  particle = [...way(0).reverse(), ...way(places).slice(1)];
  stale = true;
}

function follow(context, colours, box, width, height, ratio) {
  context.strokeStyle = context.fillStyle = `rgb(${colours.learned.map((part) => Math.round(255 * part)).join(",")})`;
  context.lineWidth = 2.2 * ratio;
  context.beginPath();
  particle.forEach(({ at }) => context.lineTo(...onCanvas(at, box, width, height)));
  context.stroke();
  const now = particle.reduce((a, b) => (Math.abs(b.place - state.place) < Math.abs(a.place - state.place) ? b : a));
  context.beginPath();
  context.arc(...onCanvas(now.at, box, width, height), 6 * ratio, 0, 2 * Math.PI);
  context.fill();
}

function press(direction) {
  state.direction = state.direction === direction ? 0 : direction;
  if (state.direction < 0 && state.place === 0) state.place = places;
  if (state.direction > 0 && state.place === places) state.place = 0;
  state.exact = state.place;
  tell();
}

function tell() {
  id("to-data").setAttribute("aria-pressed", state.direction < 0);
  id("to-noise").setAttribute("aria-pressed", state.direction > 0);
  stale = true;
}

let before;
function tick(now) {
  const passed = Math.min((now - (before ?? now)) / 1000, 0.1);
  before = now;
  if (state.direction) {
    if (state.resting > 0) {
      state.resting -= passed;
      if (state.resting <= 0) {
        state.direction = -state.direction;
        tell();
      }
    } else {
      state.exact += state.direction * passed * places / SECONDS;
      state.place = Math.min(Math.max(Math.round(state.exact), 0), places);
      if (state.exact <= 0 || state.exact >= places) state.resting = REST;
    }
    stale = true;
  }
  if (stale) {
    stale = false;
    paint();
  }
  requestAnimationFrame(tick);
}

for (const name of ["count", "sampler", "steps"]) id(name).addEventListener("change", draw);
id("again").addEventListener("click", () => {
  seed += 2;
  draw();
});
id("arrows").addEventListener("change", () => { stale = true; });
id("to-data").addEventListener("click", () => press(-1));
id("to-noise").addEventListener("click", () => press(1));
id("clock").addEventListener("input", () => {
  state.direction = 0;
  state.place = Number(id("clock").value);
  tell();
});
for (const frame of document.querySelectorAll(".frame")) {
  const take = (event) => {
    const { left, top, width, height } = frame.getBoundingClientRect(), [[x0, x1], [y0, y1]] = about.box;
    if (event.buttons & 1) drop([x0 + (event.clientX - left) / width * (x1 - x0), y1 - (event.clientY - top) / height * (y1 - y0)]);
  };
  frame.addEventListener("pointerdown", take);
  frame.addEventListener("pointermove", take);
}
const light = window.matchMedia("(prefers-color-scheme: light)");
const theme = () => {
  document.documentElement.dataset.theme = light.matches ? "light" : "dark";
  stale = true;
};
light.addEventListener("change", theme);
window.addEventListener("resize", () => { stale = true; });
theme();
draw();
tell();
requestAnimationFrame(tick);
window.alone = { network, chain, levels, step, state, least, most };
