// The actions on a job: the forms of the page, sent to the API without leaving the page.
import { announce } from "./announcer.js";
import { Refused, link, newKey, send } from "./request.js";
import { said, sentence } from "./words.js";

export class JobActions {
  #url;
  #refusal;
  #onDone;
  #keys = new Map(); // what was sent → its idempotency key, until it is answered

  /** @param {() => void} onDone Is told when the job may be another than it was. */
  constructor(root, onDone) {
    this.#url = root.dataset.job;
    this.#refusal = root.querySelector("[data-refusal]");
    this.#onDone = onDone;
  }

  /** Send a form of the page. */
  async send(form) {
    if (form.getAttribute("aria-busy")) return;
    const { action } = form.dataset;
    this.#clear(form);
    form.setAttribute("aria-busy", "true");
    try {
      const answer = await this.#ask(form, (BODIES[action] ?? plainBody)(form));
      if (action === "delete") location.assign(form.dataset.then);
      else if (action === "fork") location.assign(link(`/jobs/${answer.id}`));
      else this.#done(form);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.#refuse(form, error.problem);
    } finally {
      form.removeAttribute("aria-busy");
    }
  }

  async #ask(form, json) {
    const { action } = form.dataset;
    if (action === "delete") return send("DELETE", this.#url);
    if (action === "change") return send("PATCH", this.#url, { json });
    const url = `${this.#url}/${action}`;
    if (!("once" in form.dataset)) return send("POST", url, { json });
    // The same asked again after a lost answer must not be done twice.
    const wish = action + JSON.stringify(json);
    const key = this.#keys.get(wish) ?? newKey();
    this.#keys.set(wish, key);
    const answer = await send("POST", url, { json, headers: { "Idempotency-Key": key } });
    this.#keys.delete(wish);
    return answer;
  }

  #done(form) {
    announce(form.dataset.done);
    const menu = form.closest("details.menu");
    if (menu) menu.open = false;
    this.#onDone();
  }

  /** Faults go to their fields, as far as these are there; the rest is said above. */
  #refuse(form, problem) {
    const elsewhere = [];
    let first = null;
    for (const { pointer, detail } of problem.errors ?? []) {
      const place = form.querySelector(`[data-fault="${CSS.escape(pointer)}"]`);
      if (!place) {
        elsewhere.push(said(detail));
        continue;
      }
      place.textContent = said(detail, pointer, place.dataset.called);
      place.hidden = false;
      const input = form.querySelector(`[aria-describedby~="${place.id}"]`);
      input?.setAttribute("aria-invalid", "true");
      first ??= input;
    }
    if (first) first.focus();
    if (first && !elsewhere.length) return;
    const title = Object.assign(document.createElement("b"), { textContent: problem.title });
    const lines = [[title, ` ${elsewhere.join(" ") || sentence(problem.detail)}`], ...(problem.suggestion ? [[problem.suggestion]] : [])];
    this.#refusal.replaceChildren(...lines.map((words) => {
      const line = document.createElement("p");
      line.append(...words);
      return line;
    }));
    this.#refusal.hidden = false;
    this.#refusal.scrollIntoView({ block: "nearest" });
    this.#onDone(); // most refusals are of a job that has gone on meanwhile
  }

  #clear(form) {
    this.#refusal.hidden = true;
    for (const place of form.querySelectorAll("[data-fault]")) place.hidden = true;
    for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  }
}

/** The fields of a form that are of the job, by their names, numbers as numbers; nothing when it has none. */
function plainBody(form) {
  const inputs = [...form.elements].filter((input) => input.name && input.name !== "csrf_token");
  if (inputs.length === 0) return undefined;
  return Object.fromEntries(inputs.map((input) => [input.name, input.type === "number" ? number(input) : input.value]));
}

/** What is another than the form came with: others may have changed the rest meanwhile. */
function changeBody(form) {
  const { priority, name, labels } = form.elements;
  const body = {};
  if (!priority.selectedOptions[0]?.defaultSelected) body.priority = number(priority);
  if (name.value !== name.defaultValue) body.name = name.value;
  if (labels.value !== labels.defaultValue) body.labels = labelsOf(labels.value);
  return body;
}

/** Labels from lines such as "key:value". */
function labelsOf(text) {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const end = line.indexOf(":") < 0 ? line.length : line.indexOf(":");
    return [line.slice(0, end).trim(), line.slice(end + 1).trim()];
  }));
}

/** What differs from the parent; the rest is not said. */
function forkBody(form) {
  const options = {};
  for (const field of form.querySelectorAll("[data-option]")) {
    const input = field.querySelector("input, select");
    const { option, kind, parent } = field.dataset;
    const value = kind === "integer" || kind === "number" ? number(input) : input.value;
    const isSame = typeof value === "number" ? value === Number(parent) : value === parent;
    if (value !== "" && !isSame) options[option] = value;
  }
  const name = form.elements.name.value.trim();
  return { step: number(form.elements.step), options, ...(name && { name }) };
}

/** A number, or the text that is none: the service says what is wrong with it. */
function number(input) {
  const text = input.value.trim();
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

/** The actions whose form is more than its fields. */
const BODIES = { fork: forkBody, change: changeBody };
