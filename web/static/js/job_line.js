// What is to be said of a job in one line; `web/pages/job_text.py` says the same on the server.
import { span } from "./words.js";

/** How far a job is, why it waits, or what came of it; `job` is as the API shows it. */
export function jobLine(job) {
  const step = `step ${job.progress.step} of ${job.progress.steps}`;
  switch (job.status) {
    case "queued":
      return waiting(job.queue);
    case "running":
      if (job.status_reason === "pausing") return `pausing at ${step}`;
      return job.eta ? `${step}, ${span(job.eta.seconds)} left` : step;
    case "canceling":
      return `stopping at ${step}`;
    case "succeeded":
      return result(job);
    default:
      if (job.error && (job.status === "failed" || job.status === "expired")) return job.error.title;
      return `at ${step}`;
  }
}

function waiting(queue) {
  if (!queue) return "in the queue";
  if (queue.message) return queue.message;
  const ahead = (queue.position ?? 1) - 1;
  const place = ahead === 0 ? "next in line" : `${ahead} ${ahead === 1 ? "job" : "jobs"} ahead`;
  return queue.ahead_seconds ? `${place}, about ${span(queue.ahead_seconds)}` : place;
}

function result(job) {
  if (job.status_reason === "reused") return "an earlier result";
  const seconds = job.metrics.run_seconds;
  return seconds === null ? "done" : `done in ${span(seconds)}`;
}
