// Solvers of the probability flow dy/dr = (y - x0_hat) / r with the exact denoiser of the moons, and the reverse SDE.

const MOST = 10, LEAST = 0.02, STEPS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64], STARTS = 24, FUTURES = 60, CELLS = 56;
const plane = new Plane("plane", [[-2.8, 2.8], [-2.8, 2.8]]), chart = new Plane("chart", [[0, Math.log(350)], [Math.log(3e-4), Math.log(2)]], [46, 36]);
const exact = Atoms.of(data), start = plane.handle("noise", [1.5, 1.4]);
const scaled = (y, r) => y.map((one) => one / Math.hypot(1, r)); // x_t of a variance-preserving schedule
let seed = 0;

/** Return y at each level; a solver of order 1 or 2, or the SDE. */
function solve(y, all, sampler) {
  if (sampler === "euler" || sampler === "heun") return chain(exact, y, all, sampler === "heun");
  const found = [y];
  let before = null, stepBefore = 0;
  for (let k = 0; k + 1 < all.length; k++) {
    const [r, s] = [all[k], all[k + 1]], now = found[k], x0 = exact.denoise(now, r), h = Math.log(r / s);
    if (sampler === "dpm") {
      const middle = before && s > 0 ? x0.map((one, i) => one + h / (2 * stepBefore) * (one - before[i])) : x0;
      found.push(now.map((one, i) => middle[i] + s / r * (one - middle[i])));
    } else {
      const kept = (s / r) ** 2, z = normal(y.length, 977 * seed + k);
      found.push(now.map((one, i) => x0[i] + kept * (one - x0[i]) + s * Math.sqrt(1 - kept) * z[i]));
    }
    [before, stepBefore] = [x0, h];
  }
  return found;
}

const starts = normal(2 * STARTS, 5).map((one) => one * MOST), fine = levels(240, MOST, LEAST);
const ends = solve(starts, fine, "heun").at(-1);
const away = (one, other) => one.map((value, k) => value - other[k]).reduce((sum, _, k, all) => (k % 2 ? sum : sum + Math.hypot(all[k], all[k + 1])), 0) / (one.length / 2);
const evaluations = (sampler, n) => (sampler === "heun" ? 2 * n + 1 : n + 1); // n steps to the lowest level, one to 0
const errors = Object.fromEntries(["euler", "heun", "dpm"].map((sampler) => [sampler, STEPS.map((n) => away(solve(starts, levels(n + 1, MOST, LEAST), sampler).at(-1), ends))]));
const NAMES = { euler: "Euler", heun: "Heun", dpm: "2M", sde: "The SDE" };

page(() => {
  const place = value("steps", (k) => String(STEPS[k])), n = STEPS[place], sampler = id("sampler").value, all = levels(n + 1, MOST, LEAST);
  const y = Float64Array.from(start.at, (one) => one * Math.hypot(1, MOST));
  const path = solve(y, fine, "heun"), taken = solve(y, all, sampler);
  const drawn = (points, at) => points.flatMap((one, k) => [...scaled(one, at[k])]);
  plane.clear();
  plane.shade(exact.exact(plane.cells(CELLS), 0).log.map(Math.exp), CELLS, "exact", 0.3);
  if (sampler === "sde") {
    const many = solve(Float64Array.from({ length: 2 * FUTURES }, (_, k) => y[k % 2]), all, "sde");
    for (let i = 0; i < FUTURES; i++) plane.line(many.flatMap((one, k) => [...scaled(one.slice(2 * i, 2 * i + 2), all[k])]), "learned", { width: 0.8, alpha: 0.28 });
    plane.dots(many.at(-1), "learned", { size: 3, alpha: 0.9 });
  }
  plane.line(drawn(path, fine), "exact", { width: 3 });
  plane.dots(path.at(-1), "exact", { size: 6, alpha: 1 });
  if (sampler !== "sde") {
    plane.line(drawn(taken, all), "learned", { width: 2 });
    plane.dots(drawn(taken, all), "learned", { size: 3, alpha: 1 });
    plane.dots(taken.at(-1), "learned", { size: 5, alpha: 1 });
  }
  chart.clear();
  chart.axes([1, 4, 16, 64].map((one) => [Math.log(one), String(one)]), [[1, "1"], [0.1, "0.1"], [0.01, "0.01"], [0.001, "0.001"]].map(([one, words]) => [Math.log(one), words]), ["evaluations", ""]);
  for (const [name, each] of Object.entries(errors)) {
    const line = each.flatMap((error, k) => [Math.log(evaluations(name, STEPS[k])), Math.log(error)]), mine = name === sampler;
    chart.line(line, mine ? "learned" : "soft", { width: mine ? 2.6 : 1.4 });
    chart.text(NAMES[name], line.slice(-2), mine ? "learned" : "soft", { dx: 7 });
    if (mine) chart.dots([line[2 * place], line[2 * place + 1]], "learned", { size: 5, alpha: 1 });
  }
  const error = away(taken.at(-1), path.at(-1));
  window.lab = { sampler, n, levels: all, y: [...y], end: [...taken.at(-1)], exact: [...path.at(-1)], errors };
  if (sampler === "sde") return `The SDE adds new noise in each of its ${n} steps: from one start it can reach any part of the data, ${FUTURES} futures are drawn. The ODE without that noise has one path, and both have the same distribution at every time.`;
  const mean = errors[sampler][place], half = errors[sampler][STEPS.indexOf(2 * n)];
  return `${NAMES[sampler]} with ${n} ${n === 1 ? "step" : "steps"} to the lowest level asks the denoiser ${evaluations(sampler, n)} times and ends ${number(error, 2)} from the exact point${half ? `. Over 24 starts the error is ${number(mean, 2)}, and with twice the steps ${number(half, 2)}: ${number(mean / half, 2)} times smaller` : ""}.`;
});
press("again", () => {
  seed += 1;
  const [x, y] = normal(2, 100 + seed);
  start.move([x, y]);
});
