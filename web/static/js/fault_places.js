// Faults, each shown at the field that it is about, in words for people.
import { said } from "./words.js";

/** The places for faults in a form: elements whose `data-fault` is a JSON pointer; `data-called` is what people call the field. */
export class FaultPlaces {
  #form;

  constructor(form) {
    this.#form = form;
  }

  /** Take all faults back, or those whose pointer begins like this. */
  clear(pointer = "") {
    for (const place of this.#form.querySelectorAll(`[data-fault^="${pointer}"]`)) this.#say(place, "");
    if (pointer) return;
    const elsewhere = this.#elsewhere;
    elsewhere.hidden = true;
    elsewhere.replaceChildren();
  }

  /** Show faults, and go to the first of them; what has no place of its own is said at the top. */
  show(faults) {
    const told = new Map();
    for (const { pointer, detail } of faults) {
      const place = this.#place(pointer);
      told.set(place, [...(told.get(place) ?? []), said(detail, pointer, place.dataset.called)]);
    }
    for (const [place, texts] of told) {
      if (place === this.#elsewhere) this.#sayElsewhere(texts);
      else this.#say(place, texts.join(" "));
    }
    this.#goTo([...told.keys()]);
  }

  /** Show the faults of some fields as they are typed; the focus stays. */
  note(faults, pointers) {
    for (const pointer of pointers) {
      const place = this.#form.querySelector(`[data-fault="${pointer}"]`);
      const texts = faults.filter((fault) => fault.pointer === pointer).map((fault) => said(fault.detail, pointer, place?.dataset.called));
      if (place) this.#say(place, texts.join(" "));
    }
  }

  get #elsewhere() {
    return this.#form.querySelector("[data-elsewhere]");
  }

  /** The place for a pointer, or for what it lies in. */
  #place(pointer = "") {
    for (let at = pointer; at.length > 1; at = at.slice(0, at.lastIndexOf("/"))) {
      const place = this.#form.querySelector(`[data-fault="${CSS.escape(at)}"]`);
      if (place) return place;
    }
    return this.#elsewhere;
  }

  #say(place, text) {
    place.textContent = text;
    place.hidden = !text;
    const input = this.#input(place);
    if (text) input?.setAttribute("aria-invalid", "true");
    else input?.removeAttribute("aria-invalid");
  }

  #sayElsewhere(texts) {
    const lines = texts.map((text) => Object.assign(document.createElement("p"), { textContent: text }));
    this.#elsewhere.replaceChildren(...lines);
    this.#elsewhere.hidden = false;
  }

  #input(place) {
    return this.#form.querySelector(`[aria-describedby~="${place.id}"]:is(input, select)`);
  }

  #goTo(places) {
    const isBefore = (one, other) => one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING;
    const [first] = places.sort((one, other) => (isBefore(one, other) ? -1 : 1));
    if (!first) return;
    for (const place of places) place.closest("details")?.setAttribute("open", "");
    const target = this.#input(first) ?? first.closest("[role=group]")?.querySelector("input") ?? first;
    if (target === first) first.tabIndex = -1;
    target.focus({ preventScroll: true });
    // A well's input has no size of its own; what is to be seen is its whole half.
    (target.closest(".well, .field, .presets") ?? target).scrollIntoView({ block: "center" });
  }
}
