// A drawing surface that writes SVG, with the canvas methods that this page uses.

const round = (value) => Number(value.toFixed(2));
const escape = (text) => String(text).replace(/[&<>"]/g, (letter) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[letter]);

export class SvgContext {
  constructor(width, height) {
    Object.assign(this, { width, height, parts: [], path: "", dash: [] });
    Object.assign(this, { strokeStyle: "#000", fillStyle: "#000", lineWidth: 1, lineCap: "butt", lineJoin: "miter", globalAlpha: 1, font: "10px sans-serif", textAlign: "left" });
  }

  beginPath() {
    this.path = "";
  }

  moveTo(x, y) {
    this.path += `M${round(x)} ${round(y)}`;
  }

  lineTo(x, y) {
    this.path += `${this.path ? "L" : "M"}${round(x)} ${round(y)}`;
  }

  closePath() {
    this.path += "Z";
  }

  /** Draw a full circle, the only arc on this page. */
  arc(x, y, r) {
    this.path += `M${round(x - r)} ${round(y)}a${round(r)} ${round(r)} 0 1 0 ${round(2 * r)} 0a${round(r)} ${round(r)} 0 1 0 ${round(-2 * r)} 0`;
  }

  setLineDash(dash) {
    this.dash = dash;
  }

  #seen() {
    return this.globalAlpha < 1 ? ` opacity="${this.globalAlpha}"` : "";
  }

  stroke() {
    if (!this.path) return;
    const dash = this.dash.length ? ` stroke-dasharray="${this.dash.map(round).join(" ")}"` : "";
    this.parts.push(`<path d="${this.path}" fill="none" stroke="${escape(this.strokeStyle)}" stroke-width="${round(this.lineWidth)}" stroke-linecap="${this.lineCap}" stroke-linejoin="${this.lineJoin}"${dash}${this.#seen()}/>`);
  }

  fill() {
    if (this.path) this.parts.push(`<path d="${this.path}" fill="${escape(this.fillStyle)}"${this.#seen()}/>`);
  }

  fillRect(x, y, width, height) {
    this.parts.push(`<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}" fill="${escape(this.fillStyle)}"${this.#seen()}/>`);
  }

  fillText(text, x, y) {
    const [size, family] = this.font.split(/px\s*/), anchor = { left: "start", center: "middle", right: "end" }[this.textAlign];
    this.parts.push(`<text x="${round(x)}" y="${round(y)}" font-size="${round(Number(size))}" font-family="${escape(family)}" text-anchor="${anchor}" fill="${escape(this.fillStyle)}">${escape(text)}</text>`);
  }

  /** Embed an image, such as a density, as pixels. */
  drawImage(image, x, y, width, height) {
    this.parts.push({ image, at: `x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${round(height)}"${this.#seen()}` });
  }

  clearRect() {
    this.parts = [];
  }

  /** Draw many points as one path of dots. */
  dots(places, size, style) {
    this.parts.push(`<path d="${places.map(([x, y]) => `M${round(x)} ${round(y)}h0`).join("")}" fill="none" stroke="${escape(style)}" stroke-width="${round(size)}" stroke-linecap="round"/>`);
  }

  /** Return the SVG file. */
  async text(title) {
    const whole = await Promise.all(this.parts.map(async (part) => (typeof part === "string" ? part : `<image ${part.at} preserveAspectRatio="none" href="${await address(part.image)}"/>`)));
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${this.width} ${this.height}" width="${this.width}" height="${this.height}"><title>${escape(title)}</title>\n${whole.join("\n")}\n</svg>\n`;
  }
}

/** Convert a canvas to a data URL of a PNG. */
async function address(image) {
  const blob = image.convertToBlob ? await image.convertToBlob() : await new Promise((done) => image.toBlob(done));
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  return `data:image/png;base64,${btoa(text)}`;
}
