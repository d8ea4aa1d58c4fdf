// Guidance (Ho & Salimans 2022) and a known coordinate (replacement; particles: Trippe et al. 2023), with exact denoisers.

const COUNT = 400, MOST = 8, LEAST = 0.02, STEPS = 20, SPREAD = 0.2, ARMS = 3, ATOMS = 12, BINS = 40;
const plane = new Plane("plane", [[-2.4, 2.4], [-2.4, 2.4]]);
const arm = (label) => Float32Array.from({ length: 2 * ATOMS }, (_, k) => {
  const along = 0.25 + 1.35 * Math.floor(k / 2) / (ATOMS - 1), angle = 2 * Math.PI * label / ARMS + 0.9 + 0.8 * along;
  return along * (k % 2 ? Math.sin(angle) : Math.cos(angle));
});
const mixture = (at) => new Atoms(at, Array(at.length / 2).fill(2 / at.length), [SPREAD, SPREAD]);
const arms = Array.from({ length: ARMS }, (_, label) => arm(label)), classes = arms.map(mixture), every = mixture(arms.flatMap((one) => [...one]));
const line = plane.handle("x", [-0.5, -2.2], { along: "x" });
const all = levels(STEPS, MOST, LEAST);
let seed = 1;

/** Real points of some arms: each atom as often, with noise. */
const points = (which) => normal(2 * COUNT, seed + 77).map((z, k) => arms[which[(k >> 1) % which.length]][2 * (Math.floor((k >> 1) / which.length) % ATOMS) + k % 2] + SPREAD * z);

/** Draw points given x = known: its noisy copies replace x; with particles, points are drawn anew by their weights. */
function given(known, particles) {
  let y = normal(2 * COUNT, seed).map((z) => z * MOST);
  // One noisy path of the known coordinate, from data to noise: r grows by independent noise.
  const steps = normal(all.length, seed + 5), path = Array(all.length).fill(known);
  for (let k = all.length - 2; k >= 0; k--) path[k] = path[k + 1] + Math.sqrt(all[k] ** 2 - all[k + 1] ** 2) * steps[k];
  const uniform = all.map((_, k) => Math.atan2(...normal(2, 41 * seed + k)) / (2 * Math.PI) + 0.5);
  for (let k = 0; k + 1 < all.length; k++) {
    y.forEach((_, i) => { if (i % 2 === 0) y[i] = path[k]; });
    const [r, s] = [all[k], all[k + 1]], x0 = every.denoise(y, r), kept = (s / r) ** 2, sd = s * Math.sqrt(1 - kept), z = normal(2 * COUNT, 31 * seed + k);
    const mean = y.map((one, i) => x0[i] + kept * (one - x0[i]));
    if (particles && s > 0) {
      const log = Float64Array.from({ length: COUNT }, (_, i) => -((path[k + 1] - mean[2 * i]) ** 2) / (2 * sd * sd)), most = Math.max(...log);
      const weights = log.map((one) => Math.exp(one - most)), sum = weights.reduce((a, b) => a + b), chosen = new Float64Array(2 * COUNT);
      for (let i = 0, at = 0, passed = weights[0]; i < COUNT; i++) {
        while (passed < (i + uniform[k]) / COUNT * sum && at + 1 < COUNT) passed += weights[++at];
        chosen.set([mean[2 * at], mean[2 * at + 1]], 2 * i);
      }
      y = chosen.map((one, i) => one + sd * z[i]);
    } else y = mean.map((one, i) => one + sd * z[i]);
  }
  return y.map((one, i) => (i % 2 ? one : known));
}

function guided() {
  const weight = value("weight", (w) => w.toFixed(2)), label = Number(id("label").value), own = points([label]);
  const denoiser = { denoise: (y, r) => {
    const together = every.denoise(y, r), one = classes[label].denoise(y, r);
    return together.map((value, k) => value + weight * (one[k] - value));
  } };
  const found = chain(denoiser, normal(2 * COUNT, seed).map((z) => z * MOST), all, true).at(-1);
  plane.dots(points([0, 1, 2]), "soft", { size: 1.5, alpha: 0.45 });
  plane.dots(own, "exact", { size: 2.2, alpha: 0.6 });
  plane.dots(found, "learned", { size: 2.2, alpha: 0.85 });
  const spread = (one) => Math.sqrt([0, 1].reduce((sum, j) => {
    const along = one.filter((_, k) => k % 2 === j), mean = along.reduce((a, b) => a + b) / along.length;
    return sum + along.reduce((a, b) => a + (b - mean) ** 2, 0) / along.length;
  }, 0) / 2);
  window.lab = { weight, label, found };
  const what = weight === 0 ? "the class is ignored" : weight < 1 ? "between all and the class" : weight === 1 ? "the class itself" : "sharper than the class: no density has these samples";
  return `w = ${weight.toFixed(2)}: ${what}. The samples spread by ${spread(found).toFixed(2)}, real points of the class by ${spread(own).toFixed(2)}; their distance is ${distance(found, own).toFixed(2)} (sliced Wasserstein).`;
}

function conditioned() {
  const x = line.at[0], found = given(x, id("how").value === "particles"), [low, high] = plane.box[1], width = (high - low) / BINS;
  const at = Float64Array.from({ length: 400 }, (_, k) => (k % 2 ? low + (k >> 1) / 199 * (high - low) : x)), log = every.exact(at, 0).log, density = log.map(Math.exp);
  const mass = density.reduce((a, b) => a + b) * (high - low) / 199, heights = new Float64Array(BINS);
  for (let i = 1; i < found.length; i += 2) heights[Math.min(Math.max(Math.floor((found[i] - low) / width), 0), BINS - 1)] += 1 / COUNT / width;
  plane.dots(points([0, 1, 2]), "soft", { size: 1.6, alpha: 0.5 });
  plane.line([x, low, x, high], "ink", { width: 1.5 });
  const scale = 0.55, side = x > 0 ? -1 : 1;
  heights.forEach((one, k) => plane.bar(x, x + side * scale * one, low + k * width, low + (k + 0.9) * width, "learned", { alpha: 0.65 }));
  plane.line([...density].flatMap((one, k) => [x + side * scale * one / mass, at[2 * k + 1]]), "exact", { width: 2.6 });
  const above = density.reduce((sum, one, k) => sum + (at[2 * k + 1] > 0 ? one : 0), 0) / density.reduce((a, b) => a + b), sampled = found.filter((one, k) => k % 2 && one > 0).length / COUNT;
  window.lab = { x, above, sampled, found };
  return `Given x = ${x.toFixed(2).replace("-", "−")}, y is above 0 with probability ${(100 * above).toFixed(0)} % exactly, and for ${(100 * sampled).toFixed(0)} % of the samples.`;
}

page(() => {
  const known = id("mode").value === "known";
  id("of-class").hidden = known;
  id("of-known").hidden = line.button.hidden = !known;
  plane.clear();
  return known ? conditioned() : guided();
});
press("again", () => { seed += 1; });
