// The checkpoints as a film: a slider to scrub, a strip to choose from, and a button to play.
const MOST_THUMBNAILS = 20;
const PLAY_MS = 220;
const CALM_MS = 1000;

/** Tells "select" with a checkpoint, or with null for the newest picture. */
export class Reel extends EventTarget {
  #root;
  #strip;
  #range;
  #button;
  #checkpoints = [];
  #count; // as the page says, until the checkpoints are there
  #isLoaded = false;
  #wantedPlace = null; // where somebody went before they were
  #step = null; // null follows the newest picture
  #steps;
  #latest;
  #playing = null;
  #size;

  /** @param {{step: number|null, steps: number, latest: string}} at What is shown, as the page has it. */
  constructor(root, { step, steps, latest }) {
    super();
    this.#root = root;
    this.#strip = root.querySelector("[data-strip]");
    this.#range = root.querySelector("[data-scrub]");
    this.#button = root.querySelector("[data-play]");
    this.#step = step;
    this.#steps = steps;
    this.#latest = latest;
    this.#count = Number(this.#range.max);
    this.#dress();
    this.#rest();
    this.#range.addEventListener("input", () => {
      this.stop();
      this.#go(this.#range.valueAsNumber);
    });
    this.#button.addEventListener("click", () => (this.#playing ? this.stop() : this.#play()));
    this.#strip.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-step]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.stop();
      this.select(Number(link.dataset.step));
    });
  }

  /** The checkpoint that is shown, or null. */
  get selected() {
    return this.#checkpoints.find(({ step }) => step === this.#step) ?? null;
  }

  get checkpoints() {
    return this.#checkpoints;
  }

  /** Take all checkpoints; `latest` is what the stop behind the last one is called. */
  set(checkpoints, steps, latest) {
    this.#checkpoints = checkpoints;
    this.#count = checkpoints.length;
    this.#steps = steps;
    this.#latest = latest;
    const isFirst = !this.#isLoaded;
    this.#isLoaded = true;
    if (isFirst && this.#wantedPlace !== null) this.#step = checkpoints[this.#wantedPlace]?.step ?? null;
    const isGone = this.#step !== null && !this.selected;
    if (isGone) this.#step = null;
    this.#hang();
    this.#dress();
    this.#rest();
    if (isGone || (isFirst && this.#step !== null)) this.#tell();
  }

  /** Show the checkpoint of a step, or with null follow the newest picture. */
  select(step) {
    this.#step = step;
    this.#dress();
    if (this.#isLoaded) this.#tell();
  }

  /** Show the checkpoint nearest to a step. */
  selectNear(step) {
    const distance = (checkpoint) => Math.abs(checkpoint.step - step);
    const [nearest] = [...this.#checkpoints].sort((one, other) => distance(one) - distance(other));
    if (nearest) this.select(nearest.step);
  }

  stop() {
    clearTimeout(this.#playing);
    this.#playing = null;
    this.#root.querySelector("[data-play-words]").textContent = "Play";
  }

  /** Say that what was selected is on the stage: a film that plays goes on then. */
  arrived() {
    if (!this.#playing) return;
    clearTimeout(this.#playing);
    // Whoever asked for less motion gets slides, not a film.
    const pause = matchMedia("(prefers-reduced-motion: reduce)").matches ? CALM_MS : PLAY_MS;
    this.#playing = setTimeout(() => {
      if (this.#place() >= this.#count) this.stop();
      else this.#go(this.#place() + 1);
    }, pause);
  }

  #play() {
    this.#root.querySelector("[data-play-words]").textContent = "Stop";
    this.#playing = setTimeout(() => {}, 0);
    this.#go(this.#step === null ? 0 : this.#place());
  }

  #place() {
    const found = this.#checkpoints.findIndex(({ step }) => step === this.#step);
    return found < 0 ? this.#count : found;
  }

  #tell() {
    this.dispatchEvent(new CustomEvent("select", { detail: this.selected }));
  }

  #go(place) {
    this.#wantedPlace = place;
    if (this.#isLoaded) this.select(this.#checkpoints[place]?.step ?? null);
  }

  #dress() {
    const isThere = this.#count > 0;
    this.#root.querySelector("[data-reel-empty]").hidden = isThere;
    this.#range.hidden = this.#button.hidden = !isThere;
    this.#range.max = this.#count;
    this.#range.value = this.#place();
    const words = this.#step === null ? this.#latest : `step ${this.#step} of ${this.#steps}`;
    this.#range.setAttribute("aria-valuetext", words);
    this.#root.querySelector("[data-scrub-words]").textContent = isThere ? words : "";
    for (const link of this.#strip.querySelectorAll("a")) {
      const isShown = Number(link.dataset.step) === this.#step;
      if (isShown) this.#reveal(link);
      if (isShown) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  /** The newest ones are in sight as long as none is chosen, unless somebody looks around in the strip. */
  #rest() {
    if (this.#step === null && !this.#strip.matches(":hover, :focus-within")) this.#strip.scrollLeft = this.#strip.scrollWidth;
  }

  /** Scroll the strip alone; scrollIntoView would move the page too. */
  #reveal(link) {
    const strip = this.#strip.getBoundingClientRect();
    const box = link.getBoundingClientRect();
    if (box.left < strip.left) this.#strip.scrollLeft -= strip.left - box.left + 24;
    if (box.right > strip.right) this.#strip.scrollLeft += box.right - strip.right + 24;
  }

  /** Hang up thumbnails of some checkpoints; those that hang already stay as they are. */
  #hang() {
    const hanging = new Map([...this.#strip.children].map((item) => [item.querySelector("img").getAttribute("src"), item]));
    const items = spread(this.#checkpoints).map((checkpoint) => {
      const url = `${checkpoint.url}/thumbnail?v=${checkpoint.sha256.slice(0, 8)}`;
      return hanging.get(url) ?? this.#item(checkpoint, url);
    });
    // In reverse, each before the one behind it: an item that is in its place is not touched, nor its focus.
    items.reduceRight((next, item) => {
      if (item.nextElementSibling !== next || item.parentElement !== this.#strip) this.#strip.insertBefore(item, next);
      return item;
    }, null);
    for (const item of [...this.#strip.children]) if (!items.includes(item)) item.remove();
  }

  #item({ step }, url) {
    const { width, height } = document.querySelector("[data-shown] img");
    const image = Object.assign(new Image(width, height), { alt: "", loading: "lazy", src: url });
    const link = Object.assign(document.createElement("a"), { href: `?step=${step}#stage`, ariaLabel: `Step ${step}` });
    link.dataset.step = step;
    link.append(image, String(step));
    const item = document.createElement("li");
    item.append(link);
    return item;
  }
}

function spread(all) {
  if (all.length <= MOST_THUMBNAILS) return all;
  const gap = (all.length - 1) / (MOST_THUMBNAILS - 1);
  return Array.from({ length: MOST_THUMBNAILS }, (_, place) => all[Math.floor(place * gap + 0.5)]);
}
