// Points on a canvas: drawn by WebGL, or pixel by pixel without a graphics card, which is then several times as fast.
// A point is drawn at A first + B second + C.

const VERTEX = `#version 300 es
in vec2 first; in vec2 second;
uniform vec2 mix_, shift, middle, half_; uniform float size;
void main() {
  gl_Position = vec4((mix_.x * first + mix_.y * second + shift - middle) / half_, 0.0, 1.0);
  gl_PointSize = size;
}`;
const FRAGMENT = `#version 300 es
precision mediump float;
uniform vec4 colour; out vec4 seen;
void main() {
  float away = 2.0 * length(gl_PointCoord - 0.5);
  float share = colour.a * smoothstep(1.0, 0.55, away);
  seen = vec4(colour.rgb * share, share);
}`;

let accelerated; // whether a graphics card draws WebGL

function hasCard() {
  if (accelerated !== undefined) return accelerated;
  const gl = document.createElement("canvas").getContext("webgl2");
  const about = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = gl ? String(gl.getParameter(about ? about.UNMASKED_RENDERER_WEBGL : gl.RENDERER)) : "none";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  accelerated = Boolean(gl) && !/swiftshader|llvmpipe|softpipe|software/i.test(name);
  return accelerated;
}

export class Painter {
  /** @param byCard draw by WebGL (default: if there is a graphics card). */
  constructor(canvas, byCard = hasCard()) {
    this.canvas = canvas;
    const asked = { alpha: true, premultipliedAlpha: true, antialias: false, preserveDrawingBuffer: true };
    this.gl = byCard ? canvas.getContext("webgl2", asked) : null;
    if (this.gl) this.#prepare();
    else this.flat = canvas.getContext("2d", { willReadFrequently: true });
    this.data = [];
  }

  #prepare() {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.bindAttribLocation(program, 0, "first");
    gl.bindAttribLocation(program, 1, "second");
    gl.linkProgram(program);
    gl.useProgram(program);
    this.at = Object.fromEntries(
      ["mix_", "shift", "middle", "half_", "size", "colour"].map((name) => [name, gl.getUniformLocation(program, name)]));
    this.buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    gl.enableVertexAttribArray(0);
    gl.enableVertexAttribArray(1);
    gl.enable(gl.BLEND);
  }

  /** Load clouds, one after another, `count` points each. */
  load(data, count) {
    this.data = data;
    this.count = count;
    if (this.gl) this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.STATIC_DRAW);
  }

  /** Return the size of a point, in pixels of the page, and its opacity. */
  look(glow) {
    const crowd = Math.sqrt(5000 / Math.max(this.count, 500));
    return { size: Math.min(Math.max(2.6 * Math.sqrt(crowd), 1.6), 4.2), share: Math.min((glow ? 0.62 : 0.5) * crowd, 0.9) };
  }

  /** Return the points of the mixture of two clouds, as shares of the picture from the left and the top. */
  places({ first, second, mix, shift, box }) {
    const { data, count } = this, a = 2 * count * first, b = 2 * count * second;
    return Array.from({ length: count }, (_, i) => {
      const [x, y] = [0, 1].map((j) => mix[0] * data[a + 2 * i + j] + mix[1] * data[b + 2 * i + j] + shift[j]);
      const [[left, right], [bottom, top]] = box;
      return [(x - left) / (right - left), (top - y) / (top - bottom)];
    });
  }

  /** Draw the mixture of two of the clouds. */
  draw({ first, second, mix, shift, box, colour, glow, seen }) {
    const ratio = fitted(this.canvas);
    const middle = box.map(([low, high]) => (low + high) / 2), half = box.map(([low, high]) => (high - low) / 2);
    const look = this.look(glow), size = ratio * look.size, { share } = look;
    if (this.gl) {
      const { gl, at } = this;
      gl.viewport(0, 0, this.canvas.width, this.canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      if (!seen || !this.count) return;
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA); // not additive, or dense points would turn white
      gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 8 * this.count * first);
      gl.vertexAttribPointer(1, 2, gl.FLOAT, false, 0, 8 * this.count * second);
      gl.uniform2fv(at.mix_, mix);
      gl.uniform2fv(at.shift, shift);
      gl.uniform2fv(at.middle, middle);
      gl.uniform2fv(at.half_, half);
      gl.uniform1f(at.size, size);
      gl.uniform4f(at.colour, ...colour, share);
      gl.drawArrays(gl.POINTS, 0, this.count);
      return;
    }
    this.flat.clearRect(0, 0, this.canvas.width, this.canvas.height);
    if (seen && this.count) this.#count({ first, second, mix, shift, middle, half, size, share, colour });
  }

  /** Count the points on each pixel, and draw them. */
  #count({ first, second, mix, shift, middle, half, size, share, colour }) {
    const { flat, data, count, canvas: { width, height } } = this;
    if (this.image?.width !== width || this.image.height !== height) {
      this.image = flat.createImageData(width, height);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.covered = new Uint8Array(width * height);
    }
    const { covered, pixels } = this, wide = Math.max(Math.round(size), 1), round = wide > 3;
    covered.fill(0);
    const a = 2 * count * first, b = 2 * count * second;
    for (let i = 0; i < 2 * count; i += 2) {
      const x = (mix[0] * data[a + i] + mix[1] * data[b + i] + shift[0] - middle[0]) / half[0];
      const y = (mix[0] * data[a + i + 1] + mix[1] * data[b + i + 1] + shift[1] - middle[1]) / half[1];
      const left = Math.round((1 + x) / 2 * width - wide / 2), top = Math.round((1 - y) / 2 * height - wide / 2);
      if (!(left >= 0 && top >= 0 && left + wide <= width && top + wide <= height)) continue;
      for (let row = 0; row < wide; row++) {
        const cut = round && (row === 0 || row === wide - 1) ? 1 : 0; // without its corners
        for (let at = (top + row) * width + left + cut, end = at + wide - 2 * cut; at < end; at++) if (covered[at] < 255) covered[at]++;
      }
    }
    const look = shades(colour, share);
    for (let at = 0; at < covered.length; at++) pixels[at] = look[covered[at]];
    flat.putImageData(this.image, 0, 0);
  }
}

/** Return the pixels covered by 0 to 255 points of a colour, on top of each other. */
function shades(colour, share) {
  const bytes = new Uint8ClampedArray(4 * 256);
  for (let n = 1; n < 256; n++) {
    bytes.set([...colour.map((part) => 255 * part), 255 * (1 - (1 - share) ** n)], 4 * n);
  }
  return new Uint32Array(bytes.buffer);
}

/** Convert three numbers from 0 to 1 and an opacity to a CSS colour. */
export const css = (colour, share) => `rgba(${colour.map((part) => Math.round(255 * part)).join(",")},${share})`;

/** Convert "#rrggbb" to three numbers from 0 to 1. */
export function colour(text) {
  return [1, 3, 5].map((at) => parseInt(text.trim().slice(at, at + 2), 16) / 255);
}

/** Resize a canvas to its screen pixels; return the number of screen pixels per page pixel. */
export function fitted(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return ratio;
}
