// The part of 'New job' that shows a draft of both pictures, and what can be done with it.
import { announce } from "./announcer.js";
import { DraftMaker } from "./draft_maker.js";
import { Refused, link, send } from "./request.js";
import { Slider } from "./slider.js";
import { sentence, span } from "./words.js";

const TYPING_MS = 400;
const OPTIONS = ["size", "style_strength", "detail"];

/** Says `shown` with true when the draft of the chosen pictures is seen, with false when it no longer is. */
export class DraftPart extends EventTarget {
  #root;
  #wells;
  #options;
  #maker;
  #timer = null;
  #wish = null;
  #job = null; // whose picture is shown
  #seen = null; // the wish that it answers
  #isLeft = false;

  /**
   * @param {HTMLElement} root
   * @param {import("./picture_well.js").PictureWell[]} wells
   * @param {import("./option_inputs.js").OptionInputs} options
   * @param {import("./picture_uploads.js").PictureUploads} uploads
   */
  constructor(root, wells, options, uploads) {
    super();
    this.#root = root;
    this.#wells = wells;
    this.#options = options;
    this.#maker = new DraftMaker(uploads);
    new Slider(this.#find("split"));
    this.#maker.addEventListener("draft", ({ detail }) => this.#show(detail));
    for (const well of wells) well.addEventListener("change", () => this.#soon(0));
    options.addEventListener("change", () => this.#soon(TYPING_MS));
    this.#find("keep").addEventListener("click", () => this.#keep());
    addEventListener("pagehide", () => !this.#isLeft && this.#maker.cancel());
    addEventListener("pageshow", (event) => {
      this.#isLeft = false;
      if (!event.persisted) return;
      this.#wish = null;
      this.#soon(0);
    });
    this.#soon(0);
  }

  /** The page goes on to a job: a draft that is being made may be of use there. */
  leave() {
    this.#isLeft = true;
  }

  #find(name) {
    return this.#root.querySelector(`[data-${name}]`);
  }

  /** Look soon whether another draft is wanted; the sooner of several calls counts for pictures, the later one for typing. */
  #soon(milliseconds) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), milliseconds);
  }

  #look() {
    const wish = this.#asked();
    if (isSame(wish, this.#wish)) return;
    this.#wish = wish;
    // Other options leave the draft one of these pictures.
    if (!isSamePictures(wish, this.#seen)) this.#see(null);
    this.#maker.make(wish);
  }

  #see(wish) {
    this.#seen = wish;
    this.dispatchEvent(new CustomEvent("shown", { detail: wish !== null }));
  }

  #asked() {
    if (!this.#wells.every(({ picture }) => picture) || !this.#options.areValid(OPTIONS)) return null;
    const pictures = Object.fromEntries(this.#wells.map(({ part, picture }) => [part, picture]));
    return { pictures, options: this.#options.pick(OPTIONS) };
  }

  async #show({ state, job, words }) {
    this.#root.toggleAttribute("data-busy", state === "making");
    this.#find("keep").disabled = true; // what nobody sees yet is not to be kept
    if (state === "made") {
      await this.#showPicture(job);
      return;
    }
    if (state === "making") {
      this.#say(words ? sentence(words) : "Making the draft …");
      return;
    }
    // A picture of something else would be taken for that of these.
    this.#job = null;
    this.#see(null);
    this.#find("draft-mat").hidden = true;
    const wants = this.#wells.every(({ picture }) => picture) ? "There is no draft with these options." : "It comes here by itself as soon as both pictures are there.";
    this.#say(state === "none" ? wants : sentence(words));
  }

  async #showPicture(job) {
    const { sha256, width, height, url } = job.outputs[0];
    const wish = this.#wish;
    const image = new Image(width, height);
    image.alt = `Draft of ${job.input.content.filename} in the style of ${job.input.style.filename}`;
    image.src = `${url}?v=${sha256.slice(0, 16)}`;
    try {
      await image.decode();
    } catch {
      if (wish === this.#wish) this.#say("The draft's picture could not be read.");
      return;
    }
    if (wish !== this.#wish) return;
    const sizer = this.#root.querySelector(".sizer");
    const factor = Math.max(1, Math.floor(1600 / Math.max(width, height))); // a small one fills the frame, too
    sizer.setAttribute("width", width * factor);
    sizer.setAttribute("height", height * factor);
    sizer.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const content = this.#root.querySelector("img.content");
    const { picture } = this.#wells.find(({ part }) => part === "content");
    content.alt = `Content: ${job.input.content.filename}`;
    content.src = picture.unseen ? link(`/api/v1/assets/${job.input.content.asset_id}/thumbnail`) : picture.url;
    content.hidden = false;
    this.#find("shown").replaceChildren(image);
    this.#find("draft-mat").hidden = false;
    this.#job = job;
    this.#see(wish);
    this.#find("keep").disabled = false;
    this.#say(madeWords(job));
    announce("The draft is there");
  }

  /** Where there is no picture, its place has the words. */
  #say(words) {
    const isShown = !this.#find("draft-mat").hidden;
    const empty = this.#find("draft-empty");
    empty.hidden = isShown;
    if (!isShown) empty.textContent = words;
    this.#find("draft-words").textContent = isShown ? words : "";
  }

  async #keep() {
    const button = this.#find("keep");
    button.disabled = true;
    try {
      const { id } = await send("POST", `${this.#job.urls.self}/keep`);
      this.leave();
      // Whoever comes back finds what the draft was made of.
      history.replaceState(null, "", link(`/new?from=${encodeURIComponent(id)}`));
      location.assign(link(`/jobs/${encodeURIComponent(id)}`));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      button.disabled = false;
      this.#say(sentence(error.problem.detail));
    }
  }
}

/** Who made a draft, and how long that took. */
function madeWords({ status_reason: reason, metrics, weights }) {
  const seconds = metrics.run_seconds;
  const time = seconds === null ? "" : ` in ${seconds < 10 ? `${seconds.toFixed(1)} s` : span(seconds)}`;
  const whose = weights ? ` by ${weights.name}, ${weights.notice ?? "trained"}` : "";
  return sentence(reason === "reused" ? `made before${whose}` : `made${time}${whose}`);
}

function isSame(one, other) {
  return isSamePictures(one, other) && JSON.stringify(one?.options) === JSON.stringify(other?.options);
}

function isSamePictures(one, other) {
  if (!one || !other) return one === other;
  const isSamePicture = (part) => {
    const [left, right] = [one.pictures[part], other.pictures[part]];
    return left.file ? left.file === right.file : left.assetId === right.assetId;
  };
  return Object.keys(one.pictures).every(isSamePicture);
}
