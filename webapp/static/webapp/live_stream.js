/** Reads `GET /api/live` for as long as a view is open. By `fetch`, because an `EventSource` cannot send a token. */
import { once, openStream } from "./api.js";

const SILENCE_MS = 45_000; // three heartbeats
const RETRY_MS = 2000; // until the server says another; a first failure waits half as long
const MAX_RETRY_MS = 60_000;
const ABSENT_MS = 300_000; // until a system that has no stream, or refuses it, is asked again
const RESUME_MS = 270_000; // the server resumes within five minutes
// A hidden page gives up its connection: a browser has six for one server, over all its tabs.
const HIDDEN_MS = 30_000;

const loadParser = once(() => import("../vendor/eventsource-parser/index.js"));

/** Follows the events that `filter` selects. Returns the function that stops it.
 *
 * `onMode` is told `connecting`, `live`, or `polling` while there is no stream. `onEvent(type, data)` gets each `position`
 * and `encounter`, perhaps twice, and `gap` if events were missed: then everything has to be loaded again. */
export function followLive(filter, onMode, onEvent) {
  const stop = new AbortController();
  new Follower(filter, onMode, onEvent, stop.signal).run();
  return () => stop.abort();
}

class Follower {
  constructor(filter, onMode, onEvent, stop) {
    this._filter = filter;
    this._onMode = onMode;
    this._onEvent = onEvent;
    this._stop = stop;
    // The server begins half a minute before an id that it did not give, so nothing is missed since the view loaded.
    this._lastId = String(Date.now());
    this._heardAt = Date.now();
    this._retryMs = RETRY_MS;
    this._failures = 0;
  }

  async run() {
    this._onMode("connecting");
    while (!this._stop.aborted) {
      if (document.hidden) await wait(this._stop, document, "visibilitychange");
      else await wait(this._stop, globalThis, "online", await this._waitAfterRead());
    }
  }

  /** Reads until the stream ends. Returns how long to wait before the next attempt, in ms. */
  async _waitAfterRead() {
    try {
      await this._read();
      return spread(this._retryMs); // the server ended it in good order: it is still live
    } catch (error) {
      if (this._stop.aborted) return 0;
      if (document.hidden) {
        this._onMode("connecting");
        return 0;
      }
      this._onMode("polling");
      if ([403, 404].includes(error.status)) return spread(ABSENT_MS);
      const backOff = Math.min(MAX_RETRY_MS, this._retryMs * 2 ** (this._failures++ - 1));
      return Math.max(spread(backOff), (error.retryAfter ?? 0) * 1000 * (1 + Math.random() / 2));
    }
  }

  async _read() {
    const attempt = new AbortController();
    const abort = () => attempt.abort();
    let silence, hidden;
    const heard = () => {
      clearTimeout(silence);
      silence = setTimeout(abort, SILENCE_MS);
    };
    const onVisibility = () => {
      clearTimeout(hidden);
      if (document.hidden) hidden = setTimeout(abort, HIDDEN_MS);
    };
    document.addEventListener("visibilitychange", onVisibility);
    try {
      heard();
      const { createParser } = await loadParser();
      const headers = { Accept: "text/event-stream", "Last-Event-ID": this._lastId };
      const response = await openStream("/api/live", this._filter, AbortSignal.any([this._stop, attempt.signal]), headers);
      if (Date.now() - this._heardAt > RESUME_MS) this._onEvent("gap");
      this._failures = 0;
      this._onMode("live");
      const parser = createParser({ onEvent: (event) => this._take(event), onRetry: (ms) => (this._retryMs = ms) });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        heard();
        this._heardAt = Date.now();
        parser.feed(piece.value);
      }
    } finally {
      clearTimeout(silence);
      clearTimeout(hidden);
      document.removeEventListener("visibilitychange", onVisibility);
      abort();
    }
  }

  _take({ event, id, data }) {
    if (this._stop.aborted) return;
    if (id) this._lastId = id;
    if (event !== "heartbeat") this._onEvent(event, JSON.parse(data));
  }
}

/** Resolves at an event of `target`, after `ms` if they are given, or when `stop` is aborted. */
function wait(stop, target, event, ms) {
  return new Promise((resolve) => {
    const done = new AbortController();
    const timer = ms === undefined ? undefined : setTimeout(finish, ms);
    function finish() {
      clearTimeout(timer);
      done.abort();
      resolve();
    }
    target.addEventListener(event, finish, { signal: done.signal });
    stop.addEventListener("abort", finish, { signal: done.signal });
  });
}

/** Half to one and a half times as long: not all pages come back at the same moment. */
const spread = (ms) => ms * (0.5 + Math.random());
