/** Everybody's positions from the API: at one time, while playback runs at every time, and now. */
import { get, getPages, isoTime } from "./api.js";
import { unwrapLongitude } from "./geometry.js";

export const MAX_AGE_MS = 120_000; // a person whose last ping is older is not shown: their position is unknown
const CHUNK_MS = 300_000;
const CHUNK_LIMIT = 200_000; // pings
const MAX_CHUNKS = 16;
const DRAG_MS = 150; // a slider that is dragged asks only where it rests
const LATE_MS = 60_000; // pings of a time may arrive so much later

const toPing = (row) => ({
  id: row.person_id,
  ms: Date.parse(row.creation_time),
  lat: Number(row.latitude),
  lng: Number(row.longitude),
  accuracy: row.accuracy,
});

const chunkEnd = (index) => (index + 1) * CHUNK_MS + MAX_AGE_MS; // of the pings in the chunk

/** Positions at any time. At a single time it asks for one answer. During playback it loads pings in chunks of five
 * minutes, the next one ahead, and caches the last chunks. Those of now it asks for once; then live events move them. */
export class CrowdPositions {
  /** `span`: `{start, end}` of the pings, in ms. */
  constructor(span) {
    this.onLoaded = () => {};
    this._span = span;
    this._chunks = new Map();
    this._snapshot = null;
    this._newest = new Map(); // the newest ping of each person, from live events and the last answer
    this._isComplete = false; // whether they are those of everybody
  }

  /** `{positions, error, truncated, loading}`. `positions`: one `{id, ms, lat, lng, accuracy}` per person, null until
   * loaded. */
  at(ms, playing) {
    const index = Math.floor(ms / CHUNK_MS);
    this._abortLoads((each) => !playing || (each !== index && each !== index + 1));
    if (!playing && !this._chunks.get(index)?.tracks) return this._snapshotAt(ms);
    const chunk = this._chunk(index);
    if (playing && ms < this._span.end) this._chunk(index + 1);
    const { tracks, error = null, truncated = false } = chunk;
    return { positions: tracks ? positionsAt(tracks, ms) : null, error, truncated, loading: !tracks && !error };
  }

  /** The same, of the newest pings. `ms`: the newest time that the page knows, to ask for at first. */
  now(ms) {
    this._abortLoads(() => true);
    if (!this._isComplete) return this._snapshotAt(this._snapshot?.isNow ? this._snapshot.ms : ms);
    let latest = 0;
    for (const ping of this._newest.values()) latest = Math.max(latest, ping.ms);
    for (const [id, ping] of this._newest) if (latest - ping.ms >= MAX_AGE_MS) this._newest.delete(id);
    return { positions: [...this._newest.values()], error: null, truncated: false, loading: false };
  }

  /** Takes the locations of a live event, which may come twice. They also complete what was loaded. */
  add(rows) {
    for (const ping of rows.map(toPing)) {
      this._keepNewest(ping);
      for (const [index, { tracks }] of this._chunks) {
        if (tracks && index * CHUNK_MS - MAX_AGE_MS <= ping.ms && ping.ms < chunkEnd(index)) append(tracks, ping);
      }
    }
  }

  /** Live events were missed: everything that was incomplete is loaded again. */
  reload() {
    this._isComplete = false;
    this._newest.clear();
    this._snapshot?.abort.abort();
    this._snapshot = null; // however old its pings were
    this.refresh(this._span);
  }

  /** `span` has grown by live events. */
  extend(span) {
    this._span = span;
  }

  /** Reloads what was incomplete when it was loaded. The old positions serve until then. */
  refresh(span) {
    this._span = span;
    this.refreshChunks();
    if (this._snapshot && this._snapshot.ms + LATE_MS > this._snapshot.loadedAt) this._loadSnapshot(this._snapshot.ms);
  }

  /** Of these alone: live events leave out late pings. */
  refreshChunks() {
    for (const [index, { loadedAt }] of this._chunks) if (chunkEnd(index) > loadedAt) this._loadChunk(index);
  }

  clear() {
    this._chunks.clear();
    this._snapshot = null;
  }

