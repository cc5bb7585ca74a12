// The slider between two pictures: by pointer anywhere on them, by keys on the range input.

export class Slider {
  #root;
  #frame;
  #input;
  #left; // what stands there

  /** @param {string} left What stands left of it. */
  constructor(root, left = "content") {
    this.#root = root;
    this.#frame = root.parentElement;
    this.#input = root.querySelector("input");
    this.#left = left;
    root.hidden = false;
    this.#input.addEventListener("input", () => this.#show(this.#input.valueAsNumber));
    root.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault(); // no selection, and the focus goes where the keys work
      root.setPointerCapture(event.pointerId);
      this.#input.focus({ preventScroll: true });
      this.#follow(event);
    });
    root.addEventListener("pointermove", (event) => root.hasPointerCapture(event.pointerId) && this.#follow(event));
  }

  /** Say that something else stands left of it. */
  set left(left) {
    this.#left = left;
    this.#input.setAttribute("aria-label", `${left === "draft" ? "Draft" : "Content"} to the left, picture to the right`);
    this.#show(this.#input.valueAsNumber);
  }

  #follow(event) {
    const box = this.#root.getBoundingClientRect();
    const percent = Math.max(0, Math.min(100, ((event.clientX - box.left) / box.width) * 100));
    this.#input.value = percent;
    this.#show(percent);
  }

  #show(percent) {
    this.#frame.style.setProperty("--split", `${percent}%`);
    this.#input.setAttribute("aria-valuetext", `${Math.round(percent)} % ${this.#left}`);
  }
}
