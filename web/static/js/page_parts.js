// Parts of the page as the server draws them, fetched again when there is news: no second set of templates here.
import { link } from "./request.js";
import { localize } from "./times.js";

const LEAST_MS = 700;
/** What people and scripts do to an element; the server knows nothing of it. */
const OWN = new Set(["open", "aria-disabled", "aria-busy"]);

/** Where parts come from; what is as it was is neither sent nor read again. */
export class PartsSource {
  #url = "";
  #etag = null;

  /** Return a document, or null when nothing is new; an error tells the `status`, which is 0 without an answer. */
  async fetch(url) {
    const request = await load(url, url === this.#url ? this.#etag : null);
    const { status } = request;
    if (status === 401 || isSignIn(request.responseURL)) location.reload(); // signed out elsewhere: the page says where to sign in
    if (status === 304) return null;
    if (status !== 200) throw Object.assign(new Error(`the service answered ${status}`), { status });
    this.#url = url;
    this.#etag = request.getResponseHeader("ETag");
    localize(request.responseXML);
    return request.responseXML;
  }

  /** Fetch all of it the next time. */
  forget() {
    this.#etag = null;
  }
}

/** Fetches the parts of a page when it is told that there is news. */
export class PageParts {
  #url;
  #onTaken;
  #source = new PartsSource();
  #timer = null;
  #isFetching = false;
  #isStale = false;

  /**
   * @param {() => string} url Where the page is, as it is shown now. Parts are elements with `data-part`; their order does not matter.
   * @param {() => void} onTaken Is told when they are as the server has them.
   */
  constructor(url, onTaken = () => {}) {
    this.#url = url;
    this.#onTaken = onTaken;
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
      const page = await this.#source.fetch(this.#url());
      if (page && !takeParts(page)) this.#source.forget();
      if (page) this.#onTaken();
    } catch (error) {
      if (!error.status) this.#isStale = true; // the service is away; what follows its return asks again
    }
    this.#isFetching = false;
    if (this.#isStale) this.#timer = setTimeout(() => this.#work(), LEAST_MS);
  }
}

/** Asks again and again, but not for a page that nobody sees; says so when the service is away, and asks less often then. */
export class Poll {
  #ask;
  #everyMs;
  #away = document.querySelector("[data-away]");
  #timer = null;

  /** @param {() => Promise} ask Asks, and fails when there is no answer. */
  constructor(ask, everyMs) {
    this.#ask = ask;
    this.#everyMs = everyMs;
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.#timer) : this.now()));
    // A page that comes back from the browser's cache has missed everything since.
    addEventListener("pageshow", (event) => event.persisted && this.now());
    this.#timer = setTimeout(() => this.now(), everyMs);
  }

