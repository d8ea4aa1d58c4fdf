// The likelihood of one point by the probability flow: log p(x) = log N(u; 0, I) + log |du/dx|, u = y / sqrt(1 + r^2).

const LEGS = 60, MOST = 10, LEAST = 0.004, RADIUS = 0.2, CELLS = 56, LOG_2PI = Math.log(2 * Math.PI);
const plane = new Plane("plane", [[-2.8, 2.8], [-2.8, 2.8]]), chart = new Plane("chart", [[0, LEGS], [-2.4, 3.4]], [46, 34]);
const sides = { exact: Atoms.of(data), learned: new Network(data.network.layers, data.network.sigmaData) };
const stops = levels(LEGS + 1, MOST, LEAST).slice(0, -1).reverse(); // from the data to noise
const start = plane.handle("x", [1.75, 0.3]);
const signed = (one) => (one < 0 ? "−" : "") + Math.abs(one).toFixed(2);

/** Return dy/dr and its derivative (2, 2) at a point, by central differences. */
function slope(denoiser, y, r) {
  const h = 1e-4 * Math.hypot(1, r), [a, b] = y, x0 = denoiser.denoise([a, b, a + h, b, a - h, b, a, b + h, a, b - h], r);
  const by = (k, j) => (x0[2 + 4 * j + k] - x0[4 + 4 * j + k]) / (2 * h);
  return { way: [(a - x0[0]) / r, (b - x0[1]) / r], turn: [[(1 - by(0, 0)) / r, -by(0, 1) / r], [-by(1, 0) / r, (1 - by(1, 1)) / r]] };
}

const times = (m, n) => m.map((row) => [0, 1].map((j) => row[0] * n[0][j] + row[1] * n[1][j]));

/** Return the point, the derivative by the start and the log-determinant at each stop, by Heun's method. */
function carry(denoiser, y) {
  const found = [{ y, j: [[1, 0], [0, 1]], log: 0 }];
  for (let k = 0; k < LEGS; k++) {
    const { y: now, j, log } = found[k], width = stops[k + 1] - stops[k], first = slope(denoiser, now, stops[k]);
    const ahead = now.map((one, i) => one + width * first.way[i]), second = slope(denoiser, ahead, stops[k + 1]);
    const one = times(first.turn, j), far = j.map((row, a) => row.map((value, b) => value + width * one[a][b])), two = times(second.turn, far);
    found.push({
      y: now.map((value, i) => value + width * (first.way[i] + second.way[i]) / 2),
      j: j.map((row, a) => row.map((value, b) => value + width * (one[a][b] + two[a][b]) / 2)),
      log: log + width * (first.turn[0][0] + first.turn[1][1] + second.turn[0][0] + second.turn[1][1]) / 2,
    });
  }
  return found;
}

page(() => {
  const place = value("place", (k) => `σ/α = ${number(stops[k], 2)}`), now = stops[place], x = start.at;
  const carried = Object.fromEntries(Object.entries(sides).map(([side, denoiser]) => [side, carry(denoiser, [...x])]));
  plane.clear();
  const grid = plane.cells(CELLS).map((one) => one * Math.hypot(1, now));
  plane.shade(sides.exact.exact(grid, now).log.map(Math.exp), CELLS, "exact", 0.35);
  chart.clear();
  chart.axes([[0, "data"], [LEGS - 2, "noise"]], [-2, 0, 2].map((one) => [one, signed(one).slice(0, -3)]), ["", "nats"]);
  const result = {};
  for (const [side, all] of Object.entries(carried)) {
    const growth = all.map(({ log }, k) => log - Math.log1p(stops[k] ** 2)), u = all.at(-1).y.map((one) => one / Math.hypot(1, MOST));
    const end = -(u[0] ** 2 + u[1] ** 2) / 2 - LOG_2PI;
    result[side] = { end, growth: growth.at(-1), log: end + growth.at(-1) };
    for (const [name, one] of Object.entries(result[side])) id(`${side}-${name}`).textContent = signed(one);
    const wide = side === "exact" ? 3.4 : 1.6;
    plane.line(all.flatMap(({ y }, k) => y.map((one) => one / Math.hypot(1, stops[k]))), side, { width: wide });
    const { y, j } = all[place], ring = Array.from({ length: 49 }, (_, k) => [RADIUS * Math.cos(k * Math.PI / 24), RADIUS * Math.sin(k * Math.PI / 24)]);
    plane.line(ring.flatMap(([a, b]) => [0, 1].map((i) => (y[i] + j[i][0] * a + j[i][1] * b) / Math.hypot(1, now))), side, { width: wide });
    plane.dots(y.map((one) => one / Math.hypot(1, now)), side, { size: side === "exact" ? 6 : 3.5, alpha: 1 });
    chart.line(growth.flatMap((one, k) => [k, one]), side, { width: wide });
    chart.dots([place, growth[place]], side, { size: side === "exact" ? 5 : 3, alpha: 1 });
  }
  const [formula] = sides.exact.exact(x, LEAST).log;
  id("formula").textContent = signed(formula);
  window.lab = { x: [...x], formula, ...result };
  const grown = Math.exp(carried.exact[place].log - Math.log1p(now ** 2)), { exact, learned } = result;
  return `So far the neighbourhood has ${number(grown, 2)} times its area. At the end log p(x) = ${signed(exact.end)} ${exact.growth < 0 ? "−" : "+"} ${Math.abs(exact.growth).toFixed(2)} = ${signed(exact.log)} nats; the learned flow says ${signed(learned.log)}.`;
});
