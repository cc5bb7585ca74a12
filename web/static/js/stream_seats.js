// How many pages of this browser hold a stream: over HTTP/1.1 it has six connections to a host for all of them.

const SEATS = 4;
const ANSWER_MS = 60;
const CHANNEL = "atelier-streams";

/** Asks the other pages for one of the seats; "free" is told when one may have become free. */
export class StreamSeats extends EventTarget {
  #channel = "BroadcastChannel" in window ? new BroadcastChannel(CHANNEL) : null;
  #id = crypto.getRandomValues(new Uint32Array(2)).join("-");
  #holds = false;
  #asking = null; // who is known to hold a seat, or asks at the same time and goes first

  constructor() {
    super();
    this.#channel?.addEventListener("message", ({ data }) => this.#hear(data));
  }

  /** Take a seat, if there is one. */
  async take() {
    if (this.#holds || !this.#channel) return true;
    if (this.#asking) return false;
    const known = (this.#asking = new Set());
    this.#say("asks");
    await new Promise((resolve) => setTimeout(resolve, ANSWER_MS));
    this.#asking = null;
    this.#holds = known.size < SEATS;
    return this.#holds;
  }

  /** Give the seat back, if there is one. */
  release() {
    if (!this.#holds) return;
    this.#holds = false;
    this.#say("leaves");
  }

  #hear({ kind, id }) {
    if (kind === "asks" && (this.#holds || (this.#asking && this.#id < id))) this.#say("holds");
    if (kind === "holds" || (kind === "asks" && id < this.#id)) this.#asking?.add(id);
    if (kind === "leaves") this.dispatchEvent(new Event("free"));
  }

  #say(kind) {
    this.#channel.postMessage({ kind, id: this.#id });
  }
}