  async now() {
    clearTimeout(this.#timer);
    let wait = this.#everyMs;
    try {
      await this.#ask();
      this.#away.hidden = true;
    } catch {
      this.#away.hidden = false; // it is asked again below
      wait *= 2;
    }
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.now(), wait);
  }
}

/** Bring all parts of this page up to date; returns false when somebody is filling in one of them, which stays as it is. */
export function takeParts(page) {
  let isWhole = true;
  for (const fresh of page.querySelectorAll("[data-part]")) {
    const old = document.querySelector(`[data-part="${fresh.dataset.part}"]`);
    if (!old || old.isEqualNode(fresh)) continue;
    if (isTypedIn(old)) {
      isWhole = false;
      continue;
    }
    // What is chosen in it is what the server says from here on.
    for (const form of old.querySelectorAll("form")) form.reset();
    update(old, fresh);
  }
  return isWhole;
}

/**
 * Make an element what it is in a fetched document. Only what differs is touched: menus stay open, bars grow, and the
 * focus stays, or goes to what took its place. Whatever the fetched document marks with `data-kept` stays as it is.
 */
export function update(old, fresh) {
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const around = [];
  for (let node = focused; node && node !== old; node = node.parentElement) around.push(node.parentElement);
  const now = match(old, fresh);
  if (!focused || isSeen(focused)) return;
  const same = focused.id ? now.querySelector(`#${focused.id}`) : null;
  const near = [...around.filter((node) => node.isConnected), now];
  const others = near.flatMap((node) => [...node.querySelectorAll("button, a, summary, [tabindex]")]);
  [same, ...others, document.getElementById("main")].find((node) => node && isSeen(node)).focus({ preventScroll: true });
}

function match(old, fresh) {
  if (fresh.nodeType === Node.ELEMENT_NODE && fresh.hasAttribute("data-kept")) return old;
  if (old.isEqualNode(fresh)) return old;
  if (!isAlike(old, fresh)) {
    const made = document.importNode(fresh, true);
    old.replaceWith(made);
    return made;
  }
  if (fresh.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return old;
  }
  matchAttributes(old, fresh);
  let at = old.firstChild;
  for (const child of fresh.childNodes) {
    const found = findAlike(at, child);
    if (!found) {
      old.insertBefore(document.importNode(child, true), at);
      continue;
    }
    while (at !== found) at = drop(at);
    at = match(at, child).nextSibling;
  }
  while (at) at = drop(at);
  return old;
}

function matchAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !OWN.has(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value || OWN.has(name)) continue;
    if (name === "src" && old instanceof HTMLImageElement) changePicture(old, value);
    else old.setAttribute(name, value);
  }
}

/** The same thing, maybe in another state: what has a name of its own is nothing else, whatever it looks like. */
function isAlike(old, fresh) {
  if (old.nodeName !== fresh.nodeName) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) return true;
  return ["class", "id", "data-job", "data-worker", "data-action"].every((name) => old.getAttribute(name) === fresh.getAttribute(name));
}

/** Elements may have gone before the one that is looked for; a text is where it is or nowhere. */
function findAlike(at, fresh) {
  if (fresh.nodeType !== Node.ELEMENT_NODE) return at && isAlike(at, fresh) ? at : null;
  let node = at;
  while (node && !isAlike(node, fresh)) node = node.nextSibling;
  return node;
}

function drop(node) {
  const next = node.nextSibling;
  node.remove();
  return next;
}

const coming = new WeakMap(); // image → the address that it will have

/** The new picture takes the old one's place when it is there: no flicker. */
function changePicture(image, url) {
  if (coming.get(image) === url) return;
  coming.set(image, url);
  const next = new Image();
  next.addEventListener("load", () => coming.get(image) === url && image.setAttribute("src", url), { once: true });
  next.addEventListener("error", () => coming.delete(image), { once: true });
  next.src = url;
}

/** A form that somebody is filling in stays; it is judged by the service anyway. */
function isTypedIn(part) {
  const seen = (selector) => [...part.querySelectorAll(selector)].filter((input) => input.checkVisibility());
  const inputs = seen("form :is(input:not([type=hidden]), textarea)");
  // Elsewhere scripts choose, too.
  const choices = seen(".menu[open] select");
  return (
    [...inputs, ...choices].includes(document.activeElement) ||
    inputs.some((input) => input.value !== input.defaultValue) ||
    choices.some((choice) => !choice.selectedOptions[0]?.defaultSelected)
  );
}

function isSeen(element) {
  return element.isConnected && element.checkVisibility({ visibilityProperty: true });
}

function isSignIn(url) {
  return new URL(url, location).pathname === link("/signin");
}

/** XMLHttpRequest parses the answer itself: no text becomes HTML in a script, which the page's policy forbids. */
function load(url, etag) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", url);
    request.responseType = "document";
    if (etag) request.setRequestHeader("If-None-Match", etag);
    request.addEventListener("load", () => resolve(request));
    request.addEventListener("error", () => reject(Object.assign(new Error("the service is away"), { status: 0 })));
    request.send();
  });
}
