// One half of the page 'New job': the picture that was chosen for it, and what is known of that.
import { fileSize } from "./words.js";

/** What people call a file of a media type that is not taken, most telling first. */
const NO_PICTURES = [
  [/^text\/(html|xml)|xhtml/, "a web page"], [/^text\//, "a text file"], [/pdf$/, "a PDF file"], [/^video\//, "a video"],
  [/^audio\//, "a sound file"], [/zip|compressed|tar$/, "an archive"],
];

/** Tells "change" when another picture is there, or its size has become known. */
export class PictureWell extends EventTarget {
  #root;
  #limits;
  #image;
  #picture = null;

  /**
   * @param {HTMLElement} root The half; it may show a picture that the service has already.
   * @param {{maxBytes: number, types: string[], kinds: string}} limits `kinds` are the types in words.
   */
  constructor(root, limits) {
    super();
    this.#root = root;
    this.#limits = limits;
    this.#image = root.querySelector("img");
    this.part = root.dataset.part;
    this.input = root.querySelector('input[type="file"]');
    const assetId = root.querySelector('input[type="hidden"]').value;
    if (assetId) {
      const facts = root.querySelector("[data-facts]");
      const [width, height] = ["width", "height"].map((side) => Number(this.#image.getAttribute(side)));
      const name = facts.querySelector("b").textContent;
      const starred = root.querySelector('input[type="hidden"]').hasAttribute("data-starred");
      this.#picture = { assetId, name, url: this.#image.src, facts: [...facts.childNodes], width, height, starred };
    }
    root.querySelector("[data-replace]").addEventListener("click", () => this.input.click());
    root.querySelector("[data-remove]").addEventListener("click", () => {
      this.picture = null;
      this.input.focus();
    });
    this.input.addEventListener("change", () => this.#takeOver());
    this.#show();
    // Whoever is quick has chosen a file before the modules came: no "change" tells of that one.
    this.#takeOver();
  }

  get root() {
    return this.#root;
  }

  /**
   * What is chosen: {file} or {assetId, size}, with name, url, width and height (0 while unknown); null is nothing.
   * `starred` is told of what the service has; of a file that it has under an id, `keptAs` is that.
   */
  get picture() {
    return this.#picture;
  }

  set picture(picture) {
    this.#picture = picture;
    this.fault("");
    this.#show();
    this.dispatchEvent(new Event("change"));
  }

  /** Take a file, or say why not; returns whether it was taken. */
  choose(file) {
    const wrong = this.#refusal(file);
    if (wrong) {
      this.fault(wrong);
      return false;
    }
    this.picture = { file, name: file.name || this.part, url: URL.createObjectURL(file), width: 0, height: 0 };
    return true;
  }

  /** Say what is wrong; an empty text takes it back. */
  fault(text) {
    const place = this.#root.querySelector("[data-fault]");
    place.textContent = text;
    place.hidden = !text;
    if (text) this.input.setAttribute("aria-invalid", "true");
    else this.input.removeAttribute("aria-invalid");
  }

  /** Only what is cheap to know here; the service looks into the bytes. */
  #refusal(file) {
    const { maxBytes, types, kinds } = this.#limits;
    if (file.size > maxBytes) {
      return `The ${this.part} has ${fileSize(file.size)}; at most ${maxBytes / 1e6} MB are allowed for a picture.`;
    }
    if (!file.type || types.includes(file.type)) return "";
    const [, kind] = NO_PICTURES.find(([type]) => type.test(file.type)) ?? [];
    const what = kind ? `is no picture: it is ${kind}` : "is of a kind that cannot be read";
    return `The ${this.part} ${what}. Allowed are ${kinds}.`;
  }

  #takeOver() {
    const [file] = this.input.files;
    // The same file may be chosen again later; and what counts is what is kept here.
    this.input.value = "";
    if (file) this.choose(file);
  }

  #show() {
    const picture = this.#picture;
    const image = this.#image;
    image.hidden = !picture || Boolean(picture.unseen);
    this.#root.querySelector(".well-unseen").hidden = !picture?.unseen;
    this.#root.querySelector(".well-empty").hidden = Boolean(picture);
    this.#root.querySelector("[data-tools]").hidden = !picture;
    this.#root.querySelector('input[type="hidden"]').value = picture?.assetId ?? "";
    if (!picture) {
      image.removeAttribute("src");
      this.#tell(null);
      return;
    }
    image.alt = `${this.part}: ${picture.name}`;
    if (image.src !== picture.url) image.src = picture.url;
    this.#tell(picture);
    if (!picture.width && !picture.unseen) this.#measure(picture);
  }

  async #measure(picture) {
    try {
      await this.#image.decode();
    } catch {
      // A TIFF, most likely, which no browser shows; the service reads it.
      if (this.#picture !== picture) return;
      picture.unseen = true;
      this.#show();
      return;
    }
    if (this.#picture !== picture) return;
    picture.width = this.#image.naturalWidth;
    picture.height = this.#image.naturalHeight;
    this.#image.width = picture.width;
    this.#image.height = picture.height;
    this.#tell(picture);
    this.dispatchEvent(new Event("change"));
  }

  #tell(picture) {
    const place = this.#root.querySelector("[data-facts]");
    if (picture?.facts) {
      place.replaceChildren(...picture.facts);
      return;
    }
    if (!picture) {
      place.replaceChildren();
      return;
    }
    const name = document.createElement("b");
    name.textContent = picture.name;
    const facts = document.createElement("span");
    const size = picture.width ? `${picture.width} × ${picture.height} px, ` : "";
    facts.textContent = `${size}${fileSize(picture.file?.size ?? picture.size)}`;
    place.replaceChildren(name, " ", facts);
  }
}