  close() {
    this._abortLoads(() => true);
    this._snapshot?.abort.abort();
  }

  _snapshotAt(ms) {
    if (this._snapshot?.ms !== ms) this._loadSnapshot(ms);
    const { positions, error = null } = this._snapshot;
    return { positions, error, truncated: false, loading: !positions && !error };
  }

  async _loadSnapshot(ms) {
    const old = this._snapshot;
    old?.abort.abort();
    const isNow = ms >= this._span.end;
    const snapshot = { ms, isNow, abort: new AbortController(), loadedAt: Date.now(), positions: old?.ms === ms ? old.positions : null };
    this._snapshot = snapshot;
    try {
      if (old && old.ms !== ms) await new Promise((resolve) => setTimeout(resolve, DRAG_MS));
      if (snapshot.abort.signal.aborted) return;
      const rows = await get("/api/positions", { at: isoTime(ms), max_age: MAX_AGE_MS / 1000 }, snapshot.abort.signal);
      snapshot.positions = rows.map(({ location }) => toPing(location));
      if (isNow) {
        snapshot.positions.forEach((ping) => this._keepNewest(ping));
        this._isComplete = true;
      }
    } catch (error) {
      if (snapshot.abort.signal.aborted) return;
      snapshot.error = error;
    }
    this.onLoaded();
  }

  _keepNewest(ping) {
    if (!(this._newest.get(ping.id)?.ms >= ping.ms)) this._newest.set(ping.id, ping);
  }

  /** Aborts loads that are no longer needed, so that the needed ones need not wait for them. */
  _abortLoads(isUnneeded) {
    for (const [index, { abort, tracks, error }] of this._chunks) {
      if (tracks || error || !isUnneeded(index)) continue;
      abort.abort();
      this._chunks.delete(index);
    }
  }

  _chunk(index) {
    if (!this._chunks.has(index)) this._loadChunk(index);
    return this._chunks.get(index);
  }

  async _loadChunk(index) {
    const chunk = { abort: new AbortController(), loadedAt: Date.now(), tracks: this._chunks.get(index)?.tracks };
    this._chunks.set(index, chunk);
    if (this._chunks.size > MAX_CHUNKS) this._chunks.delete(this._chunks.keys().next().value);
    const span = { start: isoTime(index * CHUNK_MS - MAX_AGE_MS), end: isoTime(chunkEnd(index)) };
    const tracks = new Map();
    let read = 0;
    try {
      for await (const rows of getPages("/api/locations", span, chunk.abort.signal)) {
        for (const ping of rows.map(toPing)) append(tracks, ping);
        read += rows.length;
        if (read >= CHUNK_LIMIT) {
          chunk.truncated = true;
          break;
        }
      }
      chunk.tracks = tracks;
    } catch (error) {
      if (chunk.abort.signal.aborted) return;
      chunk.error = error;
    }
    this.onLoaded();
  }
}

/** `tracks`: the pings of each person, oldest first. */
function append(tracks, ping) {
  if (!tracks.has(ping.id)) tracks.set(ping.id, [ping]);
  else if (tracks.get(ping.id).at(-1).ms < ping.ms) tracks.get(ping.id).push(ping);
}

/** Interpolated between two pings that are at most MAX_AGE_MS apart; otherwise the last ping. The accuracy is that of
 * the last ping. */
function positionsAt(tracks, ms) {
  const positions = [];
  for (const track of tracks.values()) {
    const index = track.findLastIndex((ping) => ping.ms <= ms);
    const [last, next] = [track[index], track[index + 1]];
    if (!last || ms - last.ms > MAX_AGE_MS) continue;
    const part = next && next.ms - last.ms <= MAX_AGE_MS ? (ms - last.ms) / (next.ms - last.ms) : 0;
    const lat = part ? last.lat + part * (next.lat - last.lat) : last.lat;
    const lng = part ? last.lng + part * (unwrapLongitude(next.lng, last.lng) - last.lng) : last.lng;
    positions.push({ id: last.id, ms, lat, lng: unwrapLongitude(lng, 0), accuracy: last.accuracy });
  }
  return positions;
}
