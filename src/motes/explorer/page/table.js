// One row of a table: known cells, and the distribution of every masked cell given these.

import { css, fitted } from "/paint.js";
import { count, make, number } from "/words.js";

const PACE = 900; // milliseconds between two columns that are unmasked one after the other
const LABELLED = 12; // maximum bars with labels
const LINE = 24; // height of a labelled bar in pixels
const INPUTS = {
  number: { type: "number", step: "any", inputMode: "decimal" },
  text: { type: "text" },
  date: { type: "date" },
  time: { type: "datetime-local", step: "any" },
};

const id = (name) => document.getElementById(name);

export class TableView {
  constructor(explorer, tables, opens) {
    Object.assign(this, { explorer, tables, cards: [], runs: false });
    const section = id("table");
    section.hidden = !tables.length;
    if (!tables.length) return;
    if (opens === "table") document.querySelector("main").insertBefore(section, id("picture"));
    for (const name of tables) id("tables").append(make("option", name.replaceAll("_", " "), { value: name }));
    id("tables-field").hidden = tables.length < 2;
    id("tables").addEventListener("change", () => this.explorer.change((state) => { state.table = { name: id("tables").value, row: {} }; }));
    id("unmask").addEventListener("click", () => this.unmask());
    id("unmask-all").addEventListener("click", () => this.run(!this.runs));
    id("mask-all").addEventListener("click", () => this.change({}));
    // The programs of a table are compiled once it is visible.
    const watch = new IntersectionObserver((seen) => {
      if (!seen.some((one) => one.isIntersecting)) return;
      watch.disconnect();
      this.isSeen = true;
      this.show();
    }, { rootMargin: "200px" });
    watch.observe(section);
  }

  get name() {
    const { name } = this.explorer.state.table;
    return this.tables.includes(name) ? name : this.tables[0];
  }

  get row() {
    return this.explorer.state.table.row;
  }

  /** Set the known cells, so that it can be undone. */
  change(row) {
    this.run(false);
    return this.#fix(row);
  }

  #fix(row) {
    return this.explorer.change((state) => { state.table = { name: this.name, row }; });
  }

  fix(column, value) {
    return this.change({ ...this.row, [column]: value });
  }

  free(column) {
    const { [column]: gone, ...row } = this.row;
    return this.change(row);
  }

  /** Update the section to the state. */
  async show() {
    if (!this.tables.length) return;
    const written = JSON.stringify([this.name, this.row, this.isSeen]);
    if (written === this.shown) return;
    this.shown = written;
    try {
      if (this.about?.name !== this.name) await this.#open();
      if (written !== this.shown) return;
      this.cards.forEach((card) => card.tell(this.row));
      id("mask-all").disabled = !Object.keys(this.row).length;
      if (!this.isSeen) return; // its cells already take up their space, so that nothing moves later
      const waiting = setTimeout(() => this.wait(), 500);
      const found = await this.explorer.link.ask("row", { table: this.name, row: this.row }).finally(() => clearTimeout(waiting));
      this.#take(found);
    } catch (error) {
      if (error) this.#wrong(error);
    }
  }

  async #open() {
    this.about = (await this.explorer.link.ask("table", { table: this.name })).header.about;
    const { about } = this;
    id("tables").value = this.name;
    const constant = Object.entries(about.constant).map(([name, value]) => `${name} is always ${value}`);
    id("table-about").textContent = [
      `${count(about.rows)} rows of ${about.source || "your table"}; the network has ${count(about.parameters)} parameters.`,
      constant.length ? `${constant.join(", ")}.` : "",
    ].join(" ");
    this.cards = about.columns.map((column) => new Card(this, column));
    id("cells").replaceChildren(...this.cards.map((card) => card.element));
    this.answer = null;
  }

  #take({ header, p }) {
    this.answer = { header, p };
    let place = 0;
    for (const card of this.cards) {
      const { length } = card.column.texts;
      card.take(p.subarray(place, place + length), header.cells[card.column.name]);
      place += length;
    }
    this.note("");
    this.#tell();
  }

  #tell() {
    const known = Object.keys(this.row).length, all = this.cards.length, { log_p } = this.answer.header;
    id("table-log-p").textContent = known ? `log p = ${number(log_p, 4)} nats` : "nothing is known";
    id("table-known").textContent = known === all ? "the whole row" : `${known} of ${all} cells are known`;
    id("unmask").disabled = id("unmask-all").disabled = known === all;
    if (known === all) this.run(false);
  }

  #wrong(error) {
    this.run(false);
    this.note(error.message);
  }

  /** Say that the first answer is being compiled, where its bars will be. */
  wait() {
    this.note("Compiling the network …");
    for (const card of this.cards) if (!card.p) card.words.textContent = "compiling …";
  }

  /** Show a note below the cells. */
  note(text) {
    id("table-note").textContent = text;
  }

  /** Draw the next column, in the order that was chosen, from its distribution given the known ones. */
  async unmask() {
    if (!this.answer || this.drawing) return;
    const { row } = this, { seed } = this.explorer.state, known = Object.keys(row).length;
    this.drawing = true;
    try {
      const asked = { table: this.name, row, seed: (seed * 64 + known) % 2 ** 32 };
      const { drawn } = (await this.explorer.link.ask("reveal", asked)).header;
      if (JSON.stringify(row) !== JSON.stringify(this.row) || !drawn.length) return;
      const at = id("table-order").value === "own" ? 0 : Math.floor(chance(seed, known) * drawn.length);
      const [column, value] = drawn[at];
      await this.#fix({ ...row, [column]: value });
      this.cards.find((card) => card.column.name === column)?.flash();
    } catch (error) {
      if (error) this.#wrong(error);
    } finally {
      this.drawing = false;
    }
  }

  /** Unmask one column after the other, until the row is complete. */
  run(on) {
    if (this.runs === on) return;
    this.runs = on;
    clearInterval(this.timer);
    id("unmask-all").setAttribute("aria-pressed", on);
    id("unmask-all").textContent = on ? "Pause" : "All of them";
    if (!on) return;
    this.unmask();
    this.timer = setInterval(() => this.unmask(), PACE);
  }

  draw() {
    for (const card of this.cards) card.draw();
  }

  /** Description for screen readers. */
  get summary() {
    if (!this.answer) return "";
    const known = Object.entries(this.row).map(([name, value]) => `${name} ${value ?? "missing"}`).join(", ");
    return `The row: ${known || "nothing is known"}.`;
  }
}

