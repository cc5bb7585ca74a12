// A worker as a card; `web/pages/workers.py` and `parts/worker_card.html` make the same on the server.
import { Refused, send } from "./request.js";
import { ago, fileSize, span } from "./words.js";

const RESTS = {
  starting: "Loads its engine",
  idle: "Waits for a job",
  busy: "Has just taken a job",
  draining: "Takes no more jobs, and ends",
};
const LATE_SECONDS = 7; // a worker says something every 5 s

/** One card in the page. Tells "drained" with the worker when somebody has drained it here. */
export class WorkerCard extends EventTarget {
  #element;

  /** @param {HTMLElement} element A card, filled or blank. */
  constructor(element) {
    super();
    this.#element = element;
    this.#element.querySelector("form").addEventListener("submit", (event) => this.#drain(event));
  }

  /** Return a new card of a worker, made of the page's blank one. */
  static make(blank, worker) {
    const card = new WorkerCard(blank.content.firstElementChild.cloneNode(true));
    card.show(worker);
    return card;
  }

  get element() {
    return this.#element;
  }

  get id() {
    return this.#element.dataset.worker;
  }

  get state() {
    return this.#part("badge").dataset.state;
  }

  /** Show a worker as it is now; only what is different is touched. */
  show(worker) {
    set(this.#element.dataset, "worker", worker.id);
    set(this.#part("badge").dataset, "state", worker.state);
    const words = {
      name: worker.id,
      badge: worker.state,
      device: worker.device,
      host: worker.host,
      weights: worker.weights,
      version: worker.version,
      "notice-text": worker.notice ?? "",
      memory: memoryWords(worker.memory),
      started: ago(worker.started_at),
      heard: heardWords(worker.heartbeat_age_seconds),
      rest: RESTS[worker.state],
      "drain-name": worker.id,
    };
    for (const [name, text] of Object.entries(words)) set(this.#part(name), "textContent", text);
    set(this.#part("notice"), "hidden", !worker.notice);
    this.#showShare(worker);
    this.#showJob(worker);
    this.#showDrain(worker);
  }

  #showShare({ memory: { total_bytes: total, used_bytes: used } }) {
    this.#part("share").setAttribute("width", total && used !== null ? used / total : 0);
  }

  #showJob({ id, job }) {
    set(this.#part("job"), "hidden", !job);
    set(this.#part("rest"), "hidden", Boolean(job));
    if (!job) return;
    const link = this.#part("job-name");
    if (link.getAttribute("href") !== `/jobs/${job.id}`) link.href = `/jobs/${job.id}`;
    set(link, "textContent", job.name ?? job.id);
    const seconds = (Date.now() - new Date(job.since).getTime()) / 1000;
    set(this.#part("line"), "textContent", `step ${job.step} of ${job.steps}, for ${span(seconds)}`);
    set(this.#part("progress"), "value", job.step / job.steps);
    name(this.#part("progress"), `Progress of the job of ${id}`);
    this.#showThumbnail(`${job.url}/thumbnail?v=${job.attempt}-${job.step}`);
  }

  #showThumbnail(url) {
    const picture = this.#part("thumbnail");
    if (picture.getAttribute("src") === url) return;
    // The new picture takes the old one's place when it is there: no flicker.
    const next = new Image();
    next.addEventListener("load", () => (picture.src = url), { once: true });
    next.src = url;
  }

  #showDrain({ urls }) {
    const part = this.#part("drain");
    const form = part.querySelector("form");
    // The form leads to the page's own view, for those without scripts; the API has the same path below its base.
    if (urls.drain) form.setAttribute("action", urls.drain.replace("/api/v1", ""));
    // The focus must not fall back to the top of the page with the button that had it.
    if (!urls.drain && part.contains(document.activeElement)) this.#part("name").focus();
    set(part, "hidden", !urls.drain);
    if (!urls.drain) part.open = false;
  }

  async #drain(event) {
    event.preventDefault();
    const button = event.target.querySelector("button");
    const fault = this.#part("fault");
    // Not disabled: the focus would be lost with it.
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    fault.hidden = true;
    try {
      const worker = await send("POST", `/api/v1${event.target.getAttribute("action")}`);
      this.show(worker);
      this.dispatchEvent(new CustomEvent("drained", { detail: worker }));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      fault.textContent = error.problem.detail;
      fault.hidden = false;
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  #part(part) {
    return this.#element.querySelector(`[data-${part}]`);
  }
}

function memoryWords({ total_bytes: total, used_bytes: used }) {
  if (total === null) return "not known";
  return used === null ? `${fileSize(total)} in all` : `${fileSize(used)} of ${fileSize(total)}`;
}

function heardWords(seconds) {
  return seconds < LATE_SECONDS ? "just now" : `${span(seconds)} ago`;
}

function set(target, key, value) {
  if (target[key] !== value) target[key] = value;
}

function name(element, label) {
  if (element.getAttribute("aria-label") !== label) element.setAttribute("aria-label", label);
}
