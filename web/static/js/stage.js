// The stage: one picture after the other in the same frame, each shown only when it is decoded.
import { Slider } from "./slider.js";

const LABELS = { result: "Result", preview: "Preview", checkpoint: "Checkpoint", draft: "Draft" };

export class Stage {
  #mat;
  #shown;
  #name;
  #slider;
  #wanted = null;
  #loading = null; // the one that is being decoded
  #passOver = () => {};

  /** @param {() => void} onView Is told when another view is chosen, or what stands left of the slider. */
  constructor(section, onView) {
    this.#mat = section.querySelector("[data-stage]");
    this.#shown = section.querySelector("[data-shown]");
    this.#name = this.#mat.dataset.jobName;
    this.#slider = new Slider(section.querySelector("[data-split]"), this.left);
    this.#load();
    const choose = (list, name) => {
      list.addEventListener("click", (event) => {
        const link = event.target.closest(`a[data-${name}]`);
        if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        this[name] = link.dataset[name];
        onView();
      });
    };
    choose(section.querySelector(".segments"), "view");
    choose(section.querySelector("[data-lefts]"), "left");
  }

  get view() {
    return this.#mat.dataset.view;
  }

  set view(view) {
    this.#mat.dataset.view = view;
    this.#load();
    mark(".segments a", (link) => link.dataset.view === view);
  }

  /** What stands left of the slider: "content" or "draft". */
  get left() {
    return this.#mat.dataset.left;
  }

  set left(left) {
    this.#mat.dataset.left = left;
    this.#load();
    this.#slider.left = left;
    mark(".lefts a", (link) => link.dataset.left === left);
  }

  /** What is shown: "result", "preview", "checkpoint", "draft", or "content" where there is nothing else. */
  get kind() {
    return this.#mat.dataset.kind;
  }

  get url() {
    return this.#wanted?.url ?? this.#shown.firstElementChild.getAttribute("src");
  }

  /**
   * Show a picture {kind, url, step}; of several that come while one is being decoded, the last, which waits for no picture
   * of another kind: a large draft holds up no preview. Resolves to whether this very one is shown.
   */
  show(picture) {
    return new Promise((resolve) => {
      this.#wanted?.resolve(false);
      this.#wanted = { ...picture, resolve };
      if (!this.#loading) this.#work();
      else if (this.#loading.kind !== picture.kind) this.#passOver();
    });
  }

  /** Have a draft to look at and to compare with. Resolves to whether its picture can be shown. */
  async takeDraft(url) {
    const { width, height } = this.#shown.firstElementChild;
    const image = Object.assign(new Image(width, height), { className: "draft", alt: `Draft of ${this.#name}` });
    image.dataset.src = url;
    if (this.view === "draft") {
      fetchPicture(image);
      if (!(await isReadable(image))) return false; // what stands in its place says so
    }
    this.#mat.querySelector("img.content").after(image);
    this.#load();
    return true;
  }

  async #work() {
    while (this.#wanted) {
      const picture = this.#wanted;
      this.#loading = picture;
      const image = new Image(this.#shown.firstElementChild.width, this.#shown.firstElementChild.height);
      const at = picture.step === null ? "" : `, step ${picture.step}`;
      image.alt = `${LABELS[picture.kind]} of ${this.#name}${at}`;
      image.src = picture.url;
      const passedOver = new Promise((resolve) => {
        this.#passOver = () => resolve(false);
      });
      const isThere = await Promise.race([isReadable(image), passedOver]); // if not, the old one stays: better than a hole
      if (this.#wanted !== picture && this.#wanted.kind !== picture.kind) {
        image.removeAttribute("src");
        continue;
      }
      if (isThere) {
        this.#shown.replaceChildren(image);
        this.#mat.dataset.kind = picture.kind;
        this.#mat.querySelector("[data-corner]").textContent = picture.kind;
      }
      picture.resolve(isThere);
      if (this.#wanted === picture) this.#wanted = null;
    }
    this.#loading = null;
  }

  /** Content, style and draft are loaded when they are first looked at. */
  #load() {
    const draft = this.#mat.querySelector("img.draft");
    // The content is behind the words that stand where there is no draft.
    const names = { compare: this.left, content: "content", style: "style", draft: draft ? "draft" : "content" };
    const image = names[this.view] && this.#mat.querySelector(`img.${names[this.view]}[data-src]`);
    if (image) fetchPicture(image);
  }
}

/** Whether a picture can be shown, as soon as it can be without a moment of nothing. */
function isReadable(image) {
  return image.decode().then(
    () => true,
    () => false,
  );
}

function fetchPicture(image) {
  image.src = image.dataset.src;
  image.removeAttribute("data-src");
}

function mark(links, isCurrent) {
  for (const link of document.querySelectorAll(links)) {
    if (isCurrent(link)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
