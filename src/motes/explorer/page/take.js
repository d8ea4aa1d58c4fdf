// What can be taken away: a page without a server, points, a picture, the Python that does the same.

import { TRAINING } from "/train.js";

const id = (name) => document.getElementById(name);

export class Taker {
  constructor(explorer) {
    this.explorer = explorer;
    id("save-page").addEventListener("click", () => this.#page());
    id("save-csv").addEventListener("click", () => this.#csv());
    id("save-png").addEventListener("click", () => this.#png());
    id("copy-python").addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(id("python").textContent);
        this.#note("Copied.");
      } catch {
        this.#note("The browser does not let the page copy; the lines below can be selected.");
      }
    });
  }

  #note(text) {
    id("take-note").textContent = text;
  }

  #save(parts, type, ending) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, { type }));
    link.download = `motes-${this.explorer.state.model.replace(/[^\w-]+/g, "-")}.${ending}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    this.#note(`Saved as ${link.download}.`);
  }

  async #page() {
    try {
      const found = await this.explorer.link.ask("export", this.explorer.named);
      this.#save([found.header.html], "text/html", "html");
    } catch (error) {
      if (error) this.#note(error.message);
    }
  }

  /** The last picture that is of a sampler, or the real points. */
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

  /** The Python whose points are those of the last picture. */
  tell() {
    const { state, about } = this.explorer, panel = state.panels.filter((one) => one.sampler !== "data").at(-1);
    const how = panel ? `model.sample(${state.n}, seed=${state.seed}, how={"sampler": "${panel.sampler}", "steps": ${panel.steps}})` : `model.sample(${state.n}, seed=${state.seed})`;
    id("python").textContent = state.model === TRAINING && !about.python
      ? "# A drawing or a file of yours is not known to Python: save the points, and give them to motes.fit."
      : `import motes\n\nmodel = ${about.python}\npoints = ${how}`;
  }
}
