// The page 'New job': its parts, and what goes on between them.
import { announce } from "./announcer.js";
import { Estimate } from "./estimate.js";
import { DraftPart } from "./draft_part.js";
import { FaultPlaces } from "./fault_places.js";
import { JobSender } from "./job_sender.js";
import { LabelRows } from "./label_rows.js";
import { OptionInputs } from "./option_inputs.js";
import { listenForPictures } from "./picture_drop.js";
import { PictureStrip } from "./picture_strip.js";
import { PictureUploads } from "./picture_uploads.js";
import { PictureWell } from "./picture_well.js";
import { Refused, link } from "./request.js";
import { StyleStars } from "./style_stars.js";
import { sentence } from "./words.js";

const form = document.querySelector("form.new-job");
const limits = { maxBytes: Number(form.dataset.maxBytes), types: form.dataset.accept.split(","), kinds: form.dataset.kinds };
const wells = [...form.querySelectorAll(".well")].map((root) => new PictureWell(root, limits));
const options = new OptionInputs(form);
const labels = new LabelRows(form.querySelector("[data-labels]"), form.querySelector("[data-label-row]"), form.querySelector("[data-add-label]"));
const faults = new FaultPlaces(form);
const button = form.querySelector("[data-submit]");
const sending = form.querySelector("[data-sending]");
const estimateRoot = form.querySelector("[data-estimate]");
const uploads = new PictureUploads(showProgress);
const sender = new JobSender(uploads, showProgress);
const ESTIMATED = ["preset", "steps", "size", "init"];
const estimate = new Estimate(estimateRoot, question, (found) => faults.note(found, ESTIMATED.map((name) => `/options/${name}`)));

const strips = wells.map((well) => new PictureStrip(well));
const styleAt = wells.findIndex(({ part }) => part === "style");
new StyleStars(wells[styleAt], strips[styleAt], uploads);
const draft = new DraftPart(form.querySelector("[data-draft]"), wells, options, uploads);

swapButton();
exampleButton();
startFromDraft();
listenForPictures(wells, form, (parts) => announce(parts.length ? sentence(`${parts.join(" and ")}: picture taken`) : ""));
for (const well of wells) {
  well.addEventListener("change", () => {
    sender.renew();
    estimate.ask();
  });
}
options.addEventListener("change", () => {
  sender.renew();
  estimate.ask();
});
form.addEventListener("input", (event) => {
  sender.renew();
  const pointer = event.target.getAttribute("aria-describedby") && form.querySelector(`#${CSS.escape(event.target.id)}-fault`)?.dataset.fault;
  if (pointer) faults.clear(pointer);
});
for (const name of ["options.init", "priority"]) form.elements[name].addEventListener("change", () => estimate.ask());
form.addEventListener("submit", (event) => {
  event.preventDefault();
  submit();
});
// Whoever comes back with the browser's button finds the form ready to be sent again; a browser may have
// chosen another preset by then than the one the page came with.
addEventListener("pageshow", () => {
  setBusy(false);
  options.follow();
});

function question() {
  const given = jobOptions();
  const asked = Object.fromEntries(ESTIMATED.filter((name) => name in given).map((name) => [name, given[name]]));
  for (const { part, picture } of wells) {
    if (!picture?.width) continue;
    asked[`${part}_width`] = picture.width;
    asked[`${part}_height`] = picture.height;
  }
  if (form.elements.priority.value) asked.priority = form.elements.priority.value;
  return new URLSearchParams(asked);
}

function fields() {
  const values = { options: jobOptions(), labels: labels.values(), reuse: form.elements.reuse.checked };
  if (form.elements.name.value) values.name = form.elements.name.value;
  for (const name of ["priority", "queue_timeout_seconds", "run_timeout_seconds"]) {
    if (form.elements[name].value) values[name] = Number(form.elements[name].value);
  }
  return values;
}

/** What stands beside the draft is meant for the job only where that starts from the draft. */
function jobOptions() {
  const { style_strength, detail, ...values } = options.values();
  if (!form.elements["options.init"].checked) return values;
  const given = Object.entries({ style_strength, detail }).filter(([, value]) => value !== undefined);
  return { ...values, init: "fast", ...Object.fromEntries(given) };
}

function cheapFaults() {
  const missing = wells.filter((well) => !well.picture).map(({ part }) => ({ pointer: `/${part}`, detail: `Choose a ${part} picture` }));
  return [...missing, ...options.faults(), ...labels.faults()];
}

async function submit() {
  if (button.disabled) return;
  faults.clear();
  const found = cheapFaults();
  if (found.length) {
    faults.show(found);
    return;
  }
  setBusy(true);
  try {
    const job = await sender.send(Object.fromEntries(wells.map((well) => [well.part, well.picture])), fields());
    draft.leave();
    // Whoever comes back finds what was sent, ready to be changed.
    history.replaceState(null, "", link(`/new?from=${encodeURIComponent(job.id)}`));
    location.assign(link(`/jobs/${encodeURIComponent(job.id)}`));
  } catch (error) {
    setBusy(false);
    if (!(error instanceof Refused)) throw error;
    const { errors, detail, suggestion } = error.problem;
    faults.show(errors?.length ? errors : [{ pointer: "", detail: [detail, suggestion].filter(Boolean).map(sentence).join(" ") }]);
  }
}

function setBusy(busy) {
  button.disabled = busy;
  sending.hidden = !busy;
  estimateRoot.hidden = busy;
  if (!busy) return;
  showProgress(0, "Sending the pictures");
  announce("Sending the pictures");
}

function showProgress(share, words) {
  const bar = sending.querySelector("progress");
  if (share !== null) bar.value = share;
  sending.querySelector("[data-sending-words]").textContent = words;
}

/** Take the project's own pictures, as a click or the address (?examples) asks for. */
function exampleButton() {
  const ask = form.querySelector("[data-example-pair]");
  if (!ask) return;
  ask.hidden = false;
  const take = async () => {
    await Promise.all(strips.map((strip) => strip.take()));
    announce("Content and style: picture taken.");
  };
  ask.addEventListener("click", take);
  if (new URLSearchParams(location.search).has("examples") && wells.every((well) => !well.picture)) take();
}

/** The job goes on from the draft that is seen, unless the visitor chose, or an earlier job did. */
function startFromDraft() {
  const box = form.elements["options.init"];
  const words = form.querySelector("[data-start-words]");
  let isChosen = box.checked || new URLSearchParams(location.search).has("from");
  box.addEventListener("change", () => {
    isChosen = true;
    words.textContent = "";
  });
  draft.addEventListener("shown", ({ detail: isShown }) => {
    if (isChosen || box.checked === isShown) return;
    box.checked = isShown;
    words.textContent = isShown ? "The job goes on from the draft that is shown, with its strength and detail." : "";
    sender.renew();
    estimate.ask();
  });
}

function swapButton() {
  const swap = form.querySelector("[data-swap]");
  swap.addEventListener("click", () => {
    const [content, style] = wells;
    [content.picture, style.picture] = [style.picture, content.picture];
    announce("Content and style are swapped");
  });
}
