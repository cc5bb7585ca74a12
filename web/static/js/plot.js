// The loss plot: grows with each step, and tells the losses of the step one points at or goes to by keys.
import { BOX, PARTS, lossRange, lossTicks, lossWords, pathOf, px, stepTicks, tickWords, xOf, yOf } from "./curve.js";

const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

/** Tells "pick" with a step when one presses Enter or clicks. */
export class LossPlot extends EventTarget {
  #root;
  #field;
  #steps;
  #points = new Map();
  #sorted = [];
  #pointed = null; // the step one looks at
  #shown = null; // the step whose picture is on the stage
  #range = [0.1, 1];
  #marks = make("g", {});
  #drawing = 0;

  constructor(root) {
    super();
    this.#root = root;
    this.#field = root.querySelector("[data-plot-field]");
    this.#steps = Number(root.dataset.steps);
    Object.entries({ tabindex: "0", role: "slider", "aria-label": "Losses at a step", "aria-valuemin": "0" })
      .forEach(([name, value]) => this.#field.setAttribute(name, value));
    this.#field.addEventListener("pointermove", (event) => this.#point(this.#nearest(event)));
    this.#field.addEventListener("pointerleave", () => this.#point(null));
    this.#field.addEventListener("blur", () => this.#point(null));
    this.#field.addEventListener("click", (event) => this.#pick(this.#nearest(event)));
    this.#field.addEventListener("keydown", (event) => this.#press(event));
    this.#readout();
  }

  /** Take the curves of all checkpoints; a job that began anew has forgotten the steps before. */
  set(checkpoints, steps) {
    this.#steps = steps;
    const last = this.#points;
    this.#points = new Map();
    for (const { step, losses, curve } of checkpoints) {
      const own = [step, losses.total, losses.content, losses.style];
      for (const point of curve.length ? curve : [own]) this.#points.set(point[0], point);
    }
    const known = Math.max(0, ...this.#points.keys());
    // What was seen live after the last checkpoint stays until the next one tells of it.
    for (const [step, point] of last) if (step > known && point.isLive) this.#points.set(step, point);
    this.#plan();
  }

  /** Forget what was only seen live after a step, with which the job goes on. */
  rewind(last) {
    const gone = [...this.#points].filter(([step, point]) => point.isLive && step > last);
    for (const [step] of gone) this.#points.delete(step);
    if (gone.length) this.#plan();
  }

  /** Take the losses of a step as it is now. */
  add(step, loss) {
    if (!loss || this.#points.has(step)) return;
    const point = [step, loss.total, loss.content, loss.style];
    point.isLive = true;
    this.#points.set(step, point);
    this.#plan();
  }

  /** Mark the step whose picture is shown; null is none. */
  mark(step) {
    this.#shown = step;
    this.#mark();
  }

  #plan() {
    this.#sorted = [...this.#points.values()].sort((one, other) => one[0] - other[0]);
    // Several changes between two frames are drawn once.
    this.#drawing ||= requestAnimationFrame(() => {
      this.#drawing = 0;
      this.#draw();
    });
  }

  #draw() {
    const points = this.#sorted;
    const steps = this.#steps;
    this.#range = lossRange(points);
    const svg = make("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, "aria-hidden": "true" });
    const grid = make("g", { class: "grid" });
    const ticks = make("g", { class: "ticks" });
    for (const loss of points.length ? lossTicks(this.#range) : []) {
      const y = yOf(loss, this.#range);
      grid.append(make("path", { d: `M${BOX.left} ${px(y)}H${BOX.right}` }));
      ticks.append(make("text", { x: BOX.left - 6, y: px(y + 4), "text-anchor": "end" }, tickWords(loss)));
    }
    for (const step of stepTicks(steps)) {
      const x = px(xOf(step, steps));
      grid.append(make("path", { d: `M${x} ${BOX.bottom}v4` }));
      ticks.append(make("text", { x, y: BOX.bottom + 17, "text-anchor": "middle" }, step));
    }
    grid.append(make("path", { class: "axis", d: `M${BOX.left} ${BOX.top}V${BOX.bottom}H${BOX.right}` }));
    const curves = PARTS.map((part, place) => make("path", { class: `curve ${part}`, d: pathOf(points, place + 1, steps, this.#range) }));
    svg.append(grid, ticks, ...curves, this.#marks);
    this.#field.querySelector("svg").replaceWith(svg);
    if (points.length) this.#field.querySelector(".plot-empty")?.remove();
    this.#mark();
  }

  #mark() {
    const marks = [];
    if (this.#shown !== null) marks.push(this.#line(this.#shown, "shown-step"));
    const point = this.#pointed === null ? null : this.#points.get(this.#pointed);
    if (point) {
      const x = px(xOf(point[0], this.#steps));
      marks.push(this.#line(point[0], "cursor"));
      PARTS.forEach((part, place) => {
        const y = yOf(point[place + 1], this.#range);
        if (y !== null) marks.push(make("circle", { class: `dot ${part}`, cx: x, cy: px(y), r: 4 }));
      });
    }
    this.#marks.replaceChildren(...marks);
    this.#readout();
  }

  #line(step, name) {
    return make("path", { class: name, d: `M${px(xOf(step, this.#steps))} ${BOX.top}V${BOX.bottom}` });
  }

  #readout() {
    const point = this.#points.get(this.#pointed) ?? this.#sorted.at(-1);
    const field = this.#field;
    field.setAttribute("aria-valuemax", this.#steps);
    field.setAttribute("aria-valuenow", point?.[0] ?? 0);
    if (!point) return field.setAttribute("aria-valuetext", "no losses yet");
    const [step, ...losses] = point;
    PARTS.forEach((part, place) => {
      this.#root.querySelector(`[data-value="${part}"]`).textContent = lossWords(losses[place]);
    });
    this.#root.querySelector("[data-readout]").textContent = `step ${step}`;
    const words = PARTS.map((part, place) => `${part} ${lossWords(losses[place])}`).join(", ");
    field.setAttribute("aria-valuetext", `step ${step}: ${words}`);
  }

  #point(step) {
    if (step === this.#pointed) return;
    this.#pointed = step;
    this.#mark();
  }

  #nearest(event) {
    const box = this.#field.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * BOX.width;
    let best = null;
    for (const [step] of this.#sorted) {
      if (best === null || Math.abs(xOf(step, this.#steps) - x) < Math.abs(xOf(best, this.#steps) - x)) best = step;
    }
    return best;
  }

  #press(event) {
    const all = this.#sorted;
    const at = this.#pointed === null ? all.length - 1 : all.findIndex(([step]) => step === this.#pointed);
    const far = Math.max(1, Math.round(all.length / 10));
    const moves = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, PageDown: at - far, PageUp: at + far, Home: 0, End: all.length - 1 };
    if (event.key === "Enter") this.#pick(this.#pointed);
    if (!(event.key in moves) || !all.length) return;
    event.preventDefault();
    this.#point(all[Math.max(0, Math.min(all.length - 1, moves[event.key]))][0]);
  }

  #pick(step) {
    if (step !== null) this.dispatchEvent(new CustomEvent("pick", { detail: step }));
  }
}
