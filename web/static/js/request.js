// Requests to the API, and its refusals as errors.

/** A path of the service as a link: a proxy may serve it below a path of its own. */
export function link(path) {
  return document.documentElement.dataset.root + path;
}

/** What a request that changes something shows, where somebody is signed in: it comes from a page of the service. */
export function csrfHeaders() {
  const token = document.querySelector('meta[name="csrf-token"]')?.content;
  return token ? { "X-CSRF-Token": token } : {};
}

/** A refusal: `problem` is what the API answered (RFC 9457), or what stands in for it. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/**
 * Send a request; `json` is sent as JSON, `form` as multipart.
 * Returns the answer's JSON, or null where there is none; throws `Refused`.
 */
export async function send(method, url, request) {
  return (await ask(method, url, request)).data;
}

/** The same, with the answer's ETag: returns {data, etag}; without data where nothing is new (304). */
export async function ask(method, url, { json, form, headers = {}, signal } = {}) {
  const body = json === undefined ? form : JSON.stringify(json);
  const sent = json === undefined ? headers : { "Content-Type": "application/json", ...headers };
  let answer;
  try {
    answer = await fetch(url, { method, body, headers: { Accept: "application/json", ...csrfHeaders(), ...sent }, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ code: "unreachable", title: "The service does not answer", detail: "The service does not answer. Is it running? Nothing was changed as far as this page knows.", errors: [] });
  }
  const etag = answer.headers.get("ETag");
  if (answer.status === 304) return { data: null, etag };
  const text = await answer.text();
  let data = null;
  try {
    data = text ? JSON.parse(text) : null;
  } catch {
    data = { code: "unreadable", title: "The answer cannot be read", detail: `The service answered ${answer.status} with something unreadable.`, errors: [] };
  }
  if (!answer.ok) throw new Refused(data ?? { code: "unknown", title: "Refused", detail: `The service answered ${answer.status}.`, errors: [] });
  return { data, etag };
}

/** A key for `Idempotency-Key`; pages on plain HTTP of another machine have no randomUUID. */
export function newKey() {
  return crypto.randomUUID?.() ?? [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
