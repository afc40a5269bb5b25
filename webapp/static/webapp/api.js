/** The public REST API, which is all that the app knows of the world. */
import { useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { refuse, showing, shown } from "./shown.js";

export const API = document.documentElement.dataset.api;
const END_OF_TIME = Date.parse("2100-01-01T00:00:00Z"); // no ping is later
const SECOND = 1000;
const BACK = [10, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400, 126 * 365 * 86_400];

export class Fault extends Error {
  /** `retryAfter` in seconds, where the API says so. */
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const instant = (ms) => new Date(ms).toISOString();

function url(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== undefined && each !== "") parameters.append(name, each);
  }
  return `${API}${path}?${parameters}`;
}

async function ask(address, signal, { headers, what = shown(), ...how } = {}) {
  const { headers: shows, ...credentials } = showing(what);
  let response;
  try {
    response = await fetch(address, { signal, ...credentials, ...how, headers: { Accept: "application/json", ...headers, ...shows } });
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Fault(`The API at ${API} cannot be reached from here. Is it running, and does it let in pages of ${location.origin}?`);
  }
  if (response.ok || (response.status === 503 && address.includes("/health/"))) return response;
  if (response.status === 401) refuse(what);
  const after = Number(response.headers.get("Retry-After")) || undefined;
  throw new Fault(wrong(await response.json().catch(() => null)) || `It answered ${response.status}.`, response.status, after);
}

/** DRF's shapes of an error in one sentence each. */
function wrong(body) {
  if (!body || typeof body !== "object") return "";
  return Object.entries(body)
    .map(([field, said]) => (field === "detail" ? said : `${field}: ${[said].flat().join(" ")}`))
    .join(" ");
}

async function json(response, signal) {
  try {
    return await response.json();
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Fault("The answer broke off before its end.");
  }
}

/** The JSON of an answer, whole. */
export async function get(path, query = {}, signal = undefined) {
  return json(await ask(url(path, query), signal), signal);
}

/** The same, as somebody else than who is signed in. */
export async function getAs(what, path) {
  return json(await ask(url(path, {}), undefined, { what }));
}

const send = (method) => async (path, body, how = {}) => {
  const headers = { "Content-Type": "application/json" };
  return json(await ask(API + path, undefined, { method, headers, body: JSON.stringify(body), ...how }));
};

export const put = send("PUT");
const post = send("POST");

/** The token that a sign-in code gives, once. */
export const exchange = async (code) => (await post("/api/caller/exchange", { code }, { what: null })).token;

/** An answer to keep, as it is. */
export async function file(path) {
  return (await ask(API + path, undefined, { headers: { Accept: "*/*" } })).blob();
}

/** One page, and `next`: the path of the following one, if there is one. `path` may be such a path. */
export async function page(path, query = {}, signal = undefined) {
  const response = await ask(path.includes("?") ? API + path : url(path, query), signal);
  const next = /<([^>]+)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
  return { rows: await json(response, signal), next };
}

/** All pages in turn, of up to 10,000 rows each. */
export async function* pages(path, query, signal) {
  let next = path;
  while (next) {
    const found = await page(next, { limit: 10_000, ...query }, signal);
    yield found.rows;
    next = found.next;
  }
}

const time = (row) => Date.parse(row.creation_time);

/** When the first ping is from an instant on and before another, in ms; undefined where there is none. */
export async function firstPing(query, from, to, signal) {
  const span = { start: instant(from), end: instant(to) };
  const [row] = await get("/api/locations", { ...query, ...span, limit: 1 }, signal);
  return row && time(row);
}

/** When the last ping is before an instant: the API has no order but forward, so its second is searched for. */
export async function lastPing(query, before, signal) {
  let low;
  let high = before;
  const now = Math.min(Date.now(), before);
  if ((low = await firstPing(query, now, before, signal)) === undefined) {
    high = now;
    for (const seconds of BACK) {
      if ((low = await firstPing(query, now - seconds * SECOND, high, signal)) !== undefined) break;
      high = now - seconds * SECOND;
    }
  }
  if (low === undefined) return undefined;
  while (high - low > SECOND) {
    const middle = Math.floor((low + high) / 2);
    const found = await firstPing(query, middle, high, signal);
    if (found === undefined) high = middle;
    else low = found;
  }
  const span = { start: instant(low), end: instant(high) };
  const { rows } = await page("/api/locations", { ...query, ...span, limit: 10_000 }, signal);
  return Math.max(low, ...rows.map(time));
}

/** When the newest ping is; one of the future, by some phone's wrong clock, only where there are no others. */
export async function newestPing(query, signal) {
  return (await lastPing(query, soon(), signal)) ?? (await lastPing(query, END_OF_TIME, signal));
}

/** Whether there is a newer one than was the newest. */
export async function hasNewer(ms, signal) {
  return (await firstPing({}, ms + 1, Math.max(soon(), ms + 2), signal)) !== undefined;
}

const soon = () => Date.now() + 3_600_000;

/** What `load(signal)` brings, anew whenever an input changes. The old value stays until then, and is `stale` where it
 * answers other inputs. */
export function useLoaded(load, inputs) {
  const [state, set] = useState({ loading: true, stale: true });
  const [turn, setTurn] = useState(0);
  const before = useRef(turn);
  useEffect(() => {
    const abort = new AbortController();
    const unless = (change) => abort.signal.aborted || set(change);
    const stale = before.current === turn;
    before.current = turn;
    set((old) => ({ value: old.value, loading: true, stale: stale || old.value === undefined }));
    load(abort.signal).then(
      (value) => unless({ value }),
      (fault) => unless((old) => ({ fault, value: stale ? undefined : old.value })),
    );
    return () => abort.abort();
  }, [...inputs, turn]);
  return { ...state, again: () => setTurn((old) => old + 1) };
}

/** Loads again so many seconds after all has come, while the page is looked at. */
export function useAgain(loaded, seconds, on = true) {
  const waiting = on && !loaded.some((each) => each.loading);
  useEffect(() => {
    if (!waiting) return undefined;
    const again = () => document.hidden || loaded.forEach((each) => each.again());
    const timer = setTimeout(again, seconds * SECOND);
    document.addEventListener("visibilitychange", again);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", again);
    };
  }, [waiting]);
}

export const LIVE_S = 10; // from look to look at an event that is still running

export const isNow = ({ start, end }) => start <= Date.now() && Date.now() < end;
