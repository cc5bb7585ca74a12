// How many pages of this browser hold a stream: over HTTP/1.1 it has six connections to a host for all of them.

const SEATS = 4;
const ANSWER_MS = 100;
const CHANNEL = "atelier-streams";

/**
 * Asks the other pages for one of the seats. "free" is told when one may have become free, "lost" when an answer came
 * late and this page has one too many.
 */
export class StreamSeats extends EventTarget {
  #channel = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;
  #id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #holds = false;
  #isAsking = false;
  #holders = new Set();
  #ahead = new Set(); // who asks at the same time and goes first

  constructor() {
    super();
    this.#channel?.addEventListener("message", ({ data }) => this.#hear(data));
  }

  /** Take a seat, if there is one. */
  async take() {
    if (this.#holds || !this.#channel) return true;
    if (this.#isAsking) return false;
    this.#isAsking = true;
    this.#holders.clear();
    this.#ahead.clear();
    this.#say("asks");
    await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
    this.#isAsking = false;
    this.#holds = new Set([...this.#holders, ...this.#ahead]).size < SEATS;
    return this.#holds;
  }

  /** Give the seat back, if there is one. */
  release() {
    if (!this.#holds) return;
    this.#holds = false;
    this.#say("leaves");
  }

  #hear({ kind, id }) {
    if (kind === "asks" && this.#holds) this.#say("holds");
    if (kind === "asks" && this.#isAsking && this.#id < id) this.#say("goes first");
    if (this.#isAsking && id < this.#id && (kind === "asks" || kind === "goes first")) this.#ahead.add(id);
    if (kind === "holds") this.#holders.add(id);
    if (kind === "leaves") {
      this.#holders.delete(id);
      this.dispatchEvent(new Event("free"));
    }
    // A busy page answers late. Of too many it is always the same one that goes.
    if (this.#holds && [...this.#holders].filter((other) => other < this.#id).length >= SEATS) {
      this.#holds = false;
      this.dispatchEvent(new Event("lost"));
    }
  }

  #say(kind) {
    this.#channel.postMessage({ kind, id: this.#id });
  }
}
