// The strip below a half: the project's own pictures and those that were used lately, each a click.
import { announce } from "./announcer.js";
import { sentence } from "./words.js";

export class PictureStrip {
  #well;
  #buttons;
  #radios;
  #files = new Map(); // address → the file: chosen again, it is the same picture
  #wanted = null;

  /** @param {import("./picture_well.js").PictureWell} well */
  constructor(well) {
    this.#well = well;
    const root = well.root.querySelector("[data-picks]");
    root.querySelector("[data-examples]").hidden = false;
    this.#buttons = [...root.querySelectorAll("[data-example]")];
    this.#radios = [...root.querySelectorAll("[data-recent]")];
    for (const button of this.#buttons) button.addEventListener("click", () => this.take(button));
    for (const radio of this.#radios) radio.addEventListener("change", () => this.#use(radio));
    well.addEventListener("change", () => this.#mark());
    this.#mark();
  }

  /** Take an example, the first one if no other is named. */
  async take(button = this.#buttons[0]) {
    const url = button.dataset.example;
    this.#wanted = url;
    if (!this.#files.has(url)) {
      const answer = await fetch(url);
      const name = url.split("/").at(-1).split("?")[0];
      this.#files.set(url, new File([await answer.blob()], name, { type: "image/jpeg" }));
    }
    // Whoever clicks on wants the last one.
    if (this.#wanted !== url) return;
    this.#well.choose(this.#files.get(url));
    announce(sentence(`${this.#well.part}: ${button.title}`));
  }

  #use(radio) {
    const { name, url, width, height, size } = radio.dataset;
    this.#wanted = null;
    this.#well.picture = { assetId: radio.value, name, url, width: Number(width), height: Number(height), size: Number(size) };
  }

  #mark() {
    const { picture } = this.#well;
    for (const button of this.#buttons) {
      const isChosen = Boolean(picture?.file) && this.#files.get(button.dataset.example) === picture.file;
      button.setAttribute("aria-pressed", String(isChosen));
    }
    for (const radio of this.#radios) radio.checked = radio.value === picture?.assetId;
  }
}
