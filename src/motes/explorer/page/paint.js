// Points on a canvas: drawn by WebGL, or by hand where there is none. A point lies at A first + B second + C.

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

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    const asked = { alpha: true, premultipliedAlpha: true, antialias: false, preserveDrawingBuffer: true };
    this.gl = canvas.getContext("webgl2", asked);
    if (this.gl) this.#prepare();
    else this.flat = canvas.getContext("2d");
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

  /** Clouds one after another, `count` points each. */
  load(data, count) {
    this.data = data;
    this.count = count;
    if (this.gl) this.gl.bufferData(this.gl.ARRAY_BUFFER, data, this.gl.STATIC_DRAW);
  }

  /** How large a point is, in pixels of the page, and how much of its colour it has. */
  look(glow) {
    const crowd = Math.sqrt(5000 / Math.max(this.count, 500));
    return { size: Math.min(Math.max(2.6 * Math.sqrt(crowd), 1.6), 4.2), share: Math.min((glow ? 0.62 : 0.5) * crowd, 0.9) };
  }

  /** Where the points of the mixture of two clouds are, in shares of the picture from its left and its top. */
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
      gl.blendFunc(gl.ONE, glow ? gl.ONE : gl.ONE_MINUS_SRC_ALPHA);
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
    const { flat, canvas } = this;
    flat.clearRect(0, 0, canvas.width, canvas.height);
    if (!seen) return;
    flat.fillStyle = `rgba(${colour.map((part) => Math.round(255 * part)).join(",")},${share})`;
    for (const [x, y] of this.places({ first, second, mix, shift, box })) {
      flat.fillRect(x * canvas.width - size / 2, y * canvas.height - size / 2, size, size);
    }
  }
}

/** Three numbers from 0 to 1 as a colour of CSS, so opaque. */
export const css = (colour, share) => `rgba(${colour.map((part) => Math.round(255 * part)).join(",")},${share})`;

/** "#rrggbb" as three numbers from 0 to 1. */
export function colour(text) {
  return [1, 3, 5].map((at) => parseInt(text.trim().slice(at, at + 2), 16) / 255);
}

/** Give a canvas as many pixels as it has on the screen; how many of them make one of the page's. */
export function fitted(canvas) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return ratio;
}
