// The stage: one picture after the other in the same frame, each shown only when it is decoded.
import { Slider } from "./slider.js";

const LABELS = { result: "Result", preview: "Preview", checkpoint: "Checkpoint", draft: "Draft" };

export class Stage {
  #mat;
  #shown;
  #name;
  #wanted = null;
  #isLoading = false;

  /** @param {(view: string) => void} onView Is told when another view is chosen. */
  constructor(section, onView) {
    this.#mat = section.querySelector("[data-stage]");
    this.#shown = section.querySelector("[data-shown]");
    this.#name = this.#mat.dataset.jobName;
    new Slider(section.querySelector("[data-split]"));
    this.#load(this.view);
    section.querySelector(".segments").addEventListener("click", (event) => {
      const link = event.target.closest("a[data-view]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.view = link.dataset.view;
      onView(this.view);
    });
  }

  get view() {
    return this.#mat.dataset.view;
  }

  set view(view) {
    this.#load(view);
    this.#mat.dataset.view = view;
    for (const link of document.querySelectorAll(".segments a")) {
      if (link.dataset.view === view) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  get url() {
    return this.#wanted?.url ?? this.#shown.firstElementChild.getAttribute("src");
  }

  /**
   * Show a picture {kind, url, step}; of several that come while one is being decoded, the last.
   * Resolves to whether this very one is shown.
   */
  show(picture) {
    return new Promise((resolve) => {
      this.#wanted?.resolve(false);
      this.#wanted = { ...picture, resolve };
      if (!this.#isLoading) this.#work();
    });
  }

  async #work() {
    this.#isLoading = true;
    while (this.#wanted) {
      const picture = this.#wanted;
      const image = new Image(this.#shown.firstElementChild.width, this.#shown.firstElementChild.height);
      const at = picture.step === null ? "" : `, step ${picture.step}`;
      image.alt = `${LABELS[picture.kind]} of ${this.#name}${at}`;
      image.src = picture.url;
      let isThere = true;
      try {
        await image.decode();
      } catch {
        isThere = false; // the old one stays: better than a hole
      }
      if (this.#wanted !== picture && this.#wanted.kind !== picture.kind) continue;
      if (isThere) {
        this.#shown.replaceChildren(image);
        this.#mat.dataset.kind = picture.kind;
        this.#mat.querySelector("[data-corner]").textContent = picture.kind;
      }
      picture.resolve(isThere);
      if (this.#wanted === picture) this.#wanted = null;
    }
    this.#isLoading = false;
  }

  /** Content, style and draft are loaded when they are first looked at. */
  #load(view) {
    const names = { compare: "content", content: "content", style: "style", draft: "draft" };
    const image = names[view] && this.#mat.querySelector(`img.${names[view]}[data-src]`);
    if (!image) return;
    image.src = image.dataset.src;
    image.removeAttribute("data-src");
  }
}
