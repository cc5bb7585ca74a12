// The page of workers as it goes on: cards follow their workers, figures the queue.
import { announce } from "./announcer.js";
import { showQueue } from "./queue_figures.js";
import { WorkerCard } from "./worker_card.js";

const POLL_MS = 2000;
const AWAY_MS = 4000;

class Workers {
  #list = document.querySelector("[data-workers]");
  #blank = document.querySelector("[data-blank]");
  #message = document.querySelector("[data-message]");
  #empty = document.querySelector("[data-empty]");
  #count = document.querySelector("[data-count]");
  #away = document.querySelector("[data-away]");
  #cards = new Map();
  #timer = null;

  start() {
    for (const element of this.#list.children) this.#keep(new WorkerCard(element));
    document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(this.#timer) : this.#poll()));
    addEventListener("pageshow", (event) => event.persisted && this.#poll());
    this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }

  async #poll() {
    clearTimeout(this.#timer);
    let wait = POLL_MS;
    try {
      const [listed, queue] = await Promise.all([read("/api/v1/workers"), read("/api/v1/queue")]);
      this.#away.hidden = true;
      showQueue(queue);
      this.#show(listed);
    } catch {
      this.#away.hidden = false; // it is asked again below
      wait = AWAY_MS;
    }
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.#poll(), wait);
  }

  #show({ workers, message }) {
    if (workers !== null) this.#showCards(workers);
    this.#empty.hidden = workers === null || workers.length > 0;
    const count = workers === null ? "unknown" : String(workers.length);
    if (this.#count.textContent !== count) this.#count.textContent = count;
    // Without any worker the empty list says the same.
    this.#message.hidden = !message || !this.#empty.hidden;
    if (message && this.#message.textContent !== message) {
      this.#message.textContent = message;
      announce(message);
    }
  }

  #showCards(workers) {
    const there = new Set(workers.map((worker) => worker.id));
    for (const [id, card] of this.#cards) {
      if (there.has(id)) continue;
      card.element.remove();
      this.#cards.delete(id);
      announce(`${id} has ended`);
    }
    workers.forEach((worker, place) => {
      const card = this.#cards.get(worker.id);
      if (card) card.show(worker);
      else {
        const made = this.#keep(WorkerCard.make(this.#blank, worker));
        // By id, as the service lists them.
        this.#list.insertBefore(made.element, this.#list.children[place] ?? null);
        announce(`${worker.id} is ${worker.state}`);
      }
    });
  }

  #keep(card) {
    card.addEventListener("drained", () => {
      announce(`${card.id} is draining`);
      this.#poll(); // it may have been the last one
    });
    this.#cards.set(card.id, card);
    return card;
  }
}

async function read(url) {
  const answer = await fetch(url, { headers: { Accept: "application/json" }, cache: "no-store" });
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  return answer.json();
}

new Workers().start();
