/** Everybody's positions from the API: at one time, or while playback runs at every time. */
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
 * minutes, the next one ahead, and caches the last chunks. */
export class CrowdPositions {
  /** `span`: `{start, end}` of the pings, in ms. */
  constructor(span) {
    this.onLoaded = () => {};
    this._span = span;
    this._chunks = new Map();
    this._snapshot = null;
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

  /** Reloads what was incomplete when it was loaded. The old positions serve until then. */
  refresh(span) {
    this._span = span;
    for (const [index, { loadedAt }] of this._chunks) if (chunkEnd(index) > loadedAt) this._loadChunk(index);
    if (this._snapshot && this._snapshot.ms + LATE_MS > this._snapshot.loadedAt) this._loadSnapshot(this._snapshot.ms);
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
    const snapshot = { ms, abort: new AbortController(), loadedAt: Date.now(), positions: old?.ms === ms ? old.positions : null };
    this._snapshot = snapshot;
    try {
      if (old && old.ms !== ms) await new Promise((resolve) => setTimeout(resolve, DRAG_MS));
      if (snapshot.abort.signal.aborted) return;
      const rows = await get("/api/positions", { at: isoTime(ms), max_age: MAX_AGE_MS / 1000 }, snapshot.abort.signal);
      snapshot.positions = rows.map(({ location }) => toPing(location));
    } catch (error) {
      if (snapshot.abort.signal.aborted) return;
      snapshot.error = error;
    }
    this.onLoaded();
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
        for (const ping of rows.map(toPing)) {
          if (tracks.has(ping.id)) tracks.get(ping.id).push(ping);
          else tracks.set(ping.id, [ping]);
        }
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
