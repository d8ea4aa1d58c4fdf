// Numbers as a person reads them, elements, and keys in a group.

export function number(value, digits = 3) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e4 || size < 1e-3) return value.toExponential(Math.max(digits - 2, 0)).replace("e+", "e");
  return value.toPrecision(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "").replace("-", "−");
}

const SAMPLERS = {
  ancestral: "DDPM (ancestral)", ddim: "DDIM", euler: "Euler", heun: "Heun", gradient_estimation: "Gradient estimation",
  adaptive: "Adaptive Runge–Kutta", dpmpp_2m: "DPM-Solver++ 2M",
  dpmpp_3m: "DPM-Solver++ 3M", dpmpp_2m_sde: "DPM-Solver++ 2M SDE", euler_maruyama: "Euler–Maruyama",
  churn: "EDM with churn",
  langevin: "Annealed Langevin",
};

/** The name of a sampler in the literature; a registered sampler keeps its own name. */
export const samplerTitle = (name) => SAMPLERS[name] ?? name.replaceAll("_", " ");

export const count = (value) => value.toLocaleString("en");

/** An element with text in it; text is never read as HTML. */
export function make(tag, text = "", options = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(options)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  return element;
}

/** Arrow keys in a group with one chosen element. */
export function roam(event) {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  const all = [...event.currentTarget.children].filter((one) => !one.disabled);
  const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
  next.focus();
  next.click();
}
