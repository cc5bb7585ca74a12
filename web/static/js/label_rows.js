// Labels: rows of key and value, as many as are wanted.

export class LabelRows {
  #rows;
  #max;
  #button;

  /** @param {HTMLTemplateElement} template A row that is still empty. */
  constructor(rows, template, button) {
    this.#rows = rows;
    this.#max = Number(rows.dataset.max);
    this.#button = button;
    // Without scripts there are spare rows; here one is enough, and more come when they are asked for.
    const empty = [...rows.querySelectorAll(".label-row")].filter((row) => ![...row.querySelectorAll("input")].some((input) => input.value));
    for (const row of empty.slice(1)) row.remove();
    button.addEventListener("click", () => {
      rows.append(template.content.cloneNode(true));
      rows.lastElementChild.querySelector("input").focus();
      this.#limit();
    });
    this.#limit();
  }

  /** The labels as the API takes them. */
  values() {
    return Object.fromEntries(this.#pairs());
  }

  /** What a mapping can no longer show: keys that are given twice. */
  faults() {
    const keys = this.#pairs().map(([key]) => key);
    const twice = new Set(keys.filter((key, index) => keys.indexOf(key) !== index));
    return [...twice].map((key) => ({ pointer: "/labels", detail: `the label '${key}' is given more than once; give it once` }));
  }

  #pairs() {
    const rows = [...this.#rows.querySelectorAll(".label-row")];
    const pairs = rows.map((row) => [...row.querySelectorAll("input")].map((input) => input.value));
    return pairs.map(([key, value]) => [key.trim(), value]).filter(([key, value]) => key || value.trim());
  }

  #limit() {
    this.#button.hidden = this.#rows.querySelectorAll(".label-row").length >= this.#max;
  }
}
