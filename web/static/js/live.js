// A job as it is now: server-sent events where they come, polling where they do not, and no reload between.
import { StreamSeats } from "./stream_seats.js";

const POLL_MS = 2000;
const REST_MS = 15000; // a job that has ended may be retried or extended from elsewhere
const HIDDEN_MS = 15000; // for the notification of the end, and the title
const SEATLESS_MS = 5000; // many pages share the connections that streams leave
const FREE_MS = 500; // not all pages that wait for a stream ask in the same moment
const RETRY_MS = [1000, 2000, 4000, 8000, 15000];
const FINAL = new Set(["succeeded", "failed", "canceled", "expired"]);

export const isFinal = (job) => FINAL.has(job.status);

/**
 * Tells what happens to one job, by events whose `detail` is what the API sends:
 * "job" (the whole job), "progress", "preview", "checkpoint", "attempt", "output", "change", and
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
  #seats = new StreamSeats();
  #isSeatless = false; // other pages have all the streams
  #notBefore = 0; // a stream that was refused is not asked for again at once

  /** @param {string} url Where the API has the job. */
  constructor(url) {
    super();
    this.#url = url;
  }

  start() {
    this.#next();
    addEventListener("pagehide", () => this.#hangUp());
    // A page that comes back from the browser's cache has missed everything since.
    addEventListener("pageshow", (event) => event.persisted && this.refresh());
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#hide() : this.refresh()));
    this.#seats.addEventListener("lost", () => this.#makeRoom());
    this.#seats.addEventListener("free", () => this.#isSeatless && this.#wait(Math.random() * FREE_MS));
  }

  /** Ask for the job now, and watch it again if it goes on. */
  async refresh() {
    clearTimeout(this.#timer);
    await this.#poll();
  }

  /** Nobody looks: connections are for the pages that are seen. */
  #hide() {
    if (this.#source === null) return;
    this.#hangUp();
    this.#wait(HIDDEN_MS);
  }

  /** Too many pages have a stream. */
  #makeRoom() {
    this.#hangUp();
    this.#isSeatless = true;
    this.#poll();
  }

  /** Watch the job, if it goes on and there is a connection for it; else ask for it. */
  async #next() {
    if (document.hidden && this.#job && isFinal(this.#job)) return this.#rest();
    if (this.#isWatchable && performance.now() >= this.#notBefore) {
      this.#isSeatless = !(await this.#seats.take());
      if (this.#isWatchable && !this.#isSeatless) return this.#connect();
      this.#seats.release();
    }
    await this.#poll();
  }

  get #isWatchable() {
    return this.#source === null && !document.hidden && !(this.#job && isFinal(this.#job));
  }

  #connect() {
    const source = new EventSource(`${this.#url}/events`);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#failures = 0;
      clearTimeout(this.#timer);
      this.#say("live");
    });
    for (const kind of ["status", "progress", "preview", "checkpoint", "attempt", "output", "change"]) {
      source.addEventListener(kind, (event) => {
        const { job, ...detail } = JSON.parse(event.data);
        if (kind !== "status") this.#tell(kind, detail);
        if (job) this.#take(job);
      });
    }
    source.addEventListener("error", () => {
      if (this.#source !== source) return;
      // The browser itself goes on with Last-Event-ID after a lost connection, but never after an answer it
      // does not like (503 of a proxy, 429 when all streams are taken): then a fresh stream is tried.
      if (source.readyState === EventSource.CLOSED) this.#giveUp();
      this.#say("reconnecting");
      this.#wait(POLL_MS);
    });
  }

  #giveUp() {
    this.#hangUp();
    this.#notBefore = performance.now() + RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
    this.#failures += 1;
  }

  async #poll() {
    try {
      const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
      const answer = await fetch(this.#url, { headers, cache: "no-store" });
      if (answer.status === 404) return this.#end("gone");
      if (answer.status === 401) return location.reload(); // signed out elsewhere
      if (answer.ok) {
        this.#etag = answer.headers.get("ETag");
        this.#take(await answer.json());
      }
      if (answer.ok || answer.status === 304) {
        if (this.#job && isFinal(this.#job)) return this.#rest();
        if (this.#source?.readyState !== EventSource.OPEN) this.#say("polling");
      }
    } catch {
      this.#say("reconnecting"); // the service is away; it is asked again below
    }
    if (this.#source?.readyState !== EventSource.OPEN) this.#wait(this.#pause);
  }

  get #pause() {
    if (document.hidden) return HIDDEN_MS;
    if (this.#isSeatless) return SEATLESS_MS;
    if (this.#source !== null) return POLL_MS;
    return Math.min(POLL_MS, Math.max(0, this.#notBefore - performance.now()));
  }

  #wait(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#next(), milliseconds);
  }

  #take(job) {
    const before = this.#job;
    this.#job = job;
    this.#tell("job", job);
    if (isFinal(job)) {
      this.#hangUp();
      this.#rest();
    } else if (before && isFinal(before)) {
      this.#next();
    }
  }

  #rest() {
    this.#say("resting");
    this.#wait(REST_MS);
  }

  #end(state) {
    this.#hangUp();
    clearTimeout(this.#timer);
    this.#say(state);
  }

  #hangUp() {
    this.#source?.close();
    this.#source = null;
    this.#seats.release();
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
