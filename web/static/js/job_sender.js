// Handing a job in: once, however often an answer is lost on the way.
import { Refused, link, newKey, send } from "./request.js";

const RETRY_MS = [1000, 2000, 4000];

/** Sends what a form holds; the key stays the same until that changes, or was accepted. */
export class JobSender {
  #key = null;
  #uploads;
  #progress;

  /**
   * @param {import("./picture_uploads.js").PictureUploads} uploads
   * @param {(share: number|null, words: string) => void} progress Is told how much was sent, 0 to 1.
   */
  constructor(uploads, progress) {
    this.#uploads = uploads;
    this.#progress = progress;
  }

  /** What is to be sent is not what it was: it is another request, which needs another key. */
  renew() {
    this.#key = null;
  }

  /**
   * Submit; returns the job, throws `Refused`.
   * @param {{content: object, style: object}} pictures As `PictureWell.picture` has them.
   * @param {object} fields Everything else, as the API's JSON body has it.
   */
  async send(pictures, fields) {
    let isSentAgain = false;
    for (let attempt = 0; ; attempt += 1) {
      const key = (this.#key ??= newKey());
      try {
        const ids = await this.#uploads.ids(pictures);
        this.#progress(1, "Submitting");
        const job = await send("POST", link("/api/v1/jobs"), { json: { ...fields, ...ids }, headers: { "Idempotency-Key": key } });
        this.#key = null;
        return job;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        const { code } = error.problem;
        if (code === "not_found" && !isSentAgain && this.#uploads.forget(pictures)) {
          // A page that was open for days: what nothing used is not kept. Other ids are another request.
          isSentAgain = true;
          this.#key = null;
          continue;
        }
        const isAway = ["unreachable", "unreadable", "idempotency_key_in_use"].includes(code);
        if (!isAway || attempt >= RETRY_MS.length) throw error;
        this.#progress(null, "The service does not answer; trying again");
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS[attempt]));
      }
    }
  }
}
