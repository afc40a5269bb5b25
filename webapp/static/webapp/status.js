/** The status page: what each API process reports as ready, and the age of the newest ping. */
import { html } from "../vendor/htm/standalone.module.js";
import { API, get, isoTime, useLoaded, usePolling } from "./api.js";
import { ErrorNote, Loading } from "./components.js";
import { ago, full, timeZone } from "./format.js";
import { loadEvent } from "./venue.js";

const POLL_S = 10;
const TIMEOUT_MS = 5000;
const FUTURE_MS = 3_600_000; // a later ping is of a phone with a wrong clock
// Different processes may serve these, so each has a health check of its own.
const HEALTH_CHECKS = {
  persons: "/health/ready",
  locations: "/health/ready/locations",
  connections: "/health/ready/connections",
  encounters: "/health/ready/encounters",
  live: "/health/ready/live",
};
const NEW = ["encounters", "live"]; // processes that a system may lack

/** The time of the newest ping, null if there is none. */
async function newestPing(signal) {
  await loadEvent(); // it sets the time zone
  const [ping] = await get("/api/locations", { order: "newest", limit: 1, end: isoTime(Date.now() + FUTURE_MS) }, signal);
  return ping ? Date.parse(ping.creation_time) : null;
}

/** The state of a process and of each of its needs, by name; nothing of a process that the system does not have. */
async function needsOf(process, signal) {
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  try {
    const health = await get(HEALTH_CHECKS[process], {}, timeout);
    return { [process]: health.needs ? "ok" : "out of reach", ...health.needs };
  } catch (error) {
    if (signal.aborted) throw error;
    if (error.status === 404 && NEW.includes(process)) return {};
    return { [process]: "out of reach" };
  }
}

async function checkHealth(signal) {
  const started = performance.now();
  const merged = {};
  for (const needs of await Promise.all(Object.keys(HEALTH_CHECKS).map((process) => needsOf(process, signal)))) {
    for (const [name, state] of Object.entries(needs)) if (merged[name] === undefined || state !== "ok") merged[name] = state;
  }
  const ready = Object.values(merged).every((state) => state === "ok");
  return { needs: merged, ready, durationMs: performance.now() - started, checkedAt: Date.now() };
}

export function Status() {
  const health = useLoaded(checkHealth, []);
  const ping = useLoaded(newestPing, []);
  usePolling([health, ping], POLL_S);
  return html`<main class="status">
    <h1 tabindex="-1">Status</h1>
    ${health.error ? html`<${ErrorNote} key=${health.error} ...${health}/>` : null}
    ${health.value && !health.error ? html`<p class=${`verdict ${health.value.ready ? "good" : "bad"}`} role="status">
      ${health.value.ready ? "Connect is ready." : "Connect is not ready."}</p>` : null}
    ${!health.value && !health.error ? html`<${Loading}/>` : null}
    <dl>
      ${Object.entries(health.value?.needs ?? {}).map(([name, state]) => html`<div><dt>${name}</dt><dd>${state}</dd></div>`)}
      <div><dt>newest ping</dt><dd>${ping.error ? `unknown: ${ping.error.message}` : ping.value ? html`${ago(ping.value)} <span class="soft">${full(ping.value)}</span>` : ping.value === null ? "none yet" : "…"}</dd></div>
      <div><dt>response time</dt><dd>${health.value ? `${Math.round(health.value.durationMs)} ms` : "…"}</dd></div>
      <div><dt>checked</dt><dd>${health.value ? html`${full(health.value.checkedAt)} <span class="soft">every ${POLL_S} seconds</span>` : "…"}</dd></div>
      <div><dt>time zone</dt><dd>${ping.loading && !ping.value ? "…" : timeZone().replaceAll("_", " ")}</dd></div>
      <div><dt>API</dt><dd><a href=${`${API}/api/docs`}>${API}</a></dd></div>
    </dl>
  </main>`;
}
