/** Positions of the people near a person, loaded hour by hour as playback reaches them. */
import { getPages, isoTime } from "./api.js";

const CHUNK_MS = 3_600_000;
const MAX_CHUNKS = 24;
const RETRY_S = 5;

export class NearbyPositions {
  /** `parameters` of the API's encounters. `loadCriteria()` has the defaults of the others. `onLoaded()` is called when a
   * chunk is loaded or may be retried. */
  constructor(id, parameters, loadCriteria) {
    this.onLoaded = () => {};
    this._path = `/api/persons/${id}/connection`;
    this._parameters = parameters;
    this._loadCriteria = loadCriteria;
    this._maxAgeMs = 0; // until the criteria are loaded
    this._chunks = new Map();
    this._abort = new AbortController();
  }

  /** A person's last position at `ms`, or else their first one in the chunk. Null if it is unknown or further away in
   * time than the parameters allow. */
  at(personId, ms) {
    const index = Math.floor(ms / CHUNK_MS);
    this._ensureLoaded(index);
    if (ms - index * CHUNK_MS > CHUNK_MS / 2) this._ensureLoaded(index + 1);
    const positions = this._chunks.get(index)?.positions.get(personId);
    const position = positions?.findLast((each) => each.ms <= ms) ?? positions?.[0];
    return position && Math.abs(ms - position.ms) <= this._maxAgeMs ? position : null;
  }

  /** Reloads the chunks that were incomplete when they were loaded. Their old positions serve until then. */
  refresh() {
    for (const [index, { loadedAt }] of this._chunks) if ((index + 1) * CHUNK_MS > loadedAt) this._load(index);
  }

  close() {
    this._abort.abort();
  }

  _ensureLoaded(index) {
    if (!this._chunks.has(index)) this._load(index);
  }

  async _load(index) {
    const loaded = new Map();
    const chunk = { loadedAt: Date.now(), positions: this._chunks.get(index)?.positions ?? loaded };
    this._chunks.set(index, chunk);
    if (this._chunks.size > MAX_CHUNKS) this._chunks.delete(this._chunks.keys().next().value);
    try {
      const defaults = Object.fromEntries((await this._loadCriteria()).map(({ name, fallback }) => [name, fallback]));
      const { distance, within, max_gap, max_accuracy } = { ...defaults, ...this._parameters };
      const marginMs = Number(within) * 1000;
      this._maxAgeMs = Number(max_gap) * 1000 + marginMs;
      // A person who is near at the border of a chunk may have a ping on its other side.
      const from = Math.max(Date.parse(this._parameters.start_date), index * CHUNK_MS - marginMs);
      const to = Math.min(Date.parse(this._parameters.end_date), (index + 1) * CHUNK_MS + marginMs);
      if (from >= to) return;
      const query = { start_date: isoTime(from), end_date: isoTime(to), distance, within, max_accuracy };
      for await (const rows of getPages(this._path, query, this._abort.signal)) {
        for (const { location, person } of rows) {
          const position = { ms: Date.parse(location.creation_time), lat: Number(location.latitude), lng: Number(location.longitude) };
          if (loaded.has(person.id)) loaded.get(person.id).push(position);
          else loaded.set(person.id, [position]);
        }
      }
      chunk.positions = loaded;
      this.onLoaded();
    } catch (error) {
      setTimeout(() => this._retry(index), (error.retryAfter ?? RETRY_S) * 1000); // not with every frame
    }
  }

  /** Drops a failed chunk. `onLoaded` then asks for it again if it is still needed. */
  _retry(index) {
    if (this._abort.signal.aborted) return;
    this._chunks.delete(index);
    this.onLoaded();
  }
}
