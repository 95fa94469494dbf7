// The public JSON API, as /openapi.json describes it; the page has no private way in. A report
// that was saved to disk carries the answers inside, and asks nobody.

/** @type {{run: any, series: any}|null} */
const stored = JSON.parse(document.getElementById("stored-run")?.textContent ?? "null");

/** The run of a saved report; null on a relay's page. @type {string|null} */
export const storedRun = stored?.run.run_id ?? null;

/** An answer that is an error, or no answer. */
export class ApiError extends Error {
  /** @param {string} message @param {number} status 0: nobody answered */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * GET of JSON.
 * @param {string} path
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function get(path, signal) {
  let response;
  try {
    response = await fetch(path, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The relay does not answer.", 0);
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body !== null) return body;
  const said = body?.message ?? `status ${response.status}`;
  throw new ApiError(`${said}${body?.request_id ? ` (request ${body.request_id})` : ""}`, response.status);
}

const at = (runId) => `/api/v1/runs/${encodeURIComponent(runId)}`;

/** @param {URLSearchParams} query @param {AbortSignal} [signal] */
export const listRuns = (query, signal) => get(`/api/v1/runs?${query}`, signal);

/** @param {string} runId @param {AbortSignal} [signal] */
export const getRun = async (runId, signal) => stored?.run ?? get(at(runId), signal);

/**
 * @param {string} runId
 * @param {{metric: string, tags?: object, from?: number, to?: number, step?: number}} asked
 * @param {AbortSignal} [signal]
 */
export async function getSeries(runId, asked, signal) {
  if (stored) {
    const wanted = asked.metric.split(",");
    return { ...stored.series, metrics: stored.series.metrics.filter((one) => wanted.includes(one.metric)) };
  }
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    if (value !== undefined)
      query.set(name, typeof value === "object" ? JSON.stringify(value) : String(value));
  }
  return get(`${at(runId)}/series?${query}`, signal);
}

/** Server-sent events of a run. @param {string} runId */
export const runEvents = (runId) => new EventSource(`${at(runId)}/events`);
