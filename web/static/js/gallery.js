// The gallery as it goes on: cards follow their jobs, new jobs are told of, older ones are added below.
import { announce } from "./announcer.js";
import { PartsSource, Poll, takeParts, update } from "./page_parts.js";
import { grow } from "./times.js";

const POLL_MS = 3000;
/** Jobs that the list does not tell of are asked for by their ids; so many at once. */
const MAX_SINGLE = 12;

class Gallery {
  #list = document.querySelector("[data-gallery]");
  #url = this.#list.dataset.parts;
  #news = document.querySelector("[data-news]");
  #older = document.querySelector("[data-older]");
  #page = new PartsSource();
  #single = new PartsSource();
  #told = new Set(); // the jobs that the list told of last
  #pages = 0; // of older jobs that were added
  #waiting = []; // cards of new jobs that are told of and not yet shown, newest first

  start() {
    if (!this.#url) return;
    this.#news.addEventListener("click", () => this.#showNews());
    this.#older?.addEventListener("click", (event) => this.#showOlder(event));
    new Poll(() => this.#ask(), POLL_MS);
    this.#comeBack();
  }

  /** Whoever comes back finds the older jobs that were shown, and the place. */
  async #comeBack() {
    const { pages = 0, y = 0 } = history.state ?? {};
    addEventListener("pagehide", () => history.replaceState({ pages: this.#pages, y: scrollY }, ""));
    if (pages === 0 || !this.#older) return;
    history.scrollRestoration = "manual";
    try {
      while (this.#pages < pages && !this.#older.hidden) await this.#addOlder();
    } catch {
      return; // the service is away; the link is still there
    }
    scrollTo({ top: y, behavior: "instant" });
  }

  async #ask() {
    try {
      const parts = await this.#page.fetch(this.#url); // null as long as nothing is new
      if (parts) this.#take(parts);
      await this.#askSingly();
    } finally {
      grow(this.#list);
    }
  }

  #take(parts) {
    // A status that has no more jobs stays where it is, so that nothing moves.
    for (const choice of parts.querySelectorAll("[data-choice]")) {
      const shown = document.querySelector(`[data-choice="${choice.dataset.choice}"]`);
      if (shown && !shown.parentElement.hidden) choice.parentElement.hidden = false;
    }
    takeParts(parts);
    const cards = cardsIn(parts);
    const fresh = [];
    const newest = this.#list.firstElementChild?.dataset.job ?? "";
    for (const card of cards) {
      if (this.#shown(card.dataset.job)) this.#update(card);
      // Ids grow with time: what is newer than the first card is news, anything else belongs to other pages.
      else if (this.#list.dataset.firstPage === "true" && card.dataset.job > newest) fresh.push(card);
    }
    this.#told = new Set(cards.map((card) => card.dataset.job));
    if (fresh.length > 0 && !newest) location.reload(); // nothing is shown that could move
    else this.#tell(fresh);
  }

  /** Ask for shown jobs that go on and are not in the list: moved to its next page, or filtered out by now. */
  async #askSingly() {
    const left = [...this.#list.children].filter(({ dataset }) => !("final" in dataset) && !this.#told.has(dataset.job));
    const asked = left.slice(0, MAX_SINGLE);
    if (asked.length === 0) return;
    const [path, query] = this.#url.split("?");
    const whose = new URLSearchParams(query).getAll("caller").map((name) => ["caller", name]);
    const ids = new URLSearchParams([...whose, ...asked.map((card) => ["id", card.dataset.job])]);
    const parts = await this.#single.fetch(`${path}?${ids}`);
    if (!parts) return;
    const found = new Map(cardsIn(parts).map((card) => [card.dataset.job, card]));
    for (const card of asked) {
      if (found.has(card.dataset.job)) this.#update(found.get(card.dataset.job));
      else lose(card);
    }
  }

  #update(fresh) {
    const card = this.#shown(fresh.dataset.job);
    const before = card.dataset.status;
    update(card, fresh);
    if (before !== card.dataset.status && "final" in card.dataset) announce(`${nameOf(card)}: ${card.dataset.status}`);
  }

  #tell(fresh) {
    const isSame = fresh.length === this.#waiting.length && fresh.every((card, index) => card.dataset.job === this.#waiting[index].dataset.job);
    this.#waiting = fresh;
    if (isSame) return;
    this.#news.hidden = fresh.length === 0;
    if (fresh.length === 0) return;
    const words = `${fresh.length} new ${fresh.length === 1 ? "job" : "jobs"}`;
    this.#news.textContent = words;
    announce(words);
  }

  #showNews() {
    const cards = imported(this.#waiting);
    this.#waiting = [];
    this.#news.hidden = true;
    this.#list.prepend(...cards);
    scrollTo({ top: 0 });
    focus(cards[0]);
  }

  async #showOlder(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (this.#older.getAttribute("aria-disabled") === "true") return;
    this.#older.setAttribute("aria-disabled", "true");
    try {
      const cards = await this.#addOlder();
      if (cards.length > 0) focus(cards[0]);
      announce(`${cards.length} older ${cards.length === 1 ? "job" : "jobs"}`);
    } catch {
      location.assign(this.#older.href); // the plain way
    } finally {
      this.#older.removeAttribute("aria-disabled");
    }
  }

  async #addOlder() {
    const parts = await new PartsSource().fetch(this.#url.split("?")[0] + new URL(this.#older.href).search);
    const cards = imported(cardsIn(parts).filter((card) => !this.#shown(card.dataset.job)));
    this.#list.append(...cards);
    const next = parts.querySelector("[data-older]");
    this.#older.hidden = !next;
    if (next) this.#older.href = next.getAttribute("href");
    this.#pages += 1;
    return cards;
  }

  #shown(id) {
    return this.#list.querySelector(`:scope > [data-job="${id}"]`);
  }
}

const cardsIn = (parts) => [...parts.querySelectorAll("[data-job]")];
const imported = (cards) => cards.map((card) => document.importNode(card, true));
const nameOf = (card) => card.querySelector("[data-name]").textContent;

/** Say that a job is gone; the card stays where it is, so that nothing moves. */
function lose(card) {
  card.dataset.status = "canceled";
  card.dataset.final = "";
  card.querySelector("progress")?.remove();
  card.querySelector("[data-line]").textContent = "deleted";
}

function focus(card) {
  card?.querySelector("[data-name]").focus({ preventScroll: true });
}

new Gallery().start();
