// The drawing area: strokes become points at equal distances, in a plane from -REACH to REACH.

import { fitted } from "/paint.js";

const REACH = 2;
const APART = 0.035; // distance between points of a stroke
const RUBBER = 0.22;
const STEP = 0.1; // step of an arrow key; four times as far with Shift
const TOOLS = ["brush", "line", "eraser"];

const id = (name) => document.getElementById(name);

export class Sketchpad {
  /** @param most points; @param onChange called after every stroke. */
  constructor(canvas, most, onChange) {
    Object.assign(this, { canvas, most, onChange, points: [], colours: [], tool: "brush", colour: 0 });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.#begin(this.#at(event));
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1) for (const one of event.getCoalescedEvents?.() ?? [event]) this.#go(this.#at(one));
    });
    canvas.addEventListener("pointerup", (event) => this.#end(this.#at(event)));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    for (const tool of TOOLS) id(tool).addEventListener("click", () => this.take(tool));
    for (const button of id("colours").children) {
      button.addEventListener("click", () => {
        this.colour = Number(button.value);
        for (const one of id("colours").children) one.setAttribute("aria-pressed", one === button);
        if (this.tool === "eraser") this.take("brush");
      });
    }
    id("blank").addEventListener("click", () => this.clear());
  }

  /** The drawing in a request. */
  get asked() {
    return { sketch: this.points, colours: this.colours };
  }

  take(tool) {
    this.tool = tool;
    for (const one of TOOLS) id(one).setAttribute("aria-pressed", one === tool);
  }

  #at(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    return [(2 * (event.clientX - left) / width - 1) * REACH, (1 - 2 * (event.clientY - top) / height) * REACH];
  }

  #begin(at) {
    this.last = this.start = null;
    if (this.tool === "line") this.start = this.end = at;
    else this.#go(at);
  }

  #go(to) {
    if (this.tool === "eraser") {
      const from = this.last ?? to, kept = this.points.map((point) => away(point, from, to) > RUBBER);
      this.last = to;
      this.points = this.points.filter((_, k) => kept[k]);
      this.colours = this.colours.filter((_, k) => kept[k]);
    } else if (this.tool === "line") {
      this.end = to;
    } else {
      this.#stroke(to);
    }
    this.draw();
  }

  #end(at) {
    if (this.tool === "line" && this.start) {
      this.end = at;
      this.last = null;
      this.#stroke(this.start);
      this.#stroke(at);
    }
    this.last = this.start = null;
    this.draw();
    this.onChange();
  }

  /** Add points from the last one on, at equal distances. */
  #stroke(to) {
    const from = this.last ?? to, long = Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (!this.last) this.#add(to);
    else if (long < APART) return;
    for (let k = 1; k <= Math.floor(long / APART); k++) {
      const share = k * APART / long;
      this.#add([0, 1].map((j) => from[j] + share * (to[j] - from[j])));
    }
    this.last = to;
  }

  #add([x, y]) {
    const inside = Math.max(Math.abs(x), Math.abs(y)) <= REACH;
    if (!inside || this.points.length >= this.most) return;
    this.points.push([Number(x.toFixed(3)), Number(y.toFixed(3))]);
    this.colours.push(this.colour);
  }

  /** Move the pen with arrow keys; Space puts it down or lifts it. */
  #key(event) {
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    this.pen ??= [0, 0];
    if (event.key === " ") {
      this.down = !this.down;
      if (this.down) this.#begin(this.pen);
      else this.#end(this.pen);
      return;
    }
    const far = STEP * (event.shiftKey ? 4 : 1);
    this.pen = this.pen.map((value, k) => Math.min(Math.max(value + far * move[k], -REACH), REACH));
    if (this.down) this.#go(this.pen);
    else this.draw();
  }

  clear() {
    this.points = [];
    this.colours = [];
    this.draw();
    this.onChange();
  }

  draw() {
    const ratio = fitted(this.canvas), context = this.canvas.getContext("2d"), { width, height } = this.canvas;
    const style = getComputedStyle(document.documentElement), named = (name) => style.getPropertyValue(name).trim();
    const place = ([x, y]) => [(x / REACH + 1) / 2 * width, (1 - y / REACH) / 2 * height];
    context.clearRect(0, 0, width, height);
    this.points.forEach((point, k) => {
      context.fillStyle = named(`--class-${this.colours[k]}`);
      marked(context, this.colours[k], ...place(point), 3.5 * ratio);
    });
    if (this.start && this.tool === "line") {
      context.strokeStyle = named(`--class-${this.colour}`);
      context.lineWidth = 2 * ratio;
      context.beginPath();
      context.moveTo(...place(this.start));
      context.lineTo(...place(this.end));
      context.stroke();
    }
    if (this.pen && document.activeElement === this.canvas) {
      context.strokeStyle = named("--ink");
      context.lineWidth = 1.5 * ratio;
      context.beginPath();
      context.arc(...place(this.pen), (this.down ? 4 : 7) * ratio, 0, 2 * Math.PI);
      context.stroke();
    }
    if (!this.points.length && !this.start) {
      context.fillStyle = named("--soft");
      context.font = `${15 * ratio}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.fillText("Draw here", width / 2, height / 2);
    }
  }
}

/** Return the distance of a point from the segment between two others. */
function away([x, y], [fromX, fromY], [toX, toY]) {
  const [dx, dy] = [toX - fromX, toY - fromY], square = dx * dx + dy * dy;
  const share = square ? Math.min(Math.max(((x - fromX) * dx + (y - fromY) * dy) / square, 0), 1) : 0;
  return Math.hypot(x - fromX - share * dx, y - fromY - share * dy);
}

/** Draw the mark of a class, with a form for each colour. */
function marked(context, colour, x, y, size) {
  context.beginPath();
  if (colour === 1) context.rect(x - size, y - size, 2 * size, 2 * size);
  else if (colour === 2) [[0, -1.3], [1.2, 0.9], [-1.2, 0.9]].forEach(([dx, dy]) => context.lineTo(x + size * dx, y + size * dy));
  else if (colour === 3) [[0, -1.5], [1.5, 0], [0, 1.5], [-1.5, 0]].forEach(([dx, dy]) => context.lineTo(x + size * dx, y + size * dy));
  else context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
}
