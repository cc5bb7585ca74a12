// Handing a job in: once, however often an answer is lost on the way.
import { Refused, link, newKey, send } from "./request.js";

const RETRY_MS = [1000, 2000, 4000];

/** Sends what a form holds; the key stays the same until that changes, or was accepted. */
export class JobSender {
  #key = null;
  #progress;
  #uploaded = new Map();

  /** @param {(share: number|null, words: string) => void} progress Is told how much was sent, 0 to 1. */
  constructor(progress) {
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
    const key = (this.#key ??= newKey());
    for (let attempt = 0; ; attempt += 1) {
      try {
        const job = await this.#sendOnce(pictures, fields, { "Idempotency-Key": key });
        this.#key = null;
        return job;
      } catch (error) {
        const isAway = error instanceof Refused && ["unreachable", "unreadable", "idempotency_key_in_use"].includes(error.problem.code);
        if (!isAway || attempt >= RETRY_MS.length) throw error;
        this.#progress(null, "The service does not answer; trying again");
        await new Promise((resolve) => setTimeout(resolve, RETRY_MS[attempt]));
      }
    }
  }

  async #sendOnce(pictures, fields, headers) {
    const parts = Object.entries(pictures);
    if (parts.every(([, picture]) => picture.file)) {
      const form = new FormData();
      for (const [part, picture] of parts) form.append(part, picture.file, picture.name);
      for (const [name, value] of Object.entries(fields)) {
        form.append(name, typeof value === "string" ? value : JSON.stringify(value));
      }
      return upload(link("/api/v1/jobs"), form, headers, this.#progress);
    }
    // One of them is known to the service already: then both go by their ids.
    const ids = {};
    for (const [part, picture] of parts) ids[part] = picture.assetId ?? (await this.#uploadAsset(part, picture));
    this.#progress(1, "Submitting");
    return send("POST", link("/api/v1/jobs"), { json: { ...fields, ...ids }, headers });
  }

  async #uploadAsset(part, picture) {
    // The same file is the same asset: a repeat with the key must have the same ids.
    if (!this.#uploaded.has(picture.file)) {
      const form = new FormData();
      form.append("file", picture.file, picture.name);
      try {
        const asset = await upload(link("/api/v1/assets"), form, {}, this.#progress);
        this.#uploaded.set(picture.file, asset.id);
      } catch (error) {
        if (error instanceof Refused) error.problem = named(error.problem, part);
        throw error;
      }
    }
    return this.#uploaded.get(picture.file);
  }
}

/** A refusal of an asset's "file", told of the part that it was to become. */
function named(problem, part) {
  const said = (text) => text.replace(/^file\b/, part);
  const errors = (problem.errors ?? []).map((fault) => ({ ...fault, pointer: `/${part}`, detail: said(fault.detail) }));
  return { ...problem, detail: said(problem.detail), errors };
}

/** Send a form; XMLHttpRequest, because fetch does not tell how much was sent. */
function upload(url, form, headers, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const refuse = (problem) => reject(new Refused({ errors: [], ...problem }));
    request.open("POST", url);
    for (const [name, value] of Object.entries({ Accept: "application/json", ...headers })) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      const share = total ? loaded / total : 0;
      progress(share, share < 1 ? `Sending the pictures, ${Math.round(share * 100)} %` : "Checking the pictures");
    });
    request.addEventListener("error", () => refuse({ code: "unreachable", detail: "The service does not answer. Is it running?" }));
    request.addEventListener("load", () => {
      let data = null;
      try {
        data = JSON.parse(request.responseText);
      } catch {
        refuse({ code: "unreadable", detail: `The service answered ${request.status} with something unreadable.` });
        return;
      }
      if (request.status < 400) resolve(data);
      else refuse(data);
    });
    request.send(form);
  });
}
