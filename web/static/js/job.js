// The page of one job: what is live on it, wired together.
import { closeMenus } from "./menus.js";
import { lossWords } from "./curve.js";
import { JobDraft } from "./job_draft.js";
import { LiveJob, isFinal } from "./live.js";
import { LossPlot } from "./plot.js";
import { Notifier } from "./notifier.js";
import { PageParts } from "./page_parts.js";
import { ProgressLine } from "./progress.js";
import { Reel } from "./reel.js";
import { send } from "./request.js";
import { Stage } from "./stage.js";
import { fileSize } from "./words.js";
import { localize } from "./times.js";

const QUEUE_MS = 5000; // a place in the queue changes without an event of this job
const CHECKPOINTS_MS = 1000;
const CONNECTIONS = {
  live: "live", polling: "polling", reconnecting: "reconnecting", resting: "", gone: "this job was deleted",
};

const root = document.querySelector("[data-job]");
const find = (name) => root.querySelector(`[data-${name}]`);
const live = new LiveJob(root.dataset.job);
const parts = new PageParts(() => root.dataset.page + location.search, () => draft.look());
const progress = new ProgressLine(find("progress"), root.dataset);
const plot = new LossPlot(find("plot"));
const asked = new URLSearchParams(location.search);
const reel = new Reel(find("reel"), {
  step: asked.has("step") ? Number(asked.get("step")) : null,
  steps: Number(find("plot").dataset.steps),
  latest: newest(root.dataset),
});
const section = document.getElementById("stage");
const stage = new Stage(section, () => {
  remember();
  if (stage.view === "draft") draft.choose();
});
const draft = new JobDraft(section, stage, isFinal(root.dataset));
const notifier = new Notifier(find("notify"), { id: root.dataset.job.split("/").at(-1), name: root.dataset.name });
let job = null;
let preview = null; // the newest one that this page was told of
let checkpointsAt = null;
let actions = null;
// Of a job that has ended the curves are many bytes, which are read when somebody wants to look closer.
let wantsCheckpoints = asked.has("step");

localize(root);
closeMenus(root);
root.addEventListener("submit", sendForm);

live.addEventListener("job", ({ detail }) => {
  const before = job;
  job = detail;
  const wasFinal = before ? isFinal(before) : true;
  // What an attempt did after its last checkpoint is undone when it ends before the job does.
  const isAnother = before && before.attempt.number !== job.attempt.number;
  if (isAnother || (job.status !== "running" && job.status !== "canceling")) plot.rewind(job.progress.step);
  if (preview && preview.attempt !== job.attempt.number) preview = null;
  progress.take(job);
  draft.take(isFinal(job));
  notifier.offer(isFinal(job));
  if (isFinal(job) && !wasFinal) notifier.tell(job, job.urls.thumbnail);
  document.getElementById("fork").hidden = !job.urls.fork;
  if (!isFinal(job)) wantsCheckpoints = true;
  if (!before || before.version !== job.version) readCheckpoints();
  // What is kept has no event of its own: only its kind is another.
  if (before?.kind !== undefined && before.kind !== job.kind) parts.refresh();
  else if (before ? before.version !== job.version : String(job.version) !== root.dataset.version) parts.refresh();
  else if (job.status === "queued") parts.refresh();
  show();
});
live.addEventListener("progress", ({ detail }) => {
  if (job?.status !== "running" && job?.status !== "canceling") return;
  if (detail.attempt !== job.attempt.number) return;
  progress.step(detail, detail.eta);
  plot.add(detail.step, detail.loss);
});
live.addEventListener("preview", ({ detail }) => {
  preview = { kind: "preview", url: detail.url, step: detail.step, attempt: job?.attempt.number };
  show();
});
for (const kind of ["checkpoint", "attempt", "output"]) {
  live.addEventListener(kind, () => {
    readCheckpoints();
    parts.refresh();
  });
}
live.addEventListener("connection", ({ detail }) => {
  const place = find("connection");
  // What was missed while nothing was heard may be more than the job itself tells.
  if (detail === "live" && place.dataset.state) parts.refresh();
  place.dataset.state = detail;
  place.textContent = CONNECTIONS[detail];
  place.hidden = !CONNECTIONS[detail];
});
draft.addEventListener("made", () => {
  parts.refresh(); // with words below the picture
  show();
});
reel.addEventListener("select", () => {
  plot.mark(reel.selected?.step ?? null);
  if (reel.selected) chooseFork(reel.selected);
  remember();
  show();
});
plot.addEventListener("pick", ({ detail }) => {
  reel.stop();
  reel.selectNear(detail);
});
find("to-latest").addEventListener("click", (event) => {
  event.preventDefault();
  reel.stop();
  reel.select(null);
});
root.addEventListener("click", (event) => {
  // A closed form cannot be gone to.
  if (event.target.closest('a[href$="#fork-form"]')) document.getElementById("fork").open = true;
});
find("fork-here").addEventListener("click", (event) => {
  event.preventDefault();
  const fork = document.getElementById("fork");
  fork.open = true;
  chooseFork(reel.selected);
  fork.scrollIntoView({ block: "start" });
  fork.querySelector("select").focus({ preventScroll: true });
});
for (const kind of ["pointerover", "focusin"]) {
  root.addEventListener(kind, (event) => {
    if (wantsCheckpoints || !event.target.closest("[data-reel], [data-plot]")) return;
    wantsCheckpoints = true;
    readCheckpoints();
  });
}
if (find("copy") && navigator.clipboard) {
  find("copy").hidden = false;
  find("copy").addEventListener("click", async ({ target }) => {
    await navigator.clipboard.writeText(document.getElementById("share-url").value);
    target.textContent = "Copied";
  });
}
setInterval(() => job?.status === "queued" && !document.hidden && live.refresh(), QUEUE_MS);
live.start();

