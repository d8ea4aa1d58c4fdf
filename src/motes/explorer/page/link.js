// The socket: questions as JSON, answers as binary frames of float32 (see data/frames.py).

export class Link {
  /** @param {(why: string) => void} onEnd called once, when the connection has ended. */
  constructor(onEnd) {
    const token = new URLSearchParams(location.search).get("token") ?? "";
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/socket?token=${encodeURIComponent(token)}`);
    this.socket.binaryType = "arraybuffer";
    this.number = 0;
    this.onNews = () => {}; // called with the state of a training, which the server sends unasked
    this.asked = new Map(); // number -> {slot, done, failed}
    this.opened = new Promise((done) => this.socket.addEventListener("open", done, { once: true }));
    this.socket.addEventListener("message", (event) => this.#take(event.data));
    this.socket.addEventListener("close", (event) =>
      onEnd(event.reason || "The server has stopped. Run motes explore again and open the address that it prints."));
  }

  /** Send a request; a newer one of the same kind and panel replaces it, and it then rejects with `null`. */
  async ask(what, options = {}, panel = 0) {
    await this.opened;
    const slot = `${what} ${panel}`;
    for (const [number, one] of this.asked) {
      if (one.slot === slot) {
        this.asked.delete(number);
        one.failed(null);
      }
    }
    const number = ++this.number;
    const answer = new Promise((done, failed) => this.asked.set(number, { slot, done, failed }));
    if (this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify({ what, number, panel, ...options }));
    }
    return answer;
  }

  #take(data) {
    const length = new DataView(data).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const asked = this.asked.get(header.number), isNews = header.what === "news";
    if (!asked && !isNews) return;
    this.asked.delete(header.number);
    if (header.error && !isNews) {
      asked.failed(new Error(header.error));
      return;
    }
    const arrays = {};
    let place = 4 + length;
    for (const { name, shape } of header.arrays) {
      const count = shape.reduce((a, b) => a * b, 1);
      arrays[name] = new Float32Array(data, place, count);
      arrays[name].shape = shape;
      place += 4 * count;
    }
    if (isNews) this.onNews(header, arrays);
    else asked.done({ header, ...arrays });
  }
}
