/** Client of the public REST API, the only source of data of the app. */
import { useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { authOptions, getCredential, OPEN_ACCESS, reportRefused } from "./credentials.js";

export const API = document.documentElement.dataset.api;
const SECOND = 1000;
const EARLY_MS = 30_000; // since the page was opened; an older answer may be out of date

class ApiError extends Error {
  /** `retryAfter`: seconds from the header Retry-After, if the response has one. */
  constructor(message, status, retryAfter) {
    super(message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

export const isoTime = (ms) => new Date(ms).toISOString();

function buildUrl(path, query) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const each of [value].flat()) if (each !== undefined && each !== "") parameters.append(name, each);
  }
  return `${API}${path}?${parameters}`;
}

/** The answer to a GET that the page has asked for before its scripts were loaded (early.js). It is taken once, only for
 * the same credential, and not by a load that was aborted meanwhile: the load that replaces it needs the same answer. */
async function takeEarly(url, signal, credential, { method }) {
  const { early } = globalThis;
  if (!early || method || performance.now() > EARLY_MS || early.credential !== (OPEN_ACCESS ? "open" : credential)) return undefined;
  const answer = await early.answers.get(url)?.catch(() => undefined);
  return answer && !signal?.aborted && early.answers.delete(url) ? answer : undefined;
}

async function request(url, signal, { headers, credential = getCredential(), ...options } = {}) {
  const { headers: authHeaders, ...auth } = authOptions(credential);
  let response;
  try {
    response = (await takeEarly(url, signal, credential, options)) ?? (await fetch(url, { signal, ...auth, ...options, headers: { Accept: "application/json", ...headers, ...authHeaders } }));
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(`The API at ${API} cannot be reached. Check that it is running and that it allows requests from ${location.origin}.`);
  }
  if (response.ok || (response.status === 503 && url.includes("/health/"))) return response;
  if (response.status === 401) reportRefused(credential);
  const retryAfter = Number(response.headers.get("Retry-After")) || undefined;
  const message = errorMessage(await response.json().catch(() => null)) || `The API answered with status ${response.status}.`;
  throw new ApiError(message, response.status, retryAfter);
}

/** One text from the JSON of an error: DRF sends `{detail}` or `{field: [messages]}`. */
function errorMessage(body) {
  if (!body || typeof body !== "object") return "";
  return Object.entries(body)
    .map(([field, messages]) => (field === "detail" ? messages : `${field}: ${[messages].flat().join(" ")}`))
    .join(" ");
}

async function parseJson(response, signal) {
  try {
    return await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError("The response was incomplete.");
  }
}

export async function get(path, query = {}, signal = undefined) {
  return parseJson(await request(buildUrl(path, query), signal), signal);
}

/** The parameters of a path, with `default`, `minimum`, `exclusive_minimum` and `maximum` for this caller. */
export async function getParameters(path) {
  const { parameters } = await parseJson(await request(API + path, undefined, { method: "OPTIONS" }));
  if (!parameters) throw new ApiError("The API is of an older release than this page.");
  return parameters;
}

/** GET with another credential than the stored one. */
export async function getWithCredential(credential, path) {
  return parseJson(await request(buildUrl(path, {}), undefined, { credential }));
}

const sendJson = (method) => async (path, body, options = {}) => {
  const headers = { "Content-Type": "application/json" };
  return parseJson(await request(API + path, undefined, { method, headers, body: JSON.stringify(body), ...options }));
};

export const put = sendJson("PUT");
const post = sendJson("POST");

/** Exchanges a one-time sign-in code for `{token, ingest_token}`. */
export const exchangeCode = (code) => post("/api/caller/exchange", { code }, { credential: null });

/** Sends a ping, or an array of pings. */
export const sendPings = (pings, credential) => post("/api/locations", pings, { credential });

/** Deletes a person. Resolves with the receipt. */
export const erase = (id) => post(`/api/persons/${id}/erasure`, {});

export async function getBlob(path) {
  return (await request(API + path, undefined, { headers: { Accept: "*/*" } })).blob();
}

/** The response of a call that goes on, such as `/api/live`. */
export const openStream = (path, query, signal, headers) => request(buildUrl(path, query), signal, { headers });

/** One page as `{rows, next}`. `next` is the path of the next page, undefined on the last. `path` may be such a path. */
export async function getPage(path, query = {}, signal = undefined) {
  const response = await request(path.includes("?") ? API + path : buildUrl(path, query), signal);
  const next = /<([^>]+)>; rel="next"/.exec(response.headers.get("Link") ?? "")?.[1];
  return { rows: await parseJson(response, signal), next };
}

/** The rows of each page in turn, at most 10,000 per page. */
export async function* getPages(path, query, signal) {
  let next = path;
  while (next) {
    const page = await getPage(next, { limit: 10_000, ...query }, signal);
    yield page.rows;
    next = page.next;
  }
}

/** A function that loads once. A failed load is not kept. */
export function once(load) {
  let loaded;
  return () => {
    loaded ??= load().catch((error) => {
      loaded = undefined;
      throw error;
    });
    return loaded;
  };
}

/** State of `load(signal)`, which runs again when an input changes: `{value, error, loading, stale, reload}`.
 * The old value stays until the new one is loaded; it is `stale` if it belongs to other inputs. */
export function useLoaded(load, inputs) {
  const [state, setState] = useState({ loading: true, stale: true });
  const [reloads, setReloads] = useState(0);
  const lastReloads = useRef(reloads);
  useEffect(() => {
    const abort = new AbortController();
    const setUnlessAborted = (change) => abort.signal.aborted || setState(change);
    const stale = lastReloads.current === reloads;
    lastReloads.current = reloads;
    setState((old) => ({ value: old.value, loading: true, stale: stale || old.value === undefined }));
    load(abort.signal).then(
      (value) => setUnlessAborted({ value }),
      (error) => setUnlessAborted((old) => ({ error, value: stale ? undefined : old.value })),
    );
    return () => abort.abort();
  }, [...inputs, reloads]);
  return { ...state, reload: () => setReloads((old) => old + 1) };
}

/** Reloads all of `loaded` after an interval, counted from the end of the last load. A hidden page does not poll. */
export function usePolling(loaded, seconds, enabled = true) {
  const waiting = enabled && !loaded.some((each) => each.loading);
  useEffect(() => {
    if (!waiting) return undefined;
    const reload = () => document.hidden || loaded.forEach((each) => each.reload());
    const timer = setTimeout(reload, seconds * SECOND);
    document.addEventListener("visibilitychange", reload);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", reload);
    };
  }, [waiting, seconds]);
}

export const LIVE_POLL_S = 10; // while an event is running and the live events cannot be followed
/** While they are followed: they leave out late pings, and all of people who are not findable. */
export const STREAMED_POLL_S = 60;

export const includesNow = ({ start, end }) => start <= Date.now() && Date.now() < end;