/** One cell: its value or "unknown", and its distribution. */
class Card {
  constructor(view, column) {
    Object.assign(this, { view, column });
    const name = `cell-${view.about.columns.indexOf(column)}`;
    this.element = make("div", "", { className: "cell" });
    const head = make("div", "", { className: "cell-head" });
    if (column.input === "label") {
      this.input = make("select", "", { id: name });
      this.input.append(make("option", "unknown", { value: "" }));
      column.labels.forEach((label, k) => this.input.append(make("option", String(label), { value: k })));
      if (column.missing) this.input.append(make("option", "missing", { value: "missing" }));
    } else {
      this.input = make("input", "", { id: name, placeholder: "unknown", ...INPUTS[column.input] });
      if (column.first) Object.assign(this.input, { min: column.first, max: column.last });
    }
    this.hide = make("button", "×", { type: "button", className: "quiet close", title: "Mask this cell" });
    this.hide.setAttribute("aria-label", `Mask ${column.name}`);
    head.append(make("label", column.name.replaceAll("_", " "), { htmlFor: name }), this.hide);
    this.canvas = make("canvas");
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${column.name}: its distribution is not computed yet`);
    this.words = make("p", "", { className: "small" });
    this.element.append(head, this.input, this.canvas, this.words);
    this.canvas.style.height = `${this.lined ? LINE * column.texts.length : 112}px`;
    this.#listen();
  }

  /** Whether bars are horizontal, with labels; otherwise they are vertical. */
  get lined() {
    return this.column.texts.length <= LABELLED;
  }

  #listen() {
    const { view, column } = this;
    this.input.addEventListener("change", () => {
      const text = this.input.value, of = { label: () => (text === "missing" ? null : column.labels[Number(text)]), number: () => Number(text) };
      if (!this.input.checkValidity()) view.note(`${column.name}: ${this.input.validationMessage}`);
      else if (text === "") view.free(column.name);
      else view.fix(column.name, (of[column.input] ?? (() => text))());
    });
    this.hide.addEventListener("click", () => {
      this.input.focus();
      view.free(column.name);
    });
    this.canvas.addEventListener("click", (event) => {
      const bar = this.#bar(event), value = column.values[bar], missing = column.missing && bar === column.texts.length - 1;
      if (missing) view.fix(column.name, null);
      else if (value === null || value === undefined) this.input.focus();
      else view.fix(column.name, value);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      this.over = this.#bar(event);
      this.draw();
    });
    this.canvas.addEventListener("pointerleave", () => {
      this.over = undefined;
      this.draw();
    });
  }

  /** The bar under a pointer. */
  #bar(event) {
    const { left, top, width, height } = this.canvas.getBoundingClientRect(), { length } = this.column.texts;
    const share = this.lined ? (event.clientY - top) / height : (event.clientX - left) / width;
    return Math.min(Math.max(Math.floor(share * length), 0), length - 1);
  }

  /** Show the known value, if there is one. */
  tell(row) {
    const { column } = this, value = row[column.name], known = value !== undefined;
    this.known = known;
    this.hide.hidden = !known;
    this.element.classList.toggle("known", known);
    if (column.input === "label") this.input.value = value === null ? "missing" : known ? String(column.labels.indexOf(value)) : "";
    else this.input.value = known && value !== null ? String(value) : "";
    this.input.placeholder = value === null ? "missing" : "unknown";
  }

  take(p, nats) {
    this.p = p;
    this.nats = nats;
    const { texts, name } = this.column, best = [...p.keys()].sort((a, b) => p[b] - p[a]).slice(0, 3);
    const said = best.filter((k) => p[k] >= 0.005).map((k) => `${texts[k]}: ${percent(p[k])}`).join(", ");
    this.canvas.setAttribute("aria-label", this.known ? `${name} is known` : `${name}, ${said}`);
    this.draw();
  }

  /** Highlight a cell that was just unmasked. */
  flash() {
    this.element.classList.remove("new");
    void this.element.offsetWidth; // restarts the animation
    this.element.classList.add("new");
  }

  draw() {
    const { canvas, p, column, known } = this;
    if (!p) return;
    const ratio = fitted(canvas), context = canvas.getContext("2d"), { width, height } = canvas, { length } = p;
    const { colours, ink, soft } = this.view.explorer, most = Math.max(...p, 1e-9);
    context.clearRect(0, 0, width, height);
    context.font = `${13 * ratio}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (let k = 0; k < length; k++) {
      context.fillStyle = css(known ? colours.exact : colours.learned, k === this.over || known ? 1 : 0.78);
      if (this.lined) {
        const top = k * height / length, tall = height / length;
        context.fillRect(0, top + 0.76 * tall, Math.max(p[k] * width, p[k] > 0 ? ratio : 0), 0.16 * tall);
        context.fillStyle = known && !p[k] ? soft : ink;
        context.textAlign = "left";
        context.fillText(column.texts[k], 0, top + 0.4 * tall, 0.72 * width);
        context.textAlign = "right";
        if (!known) context.fillText(percent(p[k]), width, top + 0.4 * tall);
      } else {
        const wide = width / length, foot = height - 20 * ratio, high = 0.96 * foot * p[k] / most;
        context.fillRect(k * wide + 0.06 * wide, foot - high, 0.88 * wide, high);
      }
    }
    if (!this.lined) {
      context.fillStyle = soft;
      context.fillRect(0, height - 20 * ratio, width, ratio);
      for (const [k, x, side] of [[0, 0, "left"], [length - 1, width, "right"]]) {
        context.textAlign = side;
        context.fillText(this.#at(k), x, height - 8 * ratio);
      }
    }
    this.words.textContent = this.#words();
  }

  #words() {
    const { p, over, known, nats, column } = this;
    if (over !== undefined && !known) return `${column.texts[over]}: ${percent(p[over])}`;
    if (known) return nats === undefined ? "" : `contributes ${number(nats, 3)} nats to log p`;
    if (this.lined) return "";
    const there = column.missing ? p.subarray(0, -1) : p, total = there.reduce((sum, one) => sum + one, 0);
    const said = total < 0.5 ? [] : [`middle half from ${this.#at(quantile(there, 0.25 * total))} to ${this.#at(quantile(there, 0.75 * total))}`];
    if (total < 0.995) said.push(`missing in ${percent(1 - total)}`);
    return said.join("; ");
  }

  /** Describe a bar briefly. */
  #at(k) {
    const { values, texts } = this.column;
    return typeof values[k] === "number" ? number(values[k], 4) : String(values[k] ?? texts[k]);
  }
}

/** Return the bar at a quantile. */
function quantile(p, share) {
  let upto = 0;
  for (let k = 0; k < p.length; k++) {
    upto += p[k];
    if (upto >= share) return k;
  }
  return p.length - 1;
}

const percent = (p) => (p > 0 && p < 0.001 ? "< 0.1 %" : `${(100 * p).toFixed(p < 0.1 ? 1 : 0)} %`);

/** Return a pseudo-random number from 0 to 1 for a seed and a position. */
function chance(seed, place) {
  let word = (seed * 2654435761 + place * 40503 + 12345) >>> 0;
  word = Math.imul(word ^ (word >>> 15), 2246822519) >>> 0;
  word = Math.imul(word ^ (word >>> 13), 3266489917) >>> 0;
  return ((word ^ (word >>> 16)) >>> 0) / 2 ** 32;
}
