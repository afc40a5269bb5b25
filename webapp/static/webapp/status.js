/** How Connect is: what it says of itself, and how old its newest ping is. */
import { html } from "../vendor/htm/standalone.module.js";
import { API, get, hasNewer, newestPing, useAgain, useLoaded } from "./api.js";
import { ago, full } from "./format.js";
import { Loading, Wrong } from "./parts.js";

const EVERY_S = 10;

let newest; // remembered from turn to turn: whether there is a newer one is one question then

async function newestOfAll(signal) {
  if (newest === undefined || (await hasNewer(newest, signal))) newest = await newestPing({}, signal);
  return newest ?? null;
}

export function Status() {
  const ready = useLoaded(async (signal) => {
    const begun = performance.now();
    return { ...(await get("/health/ready", {}, signal)), took: performance.now() - begun, asked: Date.now() };
  }, []);
  const ping = useLoaded(newestOfAll, []);
  useAgain([ready, ping], EVERY_S);
  return html`<main class="status">
    <h1 tabindex="-1">Status</h1>
    ${ready.fault ? html`<${Wrong} key=${ready.fault} ...${ready}/>` : null}
    ${ready.value && !ready.fault ? html`<p class=${`verdict ${ready.value.status === "ready" ? "good" : "bad"}`} role="status">
      ${ready.value.status === "ready" ? "Connect is ready." : "Connect is not ready."}</p>` : null}
    ${!ready.value && !ready.fault ? html`<${Loading}/>` : null}
    <dl>
      ${Object.entries(ready.value?.needs ?? {}).map(([name, said]) => html`<div><dt>${name}</dt><dd>${said}</dd></div>`)}
      <div><dt>newest ping</dt><dd>${ping.fault ? `not known: ${ping.fault.message}` : ping.value ? html`${ago(ping.value)} <span class="soft">${full(ping.value)}</span>` : ping.value === null ? "none yet" : "…"}</dd></div>
      <div><dt>answer took</dt><dd>${ready.value ? `${Math.round(ready.value.took)} ms` : "…"}</dd></div>
      <div><dt>asked</dt><dd>${ready.value ? html`${full(ready.value.asked)} <span class="soft">again every ten seconds</span>` : "…"}</dd></div>
      <div><dt>API</dt><dd><a href=${`${API}/api/docs`}>${API}</a></dd></div>
    </dl>
  </main>`;
}
