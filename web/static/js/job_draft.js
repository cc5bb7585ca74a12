// The draft of a job's pictures on its page: made by itself while the job goes on, else when somebody wants to see it.
import { announce } from "./announcer.js";
import { DraftMaker } from "./draft_maker.js";
import { sentence } from "./words.js";

const NOTHING_TO_SEND = { ids: async (pictures) => pictures, forget: () => false };

/** Tells "made" when there is one that was not there before; `url` is where its picture is. */
export class JobDraft extends EventTarget {
  url = null;
  #stage;
  #wish;
  #place; // what stands where there is none
  #below; // what stands below it
  #state; // "made", "making", "offered" or "refused"
  #isOver;
  #maker = new DraftMaker(NOTHING_TO_SEND);

  /**
   * @param {HTMLElement} section
   * @param {import("./stage.js").Stage} stage
   * @param {boolean} isOver Whether the job has ended.
   */
  constructor(section, stage, isOver) {
    super();
    const { draft: state, draftWish: wish } = section.querySelector("[data-stage]").dataset;
    this.#stage = stage;
    this.#isOver = isOver;
    this.#place = section.querySelector("[data-no-draft]");
    this.#below = section.querySelectorAll(".of-draft");
    // Why the last one failed is said; another one is made when somebody wants it.
    this.#state = !this.#place ? "made" : state === "failed" ? "refused" : "offered";
    if (!this.#place) return;
    this.#wish = JSON.parse(wish);
    this.#maker.addEventListener("draft", ({ detail }) => this.#hear(detail));
    this.#place.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    document.addEventListener("visibilitychange", () => this.look());
    addEventListener("pagehide", () => this.#maker.cancel());
    addEventListener("pageshow", ({ persisted }) => persisted && this.#state === "making" && this.#make());
    if (this.#isLookedFor && state !== "failed") this.#make();
    else this.look();
  }

  /** Take what the job is now: one that has ended needs no draft that nobody waits for. */
  take(isOver) {
    this.#isOver = isOver;
    if (isOver && this.#state === "making" && !this.#isLookedFor) this.#maker.make(null);
    this.look();
  }

  /** Somebody wants to see it. */
  choose() {
    if (this.#state === "offered" || this.#state === "refused") this.#make();
  }

  /** Have it made if the page is to have one by itself: while the job goes on, and somebody sees the page. */
  look() {
    // Whether anybody makes drafts now is the server's to say, by the views that it offers.
    const isOffered = document.getElementById("view-draft") !== null;
    if (this.#state === "offered" && isOffered && !this.#isOver && !document.hidden) this.#make();
  }

  get #isLookedFor() {
    return this.#stage.view === "draft";
  }

  #make() {
    this.#maker.make(this.#wish);
  }

  async #hear({ state, job, words }) {
    if (state === "made") {
      await this.#arrive(job);
      return;
    }
    this.#state = state === "none" ? "offered" : state;
    const said = { none: "There is no draft of these pictures.", making: words ? sentence(words) : "Making the draft …", refused: sentence(words ?? "") };
    this.#say(said[state]);
  }

  async #arrive(job) {
    const { url, sha256 } = job.outputs[0];
    const address = `${url}?v=${sha256.slice(0, 16)}`;
    if (!(await this.#stage.takeDraft(address))) {
      this.#state = "refused";
      this.#say("The draft’s picture could not be read.");
      return;
    }
    this.#state = "made";
    this.url = address;
    this.#place.remove();
    for (const element of this.#below) {
      if (element instanceof HTMLAnchorElement) element.href = address;
      element.hidden = false;
    }
    if (this.#isLookedFor || this.#stage.kind === "content") announce("The draft is there");
    this.dispatchEvent(new Event("made"));
  }

  #say(text) {
    const words = this.#place.querySelector("[data-no-draft-words]");
    words.toggleAttribute("data-busy", this.#state === "making");
    if (words.textContent !== text) words.textContent = text; // what is said again is read out again
    this.#place.querySelector("form").hidden = this.#state === "making";
  }
}
