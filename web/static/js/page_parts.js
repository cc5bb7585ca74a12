// Parts of the page as the server draws them, fetched again when there is news: no second set of templates here.
import { localize } from "./times.js";

const LEAST_MS = 700;

export class PageParts {
  #url;
  #timer = null;
  #isFetching = false;
  #isStale = false;

  /** @param {() => string} url Where the page is, as it is shown now. Parts are elements with `data-part`; their order does not matter. */
  constructor(url) {
    this.#url = url;
  }

  /** Fetch them soon; what is asked for several times within a moment is fetched once. */
  refresh() {
    this.#isStale = true;
    if (this.#timer === null && !this.#isFetching) this.#timer = setTimeout(() => this.#work(), 0);
  }

  async #work() {
    this.#timer = null;
    this.#isFetching = true;
    this.#isStale = false;
    try {
      const page = await fetchDocument(this.#url());
      if (page) this.#take(page);
    } catch {
      this.#isStale = true; // the service is away; what follows its return asks again
    }
    this.#isFetching = false;
    if (this.#isStale) this.#timer = setTimeout(() => this.#work(), LEAST_MS);
  }

  #take(page) {
    for (const fresh of page.querySelectorAll("[data-part]")) {
      const old = document.querySelector(`[data-part="${fresh.dataset.part}"]`);
      if (!old) continue;
      localize(fresh);
      for (const open of old.querySelectorAll("details[open][id]")) {
        fresh.querySelector(`#${open.id}`)?.setAttribute("open", "");
      }
      if (!old.isEqualNode(fresh) && !isTypedIn(old)) replace(old, document.importNode(fresh, true));
    }
  }
}

/** XMLHttpRequest parses the page itself: no text becomes HTML in a script, which the page's policy forbids. */
function fetchDocument(url) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    request.addEventListener("load", () => resolve(request.status === 200 ? request.responseXML : null));
    request.addEventListener("error", reject);
    request.send();
  });
}

/** A form that somebody is filling in stays; it is judged by the service anyway. */
function isTypedIn(part) {
  const inputs = [...part.querySelectorAll("form input:not([type=hidden])")].filter((input) => input.checkVisibility());
  return inputs.some((input) => input === document.activeElement || input.value !== input.defaultValue);
}

/** The focus goes on where it was, or to what took its place. */
function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceWith(fresh);
  if (!focused) return;
  const same = focused.id ? fresh.querySelector(`#${focused.id}`) : null;
  (same ?? fresh.querySelector("button, a, summary") ?? document.getElementById("main")).focus({ preventScroll: true });
}
