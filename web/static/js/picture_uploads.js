// Pictures that are sent to the service once, whatever is then made of them.
import { Refused, csrfHeaders, link } from "./request.js";

/** Uploads files; the same file is one upload, also for those who ask while it is on its way. */
export class PictureUploads {
  #ids = new Map(); // file → promise of its asset's id
  #sent = new Map(); // file → {loaded, total}, while it is on its way
  #progress;

  /** @param {(share: number, words: string) => void} progress Is told how much was sent, 0 to 1. */
  constructor(progress) {
    this.#progress = progress;
  }

  /**
   * The ids of pictures as `PictureWell.picture` has them, by their parts; throws `Refused`, telling of all parts at fault.
   * @param {Object<string, object>} pictures
   */
  async ids(pictures) {
    const parts = Object.entries(pictures);
    const found = await Promise.allSettled(parts.map(([, picture]) => picture.assetId ?? this.#id(picture)));
    const refusals = found.flatMap(({ reason }, index) => (reason instanceof Refused ? [named(reason.problem, parts[index][0])] : reason ? [reason] : []));
    const fault = refusals.find((reason) => reason instanceof Error);
    if (fault) throw fault;
    if (refusals.length) throw new Refused({ ...refusals[0], errors: refusals.flatMap(({ errors }) => errors) });
    return Object.fromEntries(parts.map(([part], index) => [part, found[index].value]));
  }

  /** The service does not have them any more: they are sent again. Returns whether there is one to send. */
  forget(pictures) {
    return Object.values(pictures).filter(({ file }) => file && this.#ids.delete(file)).length > 0;
  }

  #id({ file, name }) {
    if (!this.#ids.has(file)) {
      const id = this.#upload(file, name);
      this.#ids.set(file, id);
      id.catch(() => this.#ids.delete(file));
    }
    return this.#ids.get(file);
  }

  async #upload(file, name) {
    const form = new FormData();
    form.append("file", file, name);
    try {
      const asset = await upload(link("/api/v1/assets"), form, ({ loaded, total }) => {
        this.#sent.set(file, { loaded, total });
        this.#tell();
      });
      return asset.id;
    } finally {
      this.#sent.delete(file);
    }
  }

  #tell() {
    const sum = (side) => [...this.#sent.values()].reduce((all, one) => all + one[side], 0);
    const share = sum("total") ? sum("loaded") / sum("total") : 0;
    this.#progress(share, share < 1 ? `Sending the pictures, ${Math.round(share * 100)} %` : "Checking the pictures");
  }
}

/** A refusal of an asset's "file", told of the part that it was to become. */
function named(problem, part) {
  const said = (text) => text.replace(/^file\b/, part);
  const errors = (problem.errors ?? []).map((fault) => ({ ...fault, pointer: `/${part}`, detail: said(fault.detail) }));
  return { ...problem, detail: said(problem.detail), errors };
}

/** Send a form; XMLHttpRequest, because fetch does not tell how much was sent. */
function upload(url, form, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const refuse = (problem) => reject(new Refused({ errors: [], ...problem }));
    request.open("POST", url);
    request.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(csrfHeaders())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", progress);
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
