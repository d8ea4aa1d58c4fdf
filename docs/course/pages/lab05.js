// Ancestral sampling with the exact denoiser of the moons, on CosineVP(alpha_1), t = 1, 1 - 1/N, ..., 0.

const COUNT = 600, MANY = 60, STEPS = [1, 2, 3, 5, 8, 12, 20, 35, 60, 100], SIGNALS = [0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
const plane = new Plane("plane", [[-2, 3], [-2.25, 2.75]]), bars = new Plane("bars", [[0, 1], [0, 4]]);
const exact = Atoms.of(data), all = floats(data.points), real = all.slice(0, 2 * COUNT), other = all.slice(2 * COUNT);
const known = new Map();
let seed = 1;

/** Return x_0 of a chain of n steps from x_T (2 count), with alpha_1 of the signal left. */
function reverse(start, n, signal, noise, last) {
  const theta = Math.acos(signal), alpha = (t) => Math.sin(Math.asin(signal) + theta * (1 - t)), sigma = (t) => Math.sin(theta * t);
  let x = start;
  for (let k = n; k > 0; k--) {
    const [t, s] = [k / n, (k - 1) / n], y = x.map((one) => one / alpha(t)), x0 = exact.denoise(y, sigma(t) / alpha(t));
    const kept = (sigma(s) / alpha(s) / (sigma(t) / alpha(t))) ** 2; // the share of the noise's variance that stays, in y
    const added = sigma(t) ** 2 - (alpha(t) / alpha(s) * sigma(s)) ** 2; // of q(x_t | x_s): beta
    const flow = noise === "none" ? Math.sqrt(kept) : kept;
    const sd = noise === "none" || (k === 1 && !last) ? 0 : Math.sqrt(noise === "beta" ? added : (1 - kept) * sigma(s) ** 2);
    const z = sd ? normal(x.length, 1000 * seed + k) : null;
    x = x.map((_, i) => alpha(s) * (x0[i] + flow * (y[i] - x0[i])) + (z ? sd * z[i] : 0));
  }
  return x;
}

/** Return the samples of a chain, from N(0, I) or from the true distribution of x_T; computed once. */
function chainOf(n, signal, noise, last, fromTruth) {
  const key = JSON.stringify([n, signal, noise, last, fromTruth, seed]);
  if (!known.has(key)) {
    if (known.size > 60) known.clear();
    const start = normal(2 * COUNT, seed).map((z, i) => (fromTruth ? signal * other[i] + Math.sqrt(1 - signal ** 2) * z : z));
    const samples = reverse(start, n, signal, noise, last);
    known.set(key, { start, samples, away: distance(samples, real) });
  }
  return known.get(key);
}

page(() => {
  const n = STEPS[value("steps", (k) => String(STEPS[k]))], signal = SIGNALS[value("signal", (k) => String(SIGNALS[k]))];
  const noise = id("noise").value, last = id("last").checked, chosen = chainOf(n, signal, noise, last, false);
  const parts = [
    ["this chain", chosen.away, "learned"],
    ["started from the true x_T", chainOf(n, signal, noise, last, true).away, "learned"],
    [`with ${MANY} steps`, chainOf(MANY, signal, noise, last, false).away, "learned"],
    ["two real samples", distance(other, real), "exact"],
  ];
  plane.clear();
  plane.dots(real, "exact", { size: 2, alpha: 0.5 });
  plane.dots(chosen.samples, "learned", { size: 2.2, alpha: 0.8 });
  bars.clear();
  const most = Math.max(0.25, ...parts.map(([, away]) => away));
  parts.forEach(([words, away, colour], k) => {
    const y = 3.42 - 0.98 * k;
    bars.bar(0.03, 0.03 + 0.78 * away / most, y - 0.34, y - 0.06, colour, { alpha: 0.85 });
    bars.text(words, [0.03, y + 0.16], "ink", { size: 12.5 });
    bars.text(away.toFixed(2), [0.03 + 0.78 * away / most, y - 0.2], colour, { dx: 7 });
  });
  window.lab = { ...chosen, n, signal, parts, reverse };
  const [whole, started, many, reference] = parts.map(([, away]) => away), worst = whole < 1.6 * reference ? null : started < many ? "start" : "steps";
  const why = { start: `Mostly the start is wrong: with α = ${signal} of the signal left, x_T is not N(0, I) yet.`, steps: `Mostly the steps are too few or their noise is wrong: a Gaussian step back is right only where the step is small.` }[worst] ?? "That is as close as two real samples are.";
  return `${n} ${n === 1 ? "step brings" : "steps bring"} the samples within ${whole.toFixed(2)} of real points; two real samples are ${reference.toFixed(2)} apart. ${why}`;
});
press("again", () => { seed += 1; });