/** Read the checkpoints, at most once a second. */
function readCheckpoints() {
  if (!wantsCheckpoints || !job) return;
  checkpointsAt ??= setTimeout(async () => {
    try {
      const { checkpoints } = await send("GET", job.urls.checkpoints);
      plot.set(checkpoints, job.progress.steps);
      reel.set(checkpoints, job.progress.steps, newest(job));
      if (job.progress.loss && !isFinal(job)) plot.add(job.progress.step, job.progress.loss);
      show();
    } catch {
      // The service is away; the next event asks again.
    }
    checkpointsAt = null;
  }, reel.checkpoints.length ? CHECKPOINTS_MS : 0);
}

/** What the stop behind the last checkpoint is called. */
function newest({ status }) {
  return status === "succeeded" ? "result" : "newest";
}

/** What shows how far the job is; `web/pages/job_stage.py` decides the same on the server. Null leaves what is there. */
function latest() {
  const isLive = job.status === "running" || job.status === "canceling";
  if (isLive && preview) return preview;
  if (job.urls.output) {
    const { sha256, width, height, size_bytes: size } = job.outputs[0];
    return { kind: "result", url: `${job.urls.output}?v=${sha256.slice(0, 16)}`, step: null, words: `Result of ${width} × ${height} px, ${fileSize(size)}` };
  }
  const last = reel.checkpoints.at(-1);
  if (last && !isLive) return checkpointPicture(last);
  return draft.url && stage.kind === "content" ? { kind: "draft", url: draft.url, step: null } : null;
}

function checkpointPicture({ step, url, losses }) {
  const words = `Checkpoint of step ${step} · total ${lossWords(losses.total)} · content ${lossWords(losses.content)} · style ${lossWords(losses.style)}`;
  return { kind: "checkpoint", url, step, words };
}

/** Bring the chosen checkpoint or the newest picture on the stage. */
async function show() {
  if (!job) return;
  const picture = reel.selected ? checkpointPicture(reel.selected) : latest();
  find("to-latest").hidden = !reel.selected;
  if (!picture || picture.url === stage.url) return reel.arrived();
  const isShown = await stage.show(picture);
  if (isShown) {
    // Of a draft the server says it, as of the content, which was there before.
    if (picture.kind !== "draft") find("caption").textContent = picture.words ?? `Preview at step ${picture.step}`;
    find("open").href = picture.url;
    find("open").hidden = false;
    find("fork-here").hidden = picture.kind !== "checkpoint" || !reel.selected?.has_state || !job.urls.fork;
  }
  reel.arrived();
}

/** Send a form of the page without leaving it; what does that is fetched when the first one is sent. */
async function sendForm(event) {
  const form = event.target.closest("form[data-action]");
  if (!form) return;
  event.preventDefault();
  try {
    const { JobActions } = await import("./job_actions.js");
    actions ??= new JobActions(root, () => live.refresh());
  } catch {
    form.submit(); // as without scripts
    return;
  }
  actions.send(form);
}

/** Let the fork begin at a checkpoint, if its state is kept. */
function chooseFork({ step, has_state: hasState }) {
  const select = document.getElementById("fork-step");
  if (!select || !hasState) return;
  if (![...select.options].some(({ value }) => value === String(step))) select.add(new Option(step, step));
  select.value = step;
}

/** Keep what is shown in the address, for a reload or to send it to somebody. */
function remember() {
  const query = new URLSearchParams();
  if (reel.selected) query.set("step", reel.selected.step);
  if (stage.view !== "result") query.set("view", stage.view);
  if (stage.view === "compare" && stage.left === "draft") query.set("left", "draft");
  const text = query.toString();
  history.replaceState(null, "", `${root.dataset.page}${text ? `?${text}` : ""}${location.hash}`);
}
