// The options: a preset fills in those that nobody has touched; sliders go along with numbers.

const STEPS = 200;

/** Turns a slider's place into a number and back; in ratios where the range is wide. */
export class Scale {
  constructor({ low, high, inRatios, fromZero }) {
    this.low = low;
    this.high = high;
    this.inRatios = inRatios;
    this.first = fromZero ? 1 : 0;
  }

  /** @returns {number} The number at a place of 0 to 200, rounded to what is easily read: 100, 105, 110. */
  numberAt(place) {
    if (place < this.first) return 0;
    const share = (place - this.first) / (STEPS - this.first);
    const number = this.inRatios ? this.low * (this.high / this.low) ** share : this.low + (this.high - this.low) * share;
    if (place === STEPS || number === 0) return number;
    const unit = 5 * 10 ** (Math.floor(Math.log10(number)) - 2);
    return Number((Math.round(number / unit) * unit).toPrecision(3));
  }

  /** @returns {number} The place nearest to a number. */
  placeOf(number) {
    if (!(number > 0) && this.first) return 0;
    const within = Math.min(this.high, Math.max(this.low, number));
    const share = this.inRatios ? Math.log(within / this.low) / Math.log(this.high / this.low) : (within - this.low) / (this.high - this.low);
    return Math.round(this.first + share * (STEPS - this.first));
  }
}

/** All options of the form. Tells "change" when one has another value. */
export class OptionInputs extends EventTarget {
  #form;
  #fields = new Map();
  #preset = {};

  constructor(form) {
    super();
    this.#form = form;
    for (const root of form.querySelectorAll("[data-option]")) this.#adopt(root);
    for (const radio of form.querySelectorAll('input[name="preset"]')) {
      radio.addEventListener("change", () => this.follow());
    }
    this.follow();
  }

  /** Fill in what the chosen preset says, where nobody has said something else. */
  follow() {
    const chosen = this.#form.querySelector('input[name="preset"]:checked');
    this.#preset = JSON.parse(chosen?.dataset.values ?? "{}");
    for (const field of this.#fields.values()) {
      if (field.touched) this.#dress(field);
      else this.#fill(field);
    }
    this.#changed();
  }

  /** The options as the API takes them; what is empty is for the preset to say. */
  values() {
    const values = { preset: this.#form.elements.preset.value };
    for (const [name, { root, input }] of this.#fields) {
      if (input.value === "") continue;
      const { kind } = root.dataset;
      if (kind === "integer" || kind === "number") values[name] = Number(input.value);
      else if (input.value === "true" || input.value === "false") values[name] = input.value === "true";
      else values[name] = input.value;
    }
    return values;
  }

  /** Faults of what a browser does not even hand out: numbers that are none. */
  faults() {
    const bad = [...this.#fields].filter(([, { input }]) => input.validity.badInput);
    return bad.map(([name]) => ({ pointer: `/options/${name}`, detail: `${name} is not a number` }));
  }

  /** Some of the options, which are numbers; what is empty is as the preset has it. */
  pick(names) {
    const given = this.values();
    for (const name of names) given[name] ??= Number(this.#usual(this.#fields.get(name)));
    return Object.fromEntries(names.map((name) => [name, given[name]]));
  }

  /** Whether some of them are as their fields allow; the service judges them in any case. */
  areValid(names) {
    return names.every((name) => this.#fields.get(name)?.input.validity.valid ?? true);
  }

  #adopt(root) {
    const input = root.querySelector("select, input:not([type=range])");
    const slider = root.querySelector("input[type=range]");
    const field = { root, input, slider, touched: input.value !== "", usual: input.placeholder ?? "" };
    this.#fields.set(root.dataset.option, field);
    input.addEventListener("input", () => this.#touch(field));
    root.querySelector("[data-reset]").addEventListener("click", () => {
      field.touched = false;
      this.#fill(field);
      input.focus();
      this.#changed();
    });
    if (!slider) return;
    const { low, high, ratios, zero } = slider.dataset;
    field.scale = new Scale({ low: Number(low), high: Number(high), inRatios: ratios === "1", fromZero: zero === "1" });
    slider.hidden = false;
    slider.addEventListener("input", () => {
      const preset = this.#usual(field);
      // The preset's own number is met exactly, however it is rounded elsewhere.
      const isPreset = field.scale.placeOf(Number(preset)) === slider.valueAsNumber;
      const number = field.scale.numberAt(slider.valueAsNumber);
      input.value = isPreset ? preset : root.dataset.kind === "integer" ? Math.round(number) : number;
      this.#touch(field);
    });
  }

  #touch(field) {
    field.touched = field.input.value !== "" && field.input.value !== this.#usual(field);
    this.#dress(field);
    this.#changed();
  }

  /** What the preset says; of what none of them is about, its default. */
  #usual({ root, usual }) {
    return this.#preset[root.dataset.option] ?? usual;
  }

  #fill(field) {
    field.input.value = this.#usual(field);
    this.#dress(field);
  }

  #dress(field) {
    const { root, input, slider, scale, touched } = field;
    if (input.placeholder !== undefined) input.placeholder = this.#usual(field);
    root.querySelector("[data-reset]").hidden = !touched;
    if (!slider) return;
    slider.value = scale.placeOf(Number(input.value === "" ? input.placeholder : input.value));
    slider.setAttribute("aria-valuetext", `${input.value} ${root.dataset.unit}`.trim());
  }

  #changed() {
    const touched = [...this.#fields.values()].filter(({ root, touched }) => touched && root.closest("#options"));
    const said = touched.map(({ root, input }) => `${root.dataset.title.toLowerCase()} ${input.value}`).join(", ");
    this.#form.querySelector("[data-said]").textContent = said || "as the preset has them";
    this.dispatchEvent(new Event("change"));
  }
}
