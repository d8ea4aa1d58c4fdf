// Rectified flow, x_t = (1 - t) x_0 + t eps: dx/dt = E[eps - x_0 | x_t] = (x_t - x0_hat) / t, with the exact denoiser.

const COUNT = 300, SHOWN = 60, FINE = 64, EDGE = 1e-3, STEPS = [1, 2, 4, 8, 16, 32, 64], CELLS = 56;
const plane = new Plane("plane", [[-2.8, 2.8], [-2.8, 2.8]]);
const exact = Atoms.of(data), all = floats(data.points), real = all.slice(0, 2 * COUNT), other = all.slice(2 * COUNT);
let seed = 2, kept = {};

/** Return the velocity at points x_t. */
function velocity(x, t) {
  const u = Math.min(Math.max(t, EDGE), 1 - EDGE), x0 = exact.denoise(x.map((one) => one / (1 - u)), u / (1 - u));
  return x.map((one, k) => (one - x0[k]) / u);
}

/** Return the points at t = 1, 1 - 1/n, ..., 0 by Euler's method. */
function flow(noise, n) {
  const found = [noise];
  for (let k = 0; k < n; k++) {
    const way = velocity(found[k], 1 - k / n);
    found.push(found[k].map((one, i) => one - way[i] / n));
  }
  return found;
}

/** Return what is computed once for each noise. */
function paths(mode, n) {
  const key = `${seed} ${mode} ${n}`;
  if (!kept[key]) {
    const noise = normal(2 * COUNT, seed);
    kept[key] = mode === "pairs" ? [noise, other] : mode === "reflow" ? [noise, paths("flow", FINE).at(-1)] : flow(noise, n);
  }
  return kept[key];
}

page(() => {
  const mode = id("mode").value, n = STEPS[value("steps", (k) => String(STEPS[k]))], t = value("t", (one) => one.toFixed(2));
  const found = paths(mode, mode === "flow" ? n : 1), last = found.length - 1, at = (1 - t) * last, k = Math.min(Math.floor(at), last - 1);
  const now = found[k].map((one, i) => one + (at - k) * (found[k + 1][i] - one)), side = mode === "pairs" ? "exact" : "learned";
  plane.clear();
  plane.shade(exact.exact(plane.cells(CELLS), 0).log.map(Math.exp), CELLS, "exact", 0.3);
  for (let i = 0; i < 2 * SHOWN; i += 2) plane.line(found.flatMap((one) => [one[i], one[i + 1]]), side, { width: 1, alpha: 0.4 });
  plane.dots(now, side, { size: 2.3, alpha: 0.9 });
  let long = 0, straight = 0;
  for (let i = 0; i < 2 * COUNT; i += 2) {
    long += found.slice(1).reduce((sum, one, j) => sum + Math.hypot(one[i] - found[j][i], one[i + 1] - found[j][i + 1]), 0);
    straight += Math.hypot(found[last][i] - found[0][i], found[last][i + 1] - found[0][i + 1]);
  }
  const away = distance(found[last], real), words = { pairs: "random pairs", flow: `the flow, ${n} ${n === 1 ? "step" : "steps"}`, reflow: "reflowed pairs, 1 step" }[mode];
  id("named").textContent = words;
  id("length").textContent = (long / straight).toFixed(2);
  id("away").textContent = away.toFixed(2);
  id("reference").textContent = distance(other, real).toFixed(2);
  window.lab = { mode, n, away, end: found[last], noise: found[0], velocity };
  return {
    pairs: "Each line is one example of training. They cross everywhere: at a crossing, the network can only learn their mean velocity.",
    flow: n === 1 ? "One step follows the first velocity all the way: every noise lands near the mean of the data." : `${n} steps follow the mean velocity, whose paths never cross. They end ${away.toFixed(2)} from real points.`,
    reflow: "Each noise goes straight to where its flow ended. These lines hardly cross, so a network trained on them, or a one-step map, can go at once.",
  }[mode];
});
press("again", () => {
  seed += 1;
  kept = {};
});
