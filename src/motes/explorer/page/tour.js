// A tour with eight stops, from a shape to your own training.

import { PLACES } from "/state.js";

const id = (name) => document.getElementById(name);
const data = { sampler: "data", steps: 0 }, good = { sampler: "dpmpp_3m", steps: 32 };

const STOPS = [
  {
    title: "A shape made of points",
    text: "These are real points, here on a rolled-up strip. Points like these are all that a model ever sees of a distribution.",
    state: { panels: [data], layers: ["points"], place: 0 },
  },
  {
    title: "Noise, a little at a time",
    text: "Random noise moves each point further and further: x = α · data + σ · noise. Fine details disappear first, the overall shape last.",
    state: { panels: [data], layers: ["points"] }, play: 1,
  },
  {
    title: "Pure noise",
    text: "At the end there is a Gaussian cloud, whatever the data was. Generation starts here, because it is easy to draw new points from a Gaussian.",
    state: { panels: [data, good], layers: ["points"], place: PLACES },
  },
  {
    title: "The direction of the data",
    text: "The score points to higher density at this noise level. A network that predicts the clean point from a noisy one has learned the score. Click in a picture to see where it leads.",
    state: { panels: [data, good], layers: ["points", "arrows"], side: "learned", place: 430 }, about: "layers",
  },
  {
    title: "Back, step by step",
    text: "Follow the arrows while the noise level falls, and the cloud becomes the shape. On the left are real points with equal noise: at every time both clouds should look alike. The distance measures how much they differ.",
    state: { panels: [data, good], layers: ["points"] }, play: -1,
  },
  {
    title: "Steps cost time",
    text: "Each step evaluates the network. Four steps of Euler's method follow the arrows too far in one direction; Heun's method looks ahead, and 16 steps give nearly the right shape. Both start from the same noise.",
    state: { panels: [{ sampler: "euler", steps: 4 }, { sampler: "heun", steps: 16 }], layers: ["points"], place: 0 },
  },
  {
    title: "Is it right?",
    text: "For a shape, the exact density is known. Blue contours are exact, amber contours are learned: where they differ, the network is wrong.",
    state: { panels: [good], layers: ["points", "lines"], side: "both", place: 330 }, about: "sides",
  },
  {
    title: "Your turn",
    text: "Draw a shape, press Train, and watch the points find it. The dashed line under the loss is the theoretical minimum, which even a perfect network cannot beat.",
    state: { panels: [data, good], layers: ["points"], place: 0 }, about: "train-title",
  },
];

export class Tour {
  constructor(explorer) {
    this.explorer = explorer;
    this.at = -1;
    id("tour").addEventListener("click", () => this.go(0));
    id("tour-back").addEventListener("click", () => this.go(this.at - 1));
    id("tour-next").addEventListener("click", () => this.go(this.at + 1));
    id("tour-end").addEventListener("click", () => this.end());
    id("stop").addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.end();
    });
  }

  /** Go to a stop; what it changes can be undone. */
  async go(at) {
    if (at < 0 || at >= STOPS.length) return this.end();
    this.at = at;
    const { title, text, state, play, about } = STOPS[at], { explorer } = this;
    id("stop").hidden = false;
    id("lede").hidden = true;
    id("stop-title").textContent = title;
    id("stop-text").textContent = text;
    id("stop-number").textContent = `${at + 1} of ${STOPS.length}`;
    id("tour-back").disabled = at === 0;
    id("tour-next").textContent = at === STOPS.length - 1 ? "End" : "Next";
    id("tour-next").focus({ preventScroll: true });
    explorer.play(0);
    explorer.drop(null);
    await explorer.change((now) => {
      const fits = (panels) => panels.filter((one) => one.sampler !== "data" || explorer.about.data);
      Object.assign(now, structuredClone(state));
      now.panels = fits(now.panels).length ? fits(now.panels) : [{ ...good }];
      if (!explorer.about.exact) now.side = "learned";
      if (!explorer.about.layers) now.layers = ["points"];
    });
    id(about ?? "picture").scrollIntoView({ block: "start" });
    if (play && !window.matchMedia("(prefers-reduced-motion: reduce)").matches) {
      explorer.state.place = play > 0 ? 0 : PLACES;
      explorer.play(play);
    }
  }

  end() {
    this.at = -1;
    id("stop").hidden = true;
    id("lede").hidden = false;
    id("tour").focus({ preventScroll: true });
  }
}

