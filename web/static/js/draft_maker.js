// Drafts of a form: each newer one takes the place of the one before, and an answer that comes late is none.
import { isFinal } from "./live.js";
import { Refused, ask, csrfHeaders, link } from "./request.js";

const WAIT_SECONDS = 5;
const LEAST_MS = 250; // a service that is busy answers at once that nothing is new
const NO_WORKER_MS = 5000;
const AWAY_MS = 5000;

/**
 * Makes one draft at a time. Tells "draft" by events whose `detail` is {state, job, words}: "none" is asked for; "making", with
 * what it waits for in `words`, if it waits for somebody; "made"; or "refused", with the reason in `words`.
 */
export class DraftMaker extends EventTarget {
  #uploads;
  #asking = new AbortController();
  #posting = Promise.resolve();
  #underWay = null; // the id of the draft that is being made

  /** @param {import("./picture_uploads.js").PictureUploads} uploads */
  constructor(uploads) {
    super();
    this.#uploads = uploads;
  }

  /**
   * Make a draft; null wants none any more.
   * @param {{pictures: Object<string, object>, options: object}|null} wish
   */
  async make(wish) {
    this.#asking.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    if (!wish) {
      this.#tell({ state: "none" });
      await this.#posting;
      if (!signal.aborted) this.cancel();
      return;
    }
    this.#tell({ state: "making", job: null, words: "" });
    try {
      const job = await this.#make(wish, signal);
      this.#underWay = null;
      if (job.status === "succeeded") this.#tell({ state: "made", job });
      else this.#tell({ state: "refused", words: job.error ? job.error.title : `The draft was ${job.status}` });
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refused)) throw error;
      this.#tell({ state: "refused", words: error.problem.detail });
      if (error.problem.code !== "unreachable" || !(await pause(AWAY_MS, signal))) return;
      this.make(wish);
    }
  }

  /** Nobody looks any more; of a page that goes, the request may go on alone. */
  cancel() {
    if (!this.#underWay) return;
    fetch(link(`/api/v1/jobs/${this.#underWay}/cancel`), { method: "POST", keepalive: true, headers: csrfHeaders() }).catch(() => {
      // It ends by itself.
    });
    this.#underWay = null;
  }

  async #make(wish, signal) {
    let isSentAgain = false;
    for (;;) {
      const ids = await this.#uploads.ids(wish.pictures);
      // What this one replaces is known when that was answered: at once, since no answer waits for the picture.
      await this.#posting;
      signal.throwIfAborted();
      try {
        return await this.#follow(await this.#post({ ...ids, options: wish.options }), signal);
      } catch (error) {
        const isGone = error instanceof Refused && error.problem.code === "not_found";
        if (isSentAgain || !isGone || !this.#uploads.forget(wish.pictures)) throw error;
        isSentAgain = true;
      }
    }
  }

  async #post(body) {
    const replaces = this.#underWay ? { replaces: this.#underWay } : {};
    const posting = ask("POST", link("/api/v1/jobs"), { json: { kind: "draft", ...body, ...replaces } });
    this.#posting = posting.then(
      ({ data }) => {
        this.#underWay = isFinal(data) ? null : data.id;
      },
      () => {}, // told to whoever asked for it
    );
    const answer = await posting;
    await this.#posting;
    return answer;
  }

  /** Wait until a draft has ended; returns it. */
  async #follow({ data: job, etag }, signal) {
    while (!isFinal(job)) {
      signal.throwIfAborted();
      // Where an equal one is being made, this one is: whoever waits for it need not know that there are two.
      const words = job.leader_id ? "" : (job.queue?.message ?? "");
      this.#tell({ state: "making", job, words });
      const headers = words ? {} : { "If-None-Match": etag, Prefer: `wait=${WAIT_SECONDS}` };
      if (words) await pause(NO_WORKER_MS, signal);
      const answer = await ask("GET", job.urls.self, { headers, signal });
      if (answer.data) ({ data: job, etag } = answer);
      else await pause(LEAST_MS, signal);
    }
    signal.throwIfAborted();
    return job;
  }

  #tell(detail) {
    this.dispatchEvent(new CustomEvent("draft", { detail }));
  }
}

/** Wait; returns whether it is still wanted then. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      resolve(!signal.aborted);
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", done, { once: true });
  });
}
