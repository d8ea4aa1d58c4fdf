// The posterior of a place given two noisy distances: on a grid, and by a conditional denoiser.

const COUNT = 400, CELLS = 96, MOST = 10, LEAST = 0.02, STEPS = 12, { beacons, noise } = data;
const plane = new Plane("plane", [[-1, 1], [-1, 1]]), network = new Network(data.layers, data.sigmaData);
const bias = Float32Array.from(network.layers[0].bias), turns = data.bias.map(floats);
let seed = 0;
const handles = beacons.map((beacon, k) => plane.handle(k ? "right" : "left", [0, 0], {
  left: true,
  onto: (to) => {
    id(`d${k}`).value = Math.hypot(to[0] - beacon[0], to[1] - beacon[1]);
    return to;
  },
}));
const angles = [1.9, 1.0];

/** Return samples of the network given both distances. */
function sample(d) {
  const [one, two] = d.map((value) => value - 1);
  network.layers[0].bias = bias.map((value, k) => value + one * turns[0][k] + two * turns[1][k]);
  const u = chain(network, normal(2 * COUNT, seed).map((z) => z * MOST), levels(STEPS, MOST, LEAST), true).at(-1);
  const [base, ...moves] = data.place, centre = [0, 1].map((j) => base[j] + one * moves[0][j] + two * moves[1][j]);
  return u.map((_, k) => centre[k % 2] + u[k - k % 2] * data.scale[0][k % 2] + u[k - k % 2 + 1] * data.scale[1][k % 2]);
}

/** Return mean, standard deviation across and the share above the beacons of weighted points. */
function summary(points, weights) {
  let sum = 0, x = 0, y = 0, square = 0, above = 0;
  for (let k = 0; k < points.length; k += 2) {
    const w = weights ? weights[k / 2] : 1;
    sum += w;
    x += w * points[k];
    y += w * points[k + 1];
    square += w * points[k] ** 2;
    if (points[k + 1] > beacons[0][1]) above += w;
  }
  return { x: x / sum, y: y / sum, sd: Math.sqrt(square / sum - (x / sum) ** 2), above: above / sum };
}

page(() => {
  const d = [0, 1].map((k) => value(`d${k}`, (one) => one.toFixed(2)));
  handles.forEach((handle, k) => { // on its ring, in the direction in which it was left
    const away = handle.at.map((one, j) => one - beacons[k][j]), long = Math.hypot(...away);
    if (handle.at[0] || handle.at[1]) angles[k] = long ? Math.atan2(away[1], away[0]) : angles[k];
    const at = (angle) => [beacons[k][0] + d[k] * Math.cos(angle), beacons[k][1] + d[k] * Math.sin(angle)], inside = (one) => Math.max(...one.map(Math.abs)) < 0.97;
    const turn = Array.from({ length: 64 }, (_, i) => angles[k] + (i % 2 ? -1 : 1) * Math.ceil(i / 2) * Math.PI / 32).find((angle) => inside(at(angle)));
    handle.at = at(turn ?? angles[k]);
  });
  const grid = plane.cells(CELLS), log = new Float64Array(CELLS * CELLS);
  for (let i = 0; i < log.length; i++) log[i] = -beacons.reduce((sum, [x, y], k) => sum + (d[k] - Math.hypot(grid[2 * i] - x, grid[2 * i + 1] - y)) ** 2, 0) / (2 * noise * noise);
  const most = log.reduce((a, b) => Math.max(a, b)), density = log.map((one) => Math.exp(one - most)), found = sample(d);
  plane.clear();
  plane.shade(density, CELLS, "exact", 0.75);
  beacons.forEach((beacon, k) => {
    if (id("rings").checked) for (const off of [-noise, 0, noise]) plane.circle(beacon, Math.max(d[k] + off, 0), "soft", { width: off ? 0.8 : 1.6, dash: off ? [3, 4] : [], alpha: 0.8 });
    plane.text("▲", beacon, "ink", { align: "center", size: 18 });
  });
  for (const level of [Math.log(0.1), Math.log(0.61)]) plane.contour(log, CELLS, most + level, "exact", { width: 1.8 });
  plane.dots(found, "learned", { size: 1.8, alpha: 0.8 });
  const result = { exact: summary(grid, density), learned: summary(found) };
  for (const [side, each] of Object.entries(result)) {
    for (const [name, one] of Object.entries(each)) id(`${side}-${name}`).textContent = name === "above" ? `${(100 * one).toFixed(0)} %` : one.toFixed(2).replace("-", "−");
  }
  window.lab = { d, found, ...result };
  const far = Math.hypot(beacons[1][0] - beacons[0][0], beacons[1][1] - beacons[0][1]), odd = d[0] + d[1] < far - 2 * noise || Math.abs(d[0] - d[1]) > far + 2 * noise;
  if (odd) return `No place is ${d[0].toFixed(2)} and ${d[1].toFixed(2)} away from the beacons: such measurements never occurred in training, and nothing that the network says of them can be relied on.`;
  return `At distances ${d[0].toFixed(2)} and ${d[1].toFixed(2)} the receiver is above the beacons with probability ${(100 * result.exact.above).toFixed(0)} % exactly, and ${(100 * result.learned.above).toFixed(0)} % by the network.`;
});
press("again", () => { seed += 1; });
