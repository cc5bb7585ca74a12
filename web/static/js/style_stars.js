// The stars of styles: of the one that is chosen, and of those in the strip.
import { announce } from "./announcer.js";
import { Refused, link, send } from "./request.js";
import { sentence } from "./words.js";

export class StyleStars {
  #well;
  #strip;
  #uploads;
  #chosen;

  /**
   * @param {import("./picture_well.js").PictureWell} well The style's.
   * @param {import("./picture_strip.js").PictureStrip} strip
   * @param {import("./picture_uploads.js").PictureUploads} uploads
   */
  constructor(well, strip, uploads) {
    this.#well = well;
    this.#strip = strip;
    this.#uploads = uploads;
    this.#chosen = well.root.querySelector(".well-foot [data-star]");
    well.addEventListener("change", () => this.#follow());
    well.root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-star]");
      if (!button) return;
      event.preventDefault(); // without scripts it sends the form
      this.#change(button);
    });
    this.#follow();
  }

  #follow() {
    const { picture } = this.#well;
    this.#chosen.hidden = !picture;
    press(this.#chosen, Boolean(picture?.starred));
  }

  /** Set the star of a button, or take it off; a file is sent to the service first. */
  async #change(button) {
    if (button.getAttribute("aria-disabled")) return;
    button.setAttribute("aria-disabled", "true");
    const { picture } = this.#well;
    const wanted = button.getAttribute("aria-pressed") !== "true";
    try {
      const asset = button === this.#chosen ? await this.#ofChosen(picture, wanted) : await setStar(idOf(button), wanted);
      this.#note(asset, button === this.#chosen ? picture : null);
      announce(wanted ? `${asset.filename} is starred` : `${asset.filename} has no star any more`);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const { detail, suggestion } = error.problem;
      this.#well.fault([detail, suggestion].filter(Boolean).map(sentence).join(" "));
    } finally {
      button.removeAttribute("aria-disabled");
    }
  }

  async #ofChosen(picture, wanted) {
    const pictures = { [this.#well.part]: picture };
    const star = async () => setStar((await this.#uploads.ids(pictures))[this.#well.part], wanted);
    try {
      return await star();
    } catch (error) {
      // What nothing used for long was removed; the file is still here.
      if (!(error instanceof Refused && error.problem.code === "not_found" && this.#uploads.forget(pictures))) throw error;
      return star();
    }
  }

  /** Show everywhere that a picture has a star, or none; `picture` is what was chosen then, if that is what has it. */
  #note(asset, picture) {
    const starred = asset.starred_at !== null;
    if (picture?.file) picture.keptAs = asset.id;
    if (starred) this.#strip.offer(asset, picture?.unseen);
    const inStrip = this.#strip.starOf(asset.id);
    if (inStrip) {
      press(inStrip, starred, asset.id);
      inStrip.closest(".pick-kept").querySelector("input").toggleAttribute("data-starred", starred);
    }
    const now = this.#well.picture;
    for (const one of new Set([picture, now])) {
      if (one && (one.assetId ?? one.keptAs) === asset.id) one.starred = starred;
    }
    this.#well.fault("");
    this.#follow();
  }
}

function setStar(id, wanted) {
  return send(wanted ? "PUT" : "DELETE", link(`/api/v1/assets/${encodeURIComponent(id)}/star`));
}

function idOf(button) {
  return button.value.split(" ")[1];
}

/** Show a star, or none; the value is what the form would send without this script. */
function press(button, starred, id = idOf(button)) {
  button.setAttribute("aria-pressed", String(starred));
  button.value = `${starred ? "unstar" : "star"} ${id}`;
}
