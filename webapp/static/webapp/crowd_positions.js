/** Everybody's positions from the pings of the API: at one time, or all pings of a span. */
import { getPages, isoTime } from "./api.js";
import { unwrapLongitude } from "./map.js";

export const MAX_AGE_MS = 120_000; // a person whose last ping is older is not shown: their position is unknown
export const HEAT_LIMIT = 300_000; // pings
const CHUNK_MS = 300_000;
const CHUNK_LIMIT = 200_000; // pings
const MAX_CHUNKS = 16;

const toPing = (row) => ({
  id: row.person_id,
  ms: Date.parse(row.creation_time),
  lat: Number(row.latitude),
  lng: Number(row.longitude),
  accuracy: row.accuracy ?? null, // an older API has none
});

/** Batches of the pings of a span in time order, at most `limit` pings in all. */
export async function* allPings({ start, end }, limit, signal) {
  let left = limit;
  if (left <= 0) return;
  for await (const rows of getPages("/api/locations", { start: isoTime(start), end: isoTime(end) }, signal)) {
    yield rows.slice(0, left).map(toPing);
    left -= rows.length;
    if (left <= 0) return;
  }
}

const chunkEnd = (index) => (index + 1) * CHUNK_MS + MAX_AGE_MS; // of the pings in the chunk

/** Positions at any time. Loads pings in chunks of five minutes, the next one ahead, and caches the last chunks. */
export class CrowdPositions {
  /** `span`: `{start, end}` of the pings, in ms. */
  constructor(span) {
    this.onLoaded = () => {};
    this._span = span;
    this._chunks = new Map();
  }

  /** `{positions, error, truncated, loading}`. `positions`: one `{id, ms, lat, lng, accuracy}` per person, null until
   * loaded. */
  at(ms) {
    const index = Math.floor(ms / CHUNK_MS);
    this._abortLoads((each) => each !== index && each !== index + 1);
    const chunk = this._chunk(index);
    if (ms < this._span.end) this._chunk(index + 1); // prefetch for playback
    const { tracks, error = null, truncated = false } = chunk;
    return { positions: tracks ? positionsAt(tracks, ms) : null, error, truncated, loading: !tracks && !error };
  }

  /** Reloads the chunks that were incomplete when they were loaded. Their old pings serve until then. */
  refresh(span) {
    this._span = span;
    for (const [index, { loadedAt }] of this._chunks) if (chunkEnd(index) > loadedAt) this._load(index);
  }

  clear() {
    this._chunks.clear();
  }

  close() {
    this._abortLoads(() => true);
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
    if (!this._chunks.has(index)) this._load(index);
    return this._chunks.get(index);
  }

  async _load(index) {
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
