// The queue in figures; `web/pages/workers.py` says the same on the server.
import { span } from "./words.js";

const WORDS = {
  oldest_age_seconds: (seconds) => (seconds === null ? "–" : span(seconds)),
  backlog_seconds: (seconds) => (seconds === null ? "unknown" : seconds === 0 ? "at once" : `in ${span(seconds)}`),
};

/** Show the queue, as the API tells it, in the page's figures. */
export function showQueue(queue) {
  for (const place of document.querySelectorAll("[data-figure]")) {
    const field = place.dataset.figure;
    const words = (WORDS[field] ?? String)(queue[field]);
    if (place.textContent !== words) place.textContent = words;
  }
}
