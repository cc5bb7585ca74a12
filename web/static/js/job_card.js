// A job as a card of the gallery; `web/pages/gallery.py` and `parts/job_card.html` make the same on the server.
import { jobLine } from "./job_line.js";
import { ago } from "./words.js";

const UNDER_WAY = new Set(["running", "canceling", "paused"]);

/** Return what people call a job: its name, else its pictures. */
export const jobName = (job) => job.name || `${job.input.content.filename} × ${job.input.style.filename}`;

/** One card in the page. */
export class JobCard {
  #element;
  #job = null;

  /** @param {HTMLElement} element A card, filled or blank. */
  constructor(element) {
    this.#element = element;
  }

  /** Return a new card of a job, made of the page's blank one. */
  static make(blank, job) {
    const card = new JobCard(blank.content.firstElementChild.cloneNode(true));
    card.show(job);
    return card;
  }

  get element() {
    return this.#element;
  }

  get id() {
    return this.#element.dataset.job;
  }

  get status() {
    return this.#element.dataset.status;
  }

  /** Show a job as it is now; only what is different is touched. */
  show(job) {
    const error = job.status === "failed" || job.status === "expired" ? job.error : null;
    const name = jobName(job);
    const link = this.#part("name");
    set(this.#element.dataset, "job", job.id);
    set(this.#element.dataset, "status", job.status);
    set(this.#element.dataset, "created", job.created_at);
    if (link.getAttribute("href") !== `/jobs/${job.id}`) link.href = `/jobs/${job.id}`;
    set(link, "textContent", name);
    set(this.#part("badge").dataset, "status", job.status);
    set(this.#part("badge"), "textContent", job.status);
    set(this.#part("line"), "textContent", jobLine(job));
    set(this.#part("suggestion"), "textContent", error?.suggestion ?? "");
    set(this.#part("suggestion"), "hidden", !error?.suggestion);
    this.#showProgress(job, name);
    this.#showThumbnail(job.urls.thumbnail);
    this.#showLabels(job.labels);
    set(this.#part("age"), "dateTime", job.created_at);
    this.#job = job;
    this.grow();
  }

  /** Let the card be as old as it is now. */
  grow() {
    set(this.#part("age"), "textContent", ago(this.#element.dataset.created));
  }

  /** Say that the job is gone; the card stays where it is, so that nothing moves. */
  lose() {
    this.#element.dataset.status = "canceled";
    this.#part("progress").hidden = true;
    set(this.#part("line"), "textContent", "deleted");
  }

  #showProgress(job, name) {
    const progress = this.#part("progress");
    set(progress, "hidden", !UNDER_WAY.has(job.status));
    if (!progress.hidden) set(progress, "value", job.progress.value);
    if (progress.getAttribute("aria-label") !== `Progress of ${name}`) progress.setAttribute("aria-label", `Progress of ${name}`);
  }

  #showThumbnail(url) {
    const picture = this.#part("thumbnail");
    if (picture.getAttribute("src") === url) return;
    if (!picture.getAttribute("src")) {
      picture.src = url;
      return;
    }
    // The new picture takes the old one's place when it is there: no flicker.
    const next = new Image();
    next.addEventListener("load", () => (picture.src = url), { once: true });
    next.src = url;
  }

  #showLabels(labels) {
    const list = this.#part("labels");
    const words = Object.entries(labels).map(([key, value]) => `${key}:${value}`);
    if (words.join("\n") === [...list.children].map((item) => item.textContent).join("\n")) return;
    list.replaceChildren(
      ...words.map((label) => {
        const link = document.createElement("a");
        link.href = `/?${new URLSearchParams({ label })}`;
        link.textContent = label;
        const item = document.createElement("li");
        item.append(link);
        return item;
      }),
    );
    list.hidden = words.length === 0;
  }

  #part(name) {
    return this.#element.querySelector(`[data-${name}]`);
  }
}

function set(target, key, value) {
  if (target[key] !== value) target[key] = value;
}
