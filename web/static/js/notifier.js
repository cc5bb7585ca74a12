// A word from the system when the job has ended; only if somebody asked for it.

export class Notifier {
  #button;
  #key;
  #name;

  constructor(button, { id, name }) {
    this.#button = button;
    this.#key = `atelier-notify-${id}`;
    this.#name = name;
    button.addEventListener("click", () => this.#toggle());
  }

  /** Show the button as long as there is an end to wait for. */
  offer(isFinal) {
    // Not there on plain HTTP from another machine.
    this.#button.hidden = isFinal || !("Notification" in window) || !window.isSecureContext || Notification.permission === "denied";
    this.#dress();
  }

  /** The job has ended: tell, once. */
  tell(job, icon) {
    if (!this.#isOn) return;
    this.#isOn = false;
    try {
      const notification = new Notification(`${this.#name}: ${job.status}`, { body: job.error?.title ?? "", icon, tag: job.id });
      notification.addEventListener("click", () => window.focus());
    } catch {
      // Phones have the name, but only service workers may use it.
    }
  }

  async #toggle() {
    if (!this.#isOn && Notification.permission !== "granted") {
      if ((await Notification.requestPermission()) !== "granted") {
        this.offer(false);
        return;
      }
    }
    this.#isOn = !this.#isOn;
    this.#dress();
  }

  #dress() {
    this.#button.setAttribute("aria-pressed", String(this.#isOn));
  }

  get #isOn() {
    try {
      return sessionStorage.getItem(this.#key) === "yes" && Notification.permission === "granted";
    } catch {
      return false;
    }
  }

  set #isOn(isOn) {
    try {
      if (isOn) sessionStorage.setItem(this.#key, "yes");
      else sessionStorage.removeItem(this.#key);
    } catch {
      // Storage is forbidden here: nobody is told.
    }
  }
}
