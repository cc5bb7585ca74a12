// The slider between content and picture: by pointer anywhere on the picture, by keys on the range input.

export class Slider {
  #root;
  #frame;
  #input;

  constructor(root) {
    this.#root = root;
    this.#frame = root.parentElement;
    this.#input = root.querySelector("input");
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

  #follow(event) {
    const box = this.#root.getBoundingClientRect();
    const percent = Math.max(0, Math.min(100, ((event.clientX - box.left) / box.width) * 100));
    this.#input.value = percent;
    this.#show(percent);
  }

  #show(percent) {
    this.#frame.style.setProperty("--split", `${percent}%`);
    this.#input.setAttribute("aria-valuetext", `${Math.round(percent)} % content`);
  }
}
