// The gallery as it goes on: cards follow their jobs, new jobs are told of, older ones are added below.
import { announce } from "./announcer.js";
import { JobCard, jobName } from "./job_card.js";
import { isFinal } from "./live.js";

const POLL_MS = 3000;
const AWAY_MS = 6000;
const API = "/api/v1/jobs";
/** Jobs that the list does not tell of are asked for one by one; so many at once. */
const MAX_SINGLE = 12;

class Gallery {
  #list = document.querySelector("[data-gallery]");
  #blank = document.querySelector("[data-blank]");
  #news = document.querySelector("[data-news]");
  #away = document.querySelector("[data-away]");
  #older = document.querySelector("[data-older]");
  #cards = new Map();
  #waiting = []; // new jobs that are told of and not yet shown, newest first
  #timer = null;

  constructor() {
    for (const element of this.#list.children) this.#keep(new JobCard(element));
  }

  start() {
    if (!this.#list.dataset.list) return;
    this.#news.addEventListener("click", () => this.#showNews());
    this.#older?.addEventListener("click", (event) => this.#showOlder(event));
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.#timer) : this.#poll()));
    addEventListener("pageshow", (event) => event.persisted && this.#poll());
    this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }

  get #isFirstPage() {
    return this.#list.dataset.firstPage === "true";
  }

  async #poll() {
    clearTimeout(this.#timer);
    let wait = POLL_MS;
    try {
      const answer = await fetch(this.#list.dataset.list, { cache: "no-cache" }); // 304 as long as nothing is new
      if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
      const { jobs, counts } = await answer.json();
      this.#away.hidden = true;
      this.#showCounts(counts);
      this.#take(jobs);
      await this.#askSingly(new Set(jobs.map((job) => job.id)));
    } catch {
      this.#away.hidden = false; // it is asked again below
      wait = AWAY_MS;
    }
    for (const card of this.#cards.values()) card.grow();
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.#poll(), wait);
  }

  #take(jobs) {
    const fresh = [];
    const newest = this.#list.firstElementChild?.dataset.job ?? "";
    for (const job of jobs) {
      if (this.#cards.has(job.id)) this.#update(job);
      // Ids grow with time: what is newer than the first card is news, anything else belongs to other pages.
      else if (this.#isFirstPage && job.id > newest) fresh.push(job);
    }
    if (fresh.length > 0 && this.#cards.size === 0) location.reload(); // nothing is shown that could move
    else this.#tell(fresh);
  }

  /** Ask for shown jobs that go on and are not in the list: moved to its next page, or filtered out by now. */
  async #askSingly(told) {
    const left = [...this.#cards.values()].filter((card) => !told.has(card.id) && !isFinal(card));
    await Promise.all(
      left.slice(0, MAX_SINGLE).map(async (card) => {
        const answer = await fetch(`${API}/${card.id}`, { cache: "no-store" });
        if (answer.ok) this.#update(await answer.json());
        if (answer.status === 404) this.#lose(card);
      }),
    );
  }

  #update(job) {
    const card = this.#cards.get(job.id);
    const before = card.status;
    card.show(job);
    if (before !== job.status && isFinal(job)) announce(`${jobName(job)}: ${job.status}`);
  }

  #lose(card) {
    card.lose();
    this.#cards.delete(card.id);
  }

  #tell(fresh) {
    if (fresh.length === this.#waiting.length && fresh.every((job, index) => job.id === this.#waiting[index].id)) {
      this.#waiting = fresh;
      return;
    }
    this.#waiting = fresh;
    this.#news.hidden = fresh.length === 0;
    if (fresh.length === 0) return;
    const words = `${fresh.length} new ${fresh.length === 1 ? "job" : "jobs"}`;
    this.#news.textContent = words;
    announce(words);
  }

  #showNews() {
    const cards = this.#waiting.map((job) => this.#keep(JobCard.make(this.#blank, job)));
    this.#waiting = [];
    this.#news.hidden = true;
    this.#list.prepend(...cards.map((card) => card.element));
    scrollTo({ top: 0 });
    focus(cards[0]);
  }

  async #showOlder(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (this.#older.getAttribute("aria-disabled") === "true") return;
    this.#older.setAttribute("aria-disabled", "true");
    const here = new URL(this.#older.href);
    const url = new URL(this.#list.dataset.list, location.origin);
    url.searchParams.set("page_token", here.searchParams.get("page_token"));
    url.searchParams.delete("counts");
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
      const { jobs, next_page_token: token } = await answer.json();
      const cards = jobs.filter((job) => !this.#cards.has(job.id)).map((job) => this.#keep(JobCard.make(this.#blank, job)));
      this.#list.append(...cards.map((card) => card.element));
      here.searchParams.set("page_token", token ?? "");
      this.#older.href = here;
      this.#older.hidden = token === null;
      if (cards.length > 0) focus(cards[0]);
      announce(`${cards.length} older ${cards.length === 1 ? "job" : "jobs"}`);
    } catch {
      location.assign(this.#older.href); // the plain way
    } finally {
      this.#older.removeAttribute("aria-disabled");
    }
  }

  #showCounts(counts) {
    if (!counts) return;
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    for (const choice of document.querySelectorAll("[data-choice]")) {
      const count = choice.dataset.choice === "all" ? all : (counts[choice.dataset.choice] ?? 0);
      const number = choice.querySelector("[data-count]");
      if (number.textContent !== String(count)) number.textContent = count;
      if (count > 0) choice.parentElement.hidden = false;
    }
  }

  #keep(card) {
    this.#cards.set(card.id, card);
    return card;
  }
}

function focus(card) {
  card?.element.querySelector("[data-name]").focus({ preventScroll: true });
}

new Gallery().start();
