// The strip below a half: the project's own pictures, and the caller's styles, each a click.
import { announce } from "./announcer.js";
import { link } from "./request.js";
import { sentence } from "./words.js";

export class PictureStrip {
  #well;
  #root;
  #files = new Map(); // address → the file: chosen again, it is the same picture
  #wanted = null;

  /** @param {import("./picture_well.js").PictureWell} well */
  constructor(well) {
    this.#well = well;
    this.#root = well.root.querySelector("[data-picks]");
    // Also those that are added later.
    this.#root.addEventListener("change", ({ target }) => ("example" in target.dataset ? this.take(target) : this.#use(target)));
    well.addEventListener("change", () => this.#mark());
    this.#mark();
  }

  /** Take an example, the first one if no other is named. */
  async take(example = this.#root.querySelector("[data-example]")) {
    const url = example.dataset.example;
    this.#wanted = url;
    if (!this.#files.has(url)) {
      const answer = await fetch(url);
      const name = url.split("/").at(-1).split("?")[0];
      this.#files.set(url, new File([await answer.blob()], name, { type: "image/jpeg" }));
    }
    // Whoever clicks on wants the last one.
    if (this.#wanted !== url) return;
    this.#well.choose(this.#files.get(url));
    announce(sentence(`${this.#well.part}: ${example.getAttribute("aria-label")}`));
  }

  /**
   * Put a picture that the service has, as the API tells of it, in front of the others, unless it is there. One that is
   * `unseen`, which no browser shows, is shown in small.
   */
  offer(asset, unseen = false) {
    if (!this.#find(asset.id)) this.#add(asset, unseen);
    this.#mark();
  }

  #add(asset, unseen) {
    const row = this.#root.querySelector("[data-known-row]");
    const pick = this.#root.querySelector("[data-known-pick]").content.cloneNode(true);
    const radio = pick.querySelector("input");
    radio.value = asset.id;
    radio.setAttribute("aria-label", asset.filename);
    const { filename: name, width, height, size_bytes: size } = asset;
    const thumbnail = link(`/api/v1/assets/${encodeURIComponent(asset.id)}/thumbnail`);
    Object.assign(radio.dataset, { name, url: unseen ? thumbnail : asset.url, width, height, size });
    pick.querySelector("label").title = name;
    pick.querySelector("img").src = thumbnail;
    pick.querySelector("[data-star] .visually-hidden").textContent = `Star ${name}`;
    row.prepend(pick);
    row.hidden = false;
  }

  /** The star's button of a picture of the strip; null where it is not there. */
  starOf(assetId) {
    return this.#find(assetId)?.closest(".pick-kept").querySelector("[data-star]") ?? null;
  }

  #find(assetId) {
    return this.#root.querySelector(`[data-known][value="${CSS.escape(assetId)}"]`);
  }

  #use(radio) {
    const { name, url, width, height, size } = radio.dataset;
    this.#wanted = null;
    const starred = radio.hasAttribute("data-starred");
    this.#well.picture = { assetId: radio.value, name, url, width: Number(width), height: Number(height), size: Number(size), starred };
  }

  #mark() {
    const { picture } = this.#well;
    for (const radio of this.#root.querySelectorAll("[data-example]")) {
      radio.checked = Boolean(picture?.file) && this.#files.get(radio.dataset.example) === picture.file;
    }
    for (const radio of this.#root.querySelectorAll("[data-known]")) {
      radio.checked = radio.value === (picture?.assetId ?? picture?.keptAs);
    }
  }
}
