// How far the job is: bar, numbers, the tab's title, and milestones for those who do not see them.
import { announce } from "./announcer.js";
import { span } from "./words.js";

const MILESTONES = [0.75, 0.5, 0.25];

export class ProgressLine {
  #root;
  #name;
  #status;
  #milestone;

  constructor(root, { name, status }) {
    this.#root = root;
    this.#name = name;
    this.#status = status;
    this.#milestone = this.#reached(root.querySelector("[data-bar]").value);
  }

  /** Take the whole job. */
  take(job) {
    this.#root.dataset.status = job.status;
    if (job.status !== this.#status) announce(`The job is ${job.status}.${job.error ? ` ${job.error.title}` : ""}`);
    this.#status = job.status;
    this.step(job.progress, job.status === "running" ? job.eta : null);
  }

  /** Take a step: progress and time left as events tell them. */
  step(progress, eta) {
    this.#root.querySelector("[data-bar]").value = progress.value;
    this.#say("step", `step ${progress.step} of ${progress.steps}`);
    this.#say("left", eta ? `${span(eta.seconds)} left` : "");
    this.#say("speed", eta ? speed(progress.steps_per_second) : "");
    const reached = this.#reached(progress.value);
    if (reached > this.#milestone && this.#status === "running") announce(`${reached * 100} % done`);
    this.#milestone = reached;
    document.title = `${this.#headline(progress)} · ${this.#name} · Atelier`;
  }

  #headline(progress) {
    const isUnderWay = ["running", "canceling", "paused"].includes(this.#status);
    if (isUnderWay) return `${Math.floor(progress.value * 100)} %`;
    return this.#status.charAt(0).toUpperCase() + this.#status.slice(1);
  }

  #reached(value) {
    return MILESTONES.find((milestone) => value >= milestone) ?? 0;
  }

  #say(name, text) {
    const place = this.#root.querySelector(`[data-${name}]`);
    if (place.textContent !== text) place.textContent = text;
  }
}

function speed(stepsPerSecond) {
  if (!stepsPerSecond || stepsPerSecond < 0) return "";
  return stepsPerSecond >= 1 ? `${stepsPerSecond.toFixed(1)} steps/s` : `${(1 / stepsPerSecond).toFixed(1)} s a step`;
}
