// Numbers in people's words, of what changes in an open page; `web/words.py` says the same, and tests/golden/words.json holds both.

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

/** A span of time: "4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "unknown";
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 10) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** Words as a sentence: a capital letter at its beginning, a stop at its end; nothing stays nothing. */
export function sentence(words) {
  const text = words.trim();
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}${!text || ".!?…".includes(text.at(-1)) ? "" : "."}`;
}

/**
 * The words of a fault as a sentence for people. Messages begin with the field's name as programs know it, which its pointer
 * ends with; people know the field by its `label`.
 */
export function said(detail, pointer = "", label = "") {
  const parts = pointer.split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
  const shown = parts[0] === "labels" && parts.length === 2 ? `The label '${parts[1]}'` : label;
  const name = (parts[0] === "options" && parts.length > 1 ? parts.slice(1) : parts).join(".");
  const isNamed = name && shown && detail.startsWith(name) && !/^[\w-]/.test(detail.slice(name.length));
  return sentence(isNamed ? shown + detail.slice(name.length) : detail);
}

/** How long ago a moment was: "just now", "5 min ago". */
export function ago(moment, now = Date.now()) {
  const seconds = (now - new Date(moment).getTime()) / 1000;
  if (seconds < 10) return "just now";
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit} ago`;
  }
  return `${Math.floor(seconds)} s ago`;
}

/** A file's size in decimal units: "812 bytes", "1.4 MB". */
export function fileSize(bytes) {
  let unit = 0;
  while (bytes >= 999.5 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit === 0 || bytes >= 99.5 ? bytes.toFixed(0) : bytes.toFixed(1)} ${UNITS[unit]}`;
}
