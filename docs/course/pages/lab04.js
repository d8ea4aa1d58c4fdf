// Samples of one network after 2 steps of its training and up to 4,096, each about twice as many.

const COUNT = 300, MOST = 10, LEAST = 0.02, STEPS = 14, LEVEL = 0.4, CELLS = 15;
const plane = new Plane("plane", [[-2.8, 2.8], [-2.8, 2.8]]);
const exact = Atoms.of(data), all = floats(data.points), real = all.slice(0, 2 * COUNT), other = all.slice(2 * COUNT);
const shots = data.shots.map(({ step, layers }) => ({ step, network: new Network(layers, 1), samples: new Map() }));
const losses = data.losses.map(([step, loss]) => [Math.log(step), Math.log(loss)]), heights = losses.map(([, loss]) => loss);
const chart = new Plane("chart", [[0, Math.log(4096)], [Math.log(data.least) - 0.15, Math.max(...heights) + 0.1]], [46, 34]);
const reference = distance(real, other);
let seed = 0;

page(() => {
  const place = value("shot", (k) => shots[k].step.toLocaleString("en")), { step, network, samples } = shots[place];
  if (!samples.has(seed)) samples.set(seed, chain(network, normal(2 * COUNT, seed).map((z) => z * MOST), levels(STEPS, MOST, LEAST), true).at(-1));
  const found = samples.get(seed), away = distance(found, real);
  plane.clear();
  plane.dots(real, "exact", { size: 2, alpha: 0.5 });
  plane.dots(found, "learned", { size: 2.2, alpha: 0.85 });
  if (id("arrows").checked) {
    const at = plane.cells(CELLS), y = at.map((one) => one * Math.hypot(1, LEVEL));
    for (const [side, denoiser] of [["exact", exact], ["learned", network]]) {
      const x0 = denoiser.denoise(y, LEVEL);
      for (let k = 0; k < at.length; k += 2) plane.arrow([at[k], at[k + 1]], [0, 1].map((j) => at[k + j] + 0.35 * (x0[k + j] - at[k + j])), side, { width: side === "exact" ? 3 : 1.5, head: 6, alpha: 0.8 });
    }
  }
  chart.clear();
  chart.axes([1, 10, 100, 1000].map((one) => [Math.log(one), one.toLocaleString("en")]), [data.least, 0.5, 1].map((one) => [Math.log(one), one.toFixed(2)]), ["steps", ""]);
  chart.line([0, Math.log(data.least), Math.log(4096), Math.log(data.least)], "exact", { width: 2, dash: [5, 5] });
  chart.line(losses.flat(), "learned", { width: 2.2 });
  const near = losses.reduce((a, b) => (Math.abs(b[0] - Math.log(step)) < Math.abs(a[0] - Math.log(step)) ? b : a)), loss = Math.exp(near[1]);
  chart.dots([Math.log(step), near[1]], "learned", { size: 5, alpha: 1 });
  window.lab = { step, loss, away, samples: found, seed, network };
  return `After ${step.toLocaleString("en")} steps the loss is about ${loss.toFixed(3)}; the exact denoiser has ${data.least.toFixed(3)}. The samples are ${away.toFixed(2)} from real points (sliced Wasserstein), and two real samples ${reference.toFixed(2)} from each other.`;
});
press("again", () => { seed += 1; });
