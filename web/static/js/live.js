// A job as it is now: server-sent events where they come, polling where they do not, and no reload between.

const POLL_MS = 2000;
const REST_MS = 15000; // a job that has ended may be retried or extended from elsewhere
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];
const FINAL = new Set(["succeeded", "failed", "canceled", "expired"]);

export const isFinal = (job) => FINAL.has(job.status);

/**
 * Tells what happens to one job, by events whose `detail` is what the API sends:
 * "job" (the whole job), "progress", "preview", "checkpoint", "attempt", "output", and
 * "connection" ("live", "polling", "reconnecting", "resting" or "gone").
 */
export class LiveJob extends EventTarget {
  #url;
  #source = null;
  #timer = null;
  #etag = null;
  #failures = 0;
  #state = "";
  #job = null;

  /** @param {string} url Where the API has the job. */
  constructor(url) {
    super();
    this.#url = url;
  }

  start() {
    this.#connect();
    addEventListener("pagehide", () => this.#hangUp());
    // A page that comes back from the browser's cache has missed everything since.
    addEventListener("pageshow", (event) => event.persisted && this.refresh());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.#state !== "live") this.refresh();
    });
  }

  /** Ask for the job now, and watch it again if it goes on. */
  async refresh() {
    clearTimeout(this.#timer);
    await this.#poll();
  }

  #connect() {
    this.#hangUp();
    const source = new EventSource(`${this.#url}/events`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#failures = 0;
      clearTimeout(this.#timer);
      this.#say("live");
    });
    source.addEventListener("status", (event) => {
      const { job } = JSON.parse(event.data);
      if (job) this.#take(job);
    });
    for (const kind of ["progress", "preview", "checkpoint", "attempt", "output"]) {
      source.addEventListener(kind, (event) => this.#tell(kind, JSON.parse(event.data)));
    }
    source.addEventListener("error", () => {
      if (this.#source !== source) return;
      // The browser itself goes on with Last-Event-ID after a lost connection, but never after an answer it
      // does not like (503 of a proxy, 429 when all streams are taken): then a fresh stream is tried.
      if (source.readyState === EventSource.CLOSED) this.#source = null;
      this.#say("reconnecting");
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#poll(), POLL_MS);
    });
  }

  async #poll() {
    let wait = POLL_MS;
    try {
      const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
      const answer = await fetch(this.#url, { headers, cache: "no-store" });
      if (answer.status === 404) return this.#end("gone");
      if (answer.ok) {
        this.#etag = answer.headers.get("ETag");
        this.#take(await answer.json());
      }
      if (answer.status === 304 && this.#job && isFinal(this.#job)) return this.#rest();
      if (answer.ok || answer.status === 304) {
        if (this.#job && isFinal(this.#job)) return;
        if (this.#source?.readyState !== EventSource.OPEN) this.#say("polling");
      }
      if (this.#source === null) wait = this.#tryAgain();
    } catch {
      this.#say("reconnecting"); // the service is away; it is asked again below
    }
    if (this.#state !== "live") this.#timer = setTimeout(() => this.#poll(), wait);
  }

  #tryAgain() {
    const pause = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
    this.#failures += 1;
    setTimeout(() => this.#source === null && this.#job && !isFinal(this.#job) && this.#connect(), pause);
    return Math.max(POLL_MS, pause);
  }

  #take(job) {
    const before = this.#job;
    this.#job = job;
    this.#tell("job", job);
    clearTimeout(this.#timer);
    if (isFinal(job)) {
      this.#hangUp();
      this.#rest();
    } else if (before && isFinal(before)) {
      this.#connect();
    }
  }

  #rest() {
    this.#say("resting");
    // Nobody looks at a hidden page; it asks when it is shown again.
    this.#timer = setTimeout(() => (document.hidden ? this.#rest() : this.#poll()), REST_MS);
  }

  #end(state) {
    this.#hangUp();
    clearTimeout(this.#timer);
    this.#say(state);
  }

  #hangUp() {
    this.#source?.close();
    this.#source = null;
  }

  #say(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#tell("connection", state);
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
