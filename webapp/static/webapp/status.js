/** How Connect is: what each of its doors says of itself, and how old its newest ping is. */
import { html } from "../vendor/htm/standalone.module.js";
import { API, get, hasNewer, newestPing, useAgain, useLoaded } from "./api.js";
import { ago, full } from "./format.js";
import { Loading, Wrong } from "./parts.js";

const EVERY_S = 10;
const PATIENCE_MS = 5000;
// The paths of people, of locations and of connections: different processes may answer them.
const DOORS = { people: "/health/ready", locations: "/health/ready/locations", connections: "/health/ready/connections" };

let newest; // remembered from turn to turn: whether there is a newer one is one question then

async function newestOfAll(signal) {
  if (newest === undefined || (await hasNewer(newest, signal))) newest = await newestPing({}, signal);
  return newest ?? null;
}

/** What a door needs, and whether each thing is there. A door without an answer is out of reach itself. */
async function needs(door, signal) {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
  try {
    const said = await get(DOORS[door], {}, patience);
    return said.needs ?? { [door]: "out of reach" };
  } catch (fault) {
    if (signal.aborted) throw fault;
    return { [door]: "out of reach" };
  }
}

async function whole(signal) {
  const begun = performance.now();
  const found = {};
  for (const each of await Promise.all(Object.keys(DOORS).map((door) => needs(door, signal)))) {
    for (const [name, said] of Object.entries(each)) if (found[name] === undefined || said !== "ok") found[name] = said;
  }
  const ready = Object.values(found).every((said) => said === "ok");
  return { needs: found, ready, took: performance.now() - begun, asked: Date.now() };
}

export function Status() {
  const state = useLoaded(whole, []);
  const ping = useLoaded(newestOfAll, []);
  useAgain([state, ping], EVERY_S);
  return html`<main class="status">
    <h1 tabindex="-1">Status</h1>
    ${state.fault ? html`<${Wrong} key=${state.fault} ...${state}/>` : null}
    ${state.value && !state.fault ? html`<p class=${`verdict ${state.value.ready ? "good" : "bad"}`} role="status">
      ${state.value.ready ? "Connect is ready." : "Connect is not ready."}</p>` : null}
    ${!state.value && !state.fault ? html`<${Loading}/>` : null}
    <dl>
      ${Object.entries(state.value?.needs ?? {}).map(([name, said]) => html`<div><dt>${name}</dt><dd>${said}</dd></div>`)}
      <div><dt>newest ping</dt><dd>${ping.fault ? `not known: ${ping.fault.message}` : ping.value ? html`${ago(ping.value)} <span class="soft">${full(ping.value)}</span>` : ping.value === null ? "none yet" : "…"}</dd></div>
      <div><dt>answer took</dt><dd>${state.value ? `${Math.round(state.value.took)} ms` : "…"}</dd></div>
      <div><dt>asked</dt><dd>${state.value ? html`${full(state.value.asked)} <span class="soft">again every ten seconds</span>` : "…"}</dd></div>
      <div><dt>API</dt><dd><a href=${`${API}/api/docs`}>${API}</a></dd></div>
    </dl>
  </main>`;
}
