// What screen readers are told besides what changes under their cursor: little, and not twice.

let last = "";

/** Say something politely; the same words again are not said. */
export function announce(text) {
  if (text === last) return;
  last = text;
  document.getElementById("announcer").textContent = text;
}
