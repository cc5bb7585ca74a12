// The page of workers as it goes on: what changes is drawn by the server, and told of here.
import { announce } from "./announcer.js";
import { PartsSource, Poll, takeParts } from "./page_parts.js";
import { Refused, link, send } from "./request.js";
import { sentence } from "./words.js";

const PARTS_URL = link("/parts/workers");
const POLL_MS = 2000;

const source = new PartsSource();
const poll = new Poll(ask, POLL_MS);
document.addEventListener("submit", drain);

async function ask() {
  const parts = await source.fetch(PARTS_URL); // null as long as nothing is new
  if (!parts) return;
  const before = look();
  takeParts(parts);
  const now = look();
  for (const id of before.states.keys()) if (!now.states.has(id)) announce(`${id} has ended`);
  for (const [id, state] of now.states) if (!before.states.has(id)) announce(`${id} is ${state}`);
  if (now.message && now.message !== before.message) announce(now.message);
}

/** What is told of when it changes: which workers there are, and why no job can start. */
function look() {
  const cards = [...document.querySelectorAll("[data-worker]")];
  const states = new Map(cards.map((card) => [card.dataset.worker, card.querySelector("[data-badge]").textContent]));
  return { states, message: document.querySelector("[data-message]").textContent };
}

/** Drain a worker by its form, without leaving the page. */
async function drain(event) {
  const card = event.target.closest("[data-worker]");
  if (!card) return;
  event.preventDefault();
  const button = event.target.querySelector("button");
  const fault = card.querySelector("[data-fault]");
  // Not disabled: the focus would be lost with it.
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  fault.hidden = true;
  try {
    // The form leads to the page's own view, for those without scripts.
    await send("POST", event.target.dataset.api);
    announce(`${card.dataset.worker} is draining`);
    await poll.now(); // it may have been the last one
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    fault.textContent = sentence(error.problem.detail);
    fault.hidden = false;
  } finally {
    button.removeAttribute("aria-disabled");
  }
}
