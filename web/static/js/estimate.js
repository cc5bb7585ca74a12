// How long the job would take, asked for again whenever that may have changed.
import { Refused, link, send } from "./request.js";
import { sentence } from "./words.js";

const PAUSE_MS = 250;
const AGAIN_MS = 15000; // the queue moves on, also while nothing is touched

export class Estimate {
  #root;
  #question;
  #refused;
  #timer = null;
  #asking = null;

  /**
   * @param {HTMLElement} root Where it is shown.
   * @param {() => URLSearchParams} question What is to be estimated, as it is now.
   * @param {(faults: object[]) => void} refused Is told what is wrong with it; nothing once it is right.
   */
  constructor(root, question, refused) {
    this.#root = root;
    this.#question = question;
    this.#refused = refused;
    setInterval(() => !document.hidden && this.ask(), AGAIN_MS);
  }

  /** Ask soon; of several calls in a row only the last one counts. */
  ask() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), PAUSE_MS);
  }

  async #ask() {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#root.setAttribute("aria-busy", "true");
    try {
      const found = await send("GET", link(`/api/v1/estimate?${this.#question()}`), { signal: asking.signal });
      this.#say(found.message, found.queue.message);
      this.#refused([]);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof Refused)) throw error;
      // What is at fault is said at its field.
      const isAtField = Boolean(error.problem.errors?.length);
      this.#say(isAtField ? "Not known with these options" : "Not known now", isAtField ? "Not known" : error.problem.detail);
      this.#refused(error.problem.errors ?? []);
    }
    if (this.#asking === asking) this.#root.removeAttribute("aria-busy");
  }

  #say(run, wait) {
    this.#root.querySelector("[data-run]").textContent = sentence(run);
    this.#root.querySelector("[data-wait]").textContent = sentence(wait);
  }
}
