// One term of the variational bound (Ho et al. 2020, eqs. 5 and 8) and the simple loss (eq. 14), for one prediction.

const STEPS = 20;
const betas = Array.from({ length: STEPS }, (_, k) => 0.01 + k / (STEPS - 1) * 0.34); // LinearBetas(20, 0.01, 0.35)
const bars = [1];
betas.forEach((beta, k) => bars.push(bars[k] * (1 - beta)));
const snr = (k) => bars[k] / (1 - bars[k]);
const WEIGHTS = { bound: (k) => (snr(k - 1) - snr(k)) / 2, simple: snr }; // of |x_0 - x0_hat|^2

const plane = new Plane("plane", [[-0.5, 2.7], [-0.5, 2.7]]), chart = new Plane("chart", [[2, STEPS], [Math.log(2e-3), Math.log(100)]], [46, 34]);
const x0 = plane.handle("x₀", [1.3, 1.1], { colour: "exact" }), guess = plane.handle("x̂₀", [0.4, 1.9], { colour: "learned" });
let seed = 3;

page(() => {
  const k = value("k", String), beta = betas[k - 1], bar = bars[k], before = bars[k - 1], noise = normal(2, seed);
  const xk = x0.at.map((one, j) => Math.sqrt(bar) * one + Math.sqrt(1 - bar) * noise[j]), sd = Math.sqrt((1 - before) / (1 - bar) * beta);
  const back = (from) => from.map((one, j) => Math.sqrt(before) * beta / (1 - bar) * one + Math.sqrt(1 - beta) * (1 - before) / (1 - bar) * xk[j]);
  const [right, wrong] = [back(x0.at), back(guess.at)], squared = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2;
  const eps = (from) => xk.map((one, j) => (one - Math.sqrt(bar) * from[j]) / Math.sqrt(1 - bar));
  const found = { x0: squared(x0.at, guess.at), simple: squared(eps(x0.at), eps(guess.at)), bound: squared(right, wrong) / (2 * sd * sd) };
  plane.clear();
  plane.line([...x0.at, ...guess.at], "soft", { width: 1.2, dash: [3, 4] });
  for (const [mean, from, side] of [[right, x0.at, "exact"], [wrong, guess.at, "learned"]]) {
    plane.line([...xk, ...from], side, { width: 1, alpha: 0.5 });
    plane.circle(mean, 2 * sd, side, { fill: true, alpha: 0.13 });
    for (const wide of [1, 2]) plane.circle(mean, wide * sd, side, { width: 2 });
    plane.dots(mean, side, { size: 3.5, alpha: 1 });
  }
  plane.circle(xk, 0.08, "ink", { fill: true });
  plane.text("xₖ", xk, "ink", { dx: 10, dy: 12, size: 15 });
  for (const [name, one] of Object.entries(found)) id(`of-${name}`).textContent = number(one, 3);
  chart.clear();
  chart.axes([2, 5, 10, 15, 20].map((one) => [one, String(one)]), [0.01, 0.1, 1, 10, 100].map((one) => [Math.log(one), String(one)]), ["step k", ""]);
  const all = Array.from({ length: STEPS - 1 }, (_, i) => i + 2);
  for (const [name, side, words] of [["bound", "exact", "bound"], ["simple", "learned", "simple loss"]]) {
    chart.line(all.flatMap((one) => [one, Math.log(WEIGHTS[name](one))]), side, { width: 2.2 });
    chart.dots([k, Math.log(WEIGHTS[name](k))], side, { size: 5, alpha: 1 });
    chart.text(words, [name === "bound" ? 6.2 : 9, Math.log(WEIGHTS[name](name === "bound" ? 6 : 9))], side, { dx: name === "bound" ? -10 : 6, dy: name === "bound" ? 14 : -12, align: name === "bound" ? "right" : "left" });
  }
  window.lab = { k, sd, right, wrong, ...found, x0: [...x0.at], guess: [...guess.at], xk, eps: [...noise] };
  return `An error of ${number(Math.sqrt(found.x0), 2)} in x̂₀ moves the step back by ${number(Math.sqrt(squared(right, wrong)) / sd, 2)} of its own widths: ${number(found.bound, 2)} nats of the bound at k = ${k}. The simple loss counts ${number(found.simple, 2)}, ${number(found.simple ? WEIGHTS.simple(k) / WEIGHTS.bound(k) : NaN, 2)} times as much.`;
});
press("again", () => { seed += 1; });
