// The network and sampler in plain JavaScript: the same numbers as the library's, except for rounding.
// Points are y = x_t / alpha_t, and the noise level is r = sigma_t / alpha_t.

/** Decode float32 from base64. */
export function floats(text) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

const gelu = (x) => 0.5 * x * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));

export class Network {
  /** @param layers [{weight, bias}], float32 in base64: the first, the hidden ones, the last. */
  constructor(layers, sigmaData) {
    this.layers = layers.map(({ weight, bias }) => ({ weight: floats(weight), bias: floats(bias) }));
    this.sigmaData = sigmaData;
    const width = this.layers[0].bias.length;
    this.h = new Float64Array(width);
    this.next = new Float64Array(width);
    this.input = new Float64Array(this.layers[0].weight.length / width);
    this.answer = new Float64Array(2);
  }

  /** Return E[x_0 | y, r] for points y, [x, y, x, y, ...], all at one noise level. */
  denoise(points, r) {
    const { layers, h, next, input, answer, sigmaData } = this, found = new Float64Array(points.length);
    const total = Math.hypot(r, sigmaData), time = Math.log(Math.max(r, 1e-6)) / 4;
    const skip = (sigmaData / total) ** 2, out = r * sigmaData / total, last = layers.length - 1;
    input[2] = time;
    [1, 2, 4, 8].forEach((octave, k) => {
      input[3 + k] = Math.sin(time * Math.PI / 4 * octave);
      input[7 + k] = Math.cos(time * Math.PI / 4 * octave);
    });
    for (let at = 0; at < points.length; at += 2) {
      input[0] = points[at] / total;
      input[1] = points[at + 1] / total;
      for (let k = 11, octave = 1; k < input.length; k += 4, octave *= 2) {
        input[k] = Math.sin(octave * input[0]);
        input[k + 1] = Math.sin(octave * input[1]);
        input[k + 2] = Math.cos(octave * input[0]);
        input[k + 3] = Math.cos(octave * input[1]);
      }
      through(layers[0], input, h);
      for (let k = 0; k < h.length; k++) h[k] = gelu(h[k]);
      for (let layer = 1; layer < last; layer++) {
        through(layers[layer], h, next);
        for (let k = 0; k < h.length; k++) h[k] += gelu(next[k]);
      }
      through(layers[last], h, answer);
      found[at] = skip * points[at] + out * answer[0];
      found[at + 1] = skip * points[at + 1] + out * answer[1];
    }
    return found;
  }
}

function through({ weight, bias }, from, to) {
  const columns = from.length;
  for (let row = 0, at = 0; row < bias.length; row++) {
    let sum = bias[row];
    for (let column = 0; column < columns; column++, at++) sum += weight[at] * from[column];
    to[row] = sum;
  }
}

/** Noise levels from `most` down to `least`, then 0: equal steps in r^(1/rho) (Karras et al. 2022, eq. 5). */
export function levels(steps, most, least, rho = 7) {
  const [from, to] = [most ** (1 / rho), least ** (1 / rho)];
  return [...Array.from({ length: steps }, (_, k) => (from + k / Math.max(steps - 1, 1) * (to - from)) ** rho), 0];
}

/** One step from level r to level s, in either direction; to 0 it gives E[x_0]. Heun's method, or Euler's. */
export function step(network, y, r, s, heun) {
  const slope = network.denoise(y, r).map((x0, k) => (y[k] - x0) / r), euler = y.map((one, k) => one + (s - r) * slope[k]);
  if (!heun || s === 0) return euler;
  const again = network.denoise(euler, s);
  return y.map((one, k) => one + (s - r) * (slope[k] + (euler[k] - again[k]) / s) / 2);
}

/** Return the points at each level, starting from noise. */
export function chain(network, noise, all, heun) {
  const found = [noise];
  for (let k = 0; k + 1 < all.length; k++) found.push(step(network, found[k], all[k], all[k + 1], heun));
  return found;
}

/** Draw `count` numbers from N(0, 1); the same seed gives the same numbers. */
export function normal(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 4294967296;
  };
  return Float64Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()));
}
