// Where a visitor draws: strokes become points at equal distances, in a plane from -REACH to REACH.

import { fitted } from "/paint.js";

const REACH = 2;
const APART = 0.035; // between points of a stroke
const RUBBER = 0.22;

export class Sketchpad {
  /** @param most points; @param onChange called after every stroke. */
  constructor(canvas, most, onChange) {
    Object.assign(this, { canvas, most, onChange, points: [], erases: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.last = null;
      this.#go(event);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) for (const one of event.getCoalescedEvents?.() ?? [event]) this.#go(one);
    });
    canvas.addEventListener("pointerup", () => {
      this.last = null;
      this.onChange();
    });
  }

  #go(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const to = [(2 * (event.clientX - left) / width - 1) * REACH, (1 - 2 * (event.clientY - top) / height) * REACH];
    if (this.erases) {
      this.points = this.points.filter(([x, y]) => Math.hypot(x - to[0], y - to[1]) > RUBBER);
    } else {
      const from = this.last ?? to, long = Math.hypot(to[0] - from[0], to[1] - from[1]);
      if (!this.last) this.#add(to);
      else if (long < APART) return;
      for (let k = 1; k <= Math.floor(long / APART); k++) {
        const share = k * APART / long;
        this.#add([0, 1].map((j) => from[j] + share * (to[j] - from[j])));
      }
      this.last = to;
    }
    this.draw();
  }

  #add([x, y]) {
    const inside = Math.max(Math.abs(x), Math.abs(y)) <= REACH;
    if (inside && this.points.length < this.most) this.points.push([Number(x.toFixed(3)), Number(y.toFixed(3))]);
  }

  clear() {
    this.points = [];
    this.draw();
    this.onChange();
  }

  draw() {
    const ratio = fitted(this.canvas), context = this.canvas.getContext("2d"), { width, height } = this.canvas;
    const style = getComputedStyle(document.documentElement);
    context.clearRect(0, 0, width, height);
    context.fillStyle = style.getPropertyValue("--exact").trim();
    for (const [x, y] of this.points) {
      context.beginPath();
      context.arc((x / REACH + 1) / 2 * width, (1 - y / REACH) / 2 * height, 3.5 * ratio, 0, 2 * Math.PI);
      context.fill();
    }
    if (!this.points.length) {
      context.fillStyle = style.getPropertyValue("--soft").trim();
      context.font = `${15 * ratio}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.fillText("Draw here", width / 2, height / 2);
    }
  }
}
