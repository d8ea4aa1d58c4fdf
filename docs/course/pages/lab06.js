// Score, eps, v and x0 of the exact denoiser of the moons and of the model that ships with motes, at one x_t.

const SIGNAL = 0.0995, THETA = Math.acos(SIGNAL), CELLS = 56; // CosineVP(alpha_1=0.0995): up to the noise level 10
const alphaOf = (t) => Math.sin(Math.asin(SIGNAL) + THETA * (1 - t)), sigmaOf = (t) => Math.sin(THETA * t);
const plane = new Plane("plane", [[-2.8, 2.8], [-2.8, 2.8]]);
const xt = plane.handle("xₜ", [0.95, 1.25]);
const sides = { exact: Atoms.of(data), learned: new Network(data.network.layers, data.network.sigmaData) };
const NAMES = { x0: "x̂₀", eps: "ε̂", score: "score", v: "v" };

/** Return the four predictions of a denoiser at x_t. */
function predictions(denoiser, x, alpha, sigma) {
  const x0 = [...denoiser.denoise(x.map((one) => one / alpha), sigma / alpha)], eps = x.map((one, k) => (one - alpha * x0[k]) / sigma);
  return { x0, eps, score: eps.map((one) => -one / sigma), v: eps.map((one, k) => alpha * one - sigma * x0[k]) };
}

page(() => {
  const t = value("t", (one) => one.toFixed(2)), alpha = alphaOf(t), sigma = sigmaOf(t), x = xt.at;
  const found = Object.fromEntries(Object.entries(sides).map(([side, one]) => [side, predictions(one, x, alpha, sigma)]));
  plane.clear();
  const grid = plane.cells(CELLS).map((one) => one / alpha);
  plane.shade(sides.exact.exact(grid, sigma / alpha).log.map(Math.exp), CELLS, "exact", 0.35);
  for (const [side, each] of Object.entries(found)) {
    for (const [name, vector] of Object.entries(each)) {
      id(`${side}-${name}`).textContent = vector.map((one) => one.toFixed(2).replace("-", "−")).join(", ");
      if (!id(`show-${name}`).checked) continue;
      const long = Math.hypot(...vector), share = name === "score" ? Math.min(1, 1.6 / long) : 1;
      const to = name === "x0" ? vector : x.map((one, k) => one + share * vector[k]);
      plane.arrow(x, to, side, side === "exact" ? { width: 5, alpha: 0.75 } : { width: 1.8 });
      if (side === "exact") plane.text(NAMES[name], to, "ink", { align: to[0] < x[0] ? "right" : "left", dx: to[0] < x[0] ? -7 : 7, dy: to[1] > x[1] ? -9 : 9, size: 15 });
    }
  }
  window.lab = { t, x: [...x], ...found };
  const away = Math.hypot(found.exact.x0[0] - found.learned.x0[0], found.exact.x0[1] - found.learned.x0[1]);
  return `Noise level σ/α = ${number(sigma / alpha, 2)}. Seen from here, the data is on average at x̂₀ = (${found.exact.x0.map((one) => one.toFixed(2).replace("-", "−")).join(", ")}); the network says so within ${number(away, 2)}. An error of x̂₀ counts ${number(alpha / sigma, 2)} times in ε̂ and ${number(1 / sigma, 2)} times in v.`;
});
