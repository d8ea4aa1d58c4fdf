// Downloads: a page without a server, recipe, model, points, a picture, and the equivalent Python.

import { SvgContext } from "/svg.js";

const FILES = [
  // button, form, type, ending
  ["save-page", "page", "text/html", "html"],
  ["save-recipe", "recipe", "application/toml", "toml"],
  ["save-model", "model", "application/octet-stream", "safetensors"],
];
const id = (name) => document.getElementById(name);

export class Taker {
  constructor(explorer) {
    this.explorer = explorer;
    for (const [button, form, type, ending] of FILES) id(button).addEventListener("click", () => this.#file(form, type, ending));
    id("save-csv").addEventListener("click", () => this.#csv());
    id("save-png").addEventListener("click", () => this.#png());
    id("save-svg").addEventListener("click", () => this.#svg());
    id("copy-python").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(id("python").textContent);
        this.#note("Copied.");
      } catch {
        this.#note("The browser does not let the page copy; select the lines below instead.");
      }
    });
  }

  #note(text) {
    id("take-note").textContent = text;
  }

  #name(ending) {
    return `motes-${this.explorer.state.model.replace(/[^\w-]+/g, "-")}.${ending}`;
  }

  #save(parts, type, ending) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type }));
    link.download = this.#name(ending);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    this.#note(`Saved as ${link.download}.`);
  }

  /** Save a file that the server creates. */
  async #file(form, type, ending) {
    try {
      const { header } = await this.explorer.link.ask("export", { ...this.explorer.named, form, seed: this.explorer.state.seed });
      const bytes = header.base64 && Uint8Array.from(atob(header.base64), (letter) => letter.charCodeAt(0));
      this.#save([bytes ?? header.text], type, ending);
    } catch (error) {
      if (error) this.#note(error.message);
    }
  }

  /** The last picture with a sampler, or the real points. */
  get #panel() {
    return this.explorer.panels.filter((panel) => !panel.isData).at(-1) ?? this.explorer.panels.at(-1);
  }

  #csv() {
    const { painter, loaded } = this.#panel, { count, data } = painter;
    const rows = loaded === "data" ? data.slice(0, 2 * count) : data.slice(-2 * count);
    const lines = [this.explorer.about.columns.map((name) => `"${name.replaceAll('"', '""')}"`).join(",")];
    for (let k = 0; k < rows.length; k += 2) lines.push(`${rows[k]},${rows[k + 1]}`);
    this.#save([lines.join("\n"), "\n"], "text/csv", "csv");
  }

  #png() {
    const { points, over } = this.#panel, canvas = document.createElement("canvas");
    canvas.width = points.width;
    canvas.height = points.height;
    const context = canvas.getContext("2d");
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--frame").trim();
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (const layer of [points, over]) context.drawImage(layer, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => this.#save([blob], "image/png", "png"));
  }

  /** Save the picture as SVG, drawn by the same calls as on the canvas. */
  async #svg() {
    const { explorer } = this, panel = this.#panel, { place } = explorer.state, side = 480, context = new SvgContext(side, side);
    context.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--frame").trim();
    context.fillRect(0, 0, side, side);
    const mixture = panel.mixture(place), { size, share } = panel.painter.look(mixture.glow);
    const colour = `rgba(${mixture.colour.map((part) => Math.round(255 * part)).join(",")},${share.toFixed(2)})`;
    if (mixture.seen) context.dots(panel.painter.places(mixture).map(([x, y]) => [x * side, y * side]), size, colour);
    panel.cover(context, place, side, side, 1);
    this.#save([await context.text(`motes: ${explorer.summary}`)], "image/svg+xml", "svg");
  }

  /** Show the Python code for the points of the last picture. */
  tell() {
    const { state, about } = this.explorer, panel = state.panels.filter((one) => one.sampler !== "data").at(-1);
    const guided = state.guidance === 1 || state.label === null ? {} : { guidance: state.guidance };
    const label = state.label === null ? "" : `, label=${JSON.stringify(about.classes[state.label])}`;
    const options = (how) => (Object.keys(how).length ? `, sampling=${JSON.stringify(how).replaceAll(/":/g, '": ').replaceAll(/,"/g, ', "')}` : "");
    const how = options({ ...(panel && { sampler: panel.sampler, steps: panel.steps }), ...guided });
    const lines = ["import motes", ""];
    if (about.python) lines.push(`model = ${about.python}`);
    else lines.push(`model = motes.load("${this.#name("safetensors")}")  # which the button Model saves`);
    lines.push(`points = model.sample(${state.n}, seed=${state.seed}${label}${how})`);
    if (state.known) {
      const given = `{${JSON.stringify(about.columns[state.known.axis])}: ${state.known.value}}`;
      lines.push(`on_the_line = model.sample(600, given=${given}, seed=${state.seed}${label}${options(guided)})`);
    }
    id("python").textContent = lines.join("\n");
  }
}
