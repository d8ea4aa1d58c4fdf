// Data and noise: x_t = alpha_t x_0 + sigma_t eps.

const SIGNAL = 0.01, THETA = Math.acos(SIGNAL), STEPS = 100;
const betas = Array.from({ length: STEPS }, (_, k) => 1e-4 + k / (STEPS - 1) * (0.1 - 1e-4)); // LinearBetas()
const integrated = [0];
betas.forEach((beta, k) => integrated.push(integrated[k] - Math.log1p(-beta)));

/** alpha_t and sigma_t of motes.points.schedules: CosineVP(), LinearBetas().schedule() and RectifiedFlow(). */
const SCHEDULES = {
  cosine: (t) => [Math.sin(Math.asin(SIGNAL) + THETA * (1 - t)), Math.sin(THETA * t)],
  linear: (t) => {
    const k = Math.min(Math.floor(t * STEPS), STEPS - 1), sum = integrated[k] + (t * STEPS - k) * (integrated[k + 1] - integrated[k]);
    return [Math.exp(-sum / 2), Math.sqrt(-Math.expm1(-sum))];
  },
  flow: (t) => [1 - t + SIGNAL * t, (1 - SIGNAL) * t],
};

const plane = new Plane("plane", [[-3, 3], [-3, 3]]), curves = new Plane("curves", [[0, 1], [0, 1.05]], [30, 34]);
const x0 = plane.handle("x₀", [1.57, -0.85], { colour: "exact" });
const clouds = Object.fromEntries(Object.entries(data).map(([name, text]) => [name, floats(text)]));
let seed = 0;

page(() => {
  const t = value("t", (one) => one.toFixed(2)), schedule = SCHEDULES[id("schedule").value], [alpha, sigma] = schedule(t);
  const points = clouds[id("shape").value], noise = normal(points.length + 2, seed);
  const noisy = (from, at, [a, s] = [alpha, sigma]) => from.map((one, k) => a * one + s * noise[at + k]);
  plane.clear();
  plane.dots(noisy(points, 2), "exact", { size: 2, alpha: 0.6 });
  const trail = Array.from({ length: 61 }, (_, k) => noisy(x0.at, 0, schedule(k / 60))).flat(), now = noisy(x0.at, 0);
  plane.line(trail, "soft", { width: 1.2, dash: [2, 4] });
  plane.arrow(x0.at, x0.at.map((one) => alpha * one), "exact", { width: 2 });
  plane.arrow(x0.at.map((one) => alpha * one), now, "ink", { width: 2 });
  plane.circle(now, 0.07, "ink", { fill: true });
  plane.text("xₜ", now, "ink", { dx: 9, dy: 11, size: 15 });
  curves.clear();
  curves.axes([[0, "0 data"], [0.5, "0.5"], [1, "1"]], [[0, "0"], [0.5, "0.5"], [1, "1"]], ["time t", ""]);
  const grid = Array.from({ length: 81 }, (_, k) => k / 80);
  curves.line(grid.flatMap((one) => [one, schedule(one)[0]]), "exact", { width: 2 });
  curves.line(grid.flatMap((one) => [one, schedule(one)[1]]), "ink", { width: 2 });
  curves.line([t, 0, t, 1.05], "soft", { width: 1, dash: [3, 3] });
  curves.dots([t, alpha], "exact", { size: 4, alpha: 1 });
  curves.dots([t, sigma], "ink", { size: 4, alpha: 1 });
  curves.text("α", [0.12, schedule(0.12)[0]], "exact", { dy: 13, size: 15 });
  curves.text("σ", [0.12, schedule(0.12)[1]], "ink", { dy: -13, size: 15 });
  window.lab = { t, alpha, sigma, x0: [...x0.at], eps: [...noise.slice(0, 2)], now };
  const left = sigma ? `The signal-to-noise ratio α²/σ² is ${number((alpha / sigma) ** 2, 2)}` : "There is no noise yet";
  return `At t = ${t.toFixed(2)}, α = ${number(alpha, 3)} of each point is left and noise with σ = ${number(sigma, 3)} is added. ${left}${alpha / sigma < 0.15 ? ": hardly anything of the data can be seen." : "."}`;
});
press("again", () => { seed += 1; });
