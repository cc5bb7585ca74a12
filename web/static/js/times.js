// Moments as the reader has them; the server says them in UTC, and how old something is when it draws it.
import { ago } from "./words.js";

const FORMAT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** Say all moments below a node locally; of those with `data-age`, how long ago they were. */
export function localize(root) {
  for (const time of root.querySelectorAll("time[datetime]:not([data-age])")) {
    time.title = time.textContent;
    time.textContent = FORMAT.format(new Date(time.dateTime));
  }
  grow(root);
}

/** Let what is below a node be as old as it is now. */
export function grow(root) {
  for (const time of root.querySelectorAll("time[data-age]")) {
    const words = ago(time.dateTime);
    if (time.textContent !== words) time.textContent = words;
  }
}
