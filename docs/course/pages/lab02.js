// The posterior q(x_{k-1} | x_k, x_0) of Ho et al. 2020, eqs. 6 and 7, and by importance weights.

const STEPS = 20, DRAWS = 4000;
const betas = Array.from({ length: STEPS }, (_, k) => 0.01 + k / (STEPS - 1) * 0.34); // LinearBetas(20, 0.01, 0.35)
const bars = [1];
betas.forEach((beta, k) => bars.push(bars[k] * (1 - beta)));

const plane = new Plane("plane", [[-3, 3], [-3, 3]]);
const x0 = plane.handle("x₀", [1.5, 1.2], { colour: "exact" }), xk = plane.handle("xₖ", [-0.3, 0.5]);
let seed = 0;

page(() => {
  const k = value("k", String), beta = betas[k - 1], bar = bars[k], before = bars[k - 1];
  const ofStart = Math.sqrt(before) * beta / (1 - bar), ofNow = Math.sqrt(1 - beta) * (1 - before) / (1 - bar);
  const mean = [0, 1].map((j) => ofStart * x0.at[j] + ofNow * xk.at[j]), sd = Math.sqrt((1 - before) / (1 - bar) * beta);
  const centre = x0.at.map((one) => Math.sqrt(before) * one), wide = Math.sqrt(1 - before);
  const draws = normal(2 * DRAWS, seed).map((one, i) => centre[i % 2] + wide * one), log = new Float64Array(DRAWS);
  for (let i = 0; i < DRAWS; i++) log[i] = -[0, 1].reduce((sum, j) => sum + (xk.at[j] - Math.sqrt(1 - beta) * draws[2 * i + j]) ** 2, 0) / (2 * beta);
  const most = Math.max(...log), weights = log.map((one) => Math.exp(one - most)), sum = weights.reduce((a, b) => a + b), many = sum ** 2 / weights.reduce((a, b) => a + b * b, 0);
  const found = [0, 1].map((j) => weights.reduce((total, w, i) => total + w * draws[2 * i + j], 0) / sum);
  const spread = Math.sqrt(weights.reduce((total, w, i) => total + w * ((draws[2 * i] - found[0]) ** 2 + (draws[2 * i + 1] - found[1]) ** 2), 0) / sum / 2);
  plane.clear();
  for (const [one, other] of [[x0, xk], [xk, x0]]) one.button.classList.toggle("left", one.at[0] < other.at[0] && one.at[0] > -2.5); // away from the rings
  if (id("prior").checked) {
    for (const times of [1, 2]) plane.circle(centre, times * wide, "soft", { width: 1.2, dash: [3, 4] });
    plane.dots(draws.slice(0, 1600), "soft", { size: 1.3, alpha: 0.4 });
    const side = centre[1] < 0 ? 1 : -1; // of the rings, where the picture has room
    plane.text("q(xₖ₋₁ | x₀)", [centre[0], centre[1] + side * 2 * wide], "soft", { align: "center", dy: -11 * side });
  }
  if (id("dots").checked) plane.dots(draws, "ink", { size: 2.2, alpha: 0.9, weights });
  plane.line([...x0.at, ...mean, ...xk.at], "line", { width: 1.5 });
  plane.circle(mean, 2 * sd, "exact", { fill: true, alpha: 0.13 });
  for (const times of [1, 2]) plane.circle(mean, times * sd, "exact", { width: 2.2 });
  plane.dots(mean, "exact", { size: 3.5, alpha: 1 });
  const two = (one) => one.toFixed(2).replace("-", "−"), cells = { mx: mean[0], my: mean[1], md: sd, sx: found[0], sy: found[1], sd: spread };
  for (const [name, one] of Object.entries(cells)) id(name).textContent = many < 20 && name[0] === "s" ? "too few" : two(one);
  id("formula").textContent = `mean = ${two(ofStart)} x₀ + ${two(ofNow)} xₖ; variance = ${number(sd * sd, 3)}, however you drag. β = ${number(beta, 2)}, ᾱ = ${number(bar, 2)}.`;
  window.lab = { k, mean, sd, found, spread, x0: [...x0.at], now: [...xk.at] };
  const check = many < 20 ? `Only ${many.toFixed(0)} of 4,000 draws could have led to xₖ, too few to check it.` : `The simulation, worth ${many.toFixed(0)} independent draws, agrees.`;
  return `One step before k = ${k}, the point was near (${two(mean[0])}, ${two(mean[1])}), give or take ${two(sd)}: ${Math.round(100 * ofNow)} % of xₖ plus ${Math.round(100 * ofStart)} % of x₀. ${check}`;
});
press("again", () => { seed += 1; });
