/** Where the others were who were near: asked hour by hour, as the scrubber gets there. */
import { instant, pages } from "./api.js";

const CHUNK_MS = 3_600_000;
const KEPT = 24; // chunks
const AGAIN_S = 5;

export class Nearby {
  /** `asked` as the API's encounters take it. Calls `arrived()` when more is known. */
  constructor(id, asked) {
    this.arrived = () => {};
    this._path = `/api/persons/${id}/connection`;
    this._asked = asked;
    this._margin = Number(asked.within) * 1000;
    this._chunks = new Map();
    this._abort = new AbortController();
  }

  /** Where a person was at an instant: the last place in the answer, unless it is older than the terms allow. */
  at(personId, ms) {
    const index = Math.floor(ms / CHUNK_MS);
    this._want(index);
    if (ms - index * CHUNK_MS > CHUNK_MS / 2) this._want(index + 1);
    const places = this._chunks.get(index)?.places.get(personId);
    const place = places?.findLast((each) => each.ms <= ms) ?? places?.[0];
    const limit = Number(this._asked.max_gap) * 1000 + this._margin;
    return place && Math.abs(ms - place.ms) <= limit ? place : null;
  }

  /** Asks again for the hours in which pings were still to come; what is known serves until then. */
  renew() {
    for (const [index, { asked }] of this._chunks) if ((index + 1) * CHUNK_MS > asked) this._load(index);
  }

  close() {
    this._abort.abort();
  }

  _want(index) {
    if (!this._chunks.has(index)) this._load(index);
  }

  async _load(index) {
    const found = new Map();
    const chunk = { asked: Date.now(), places: this._chunks.get(index)?.places ?? found };
    this._chunks.set(index, chunk);
    if (this._chunks.size > KEPT) this._chunks.delete(this._chunks.keys().next().value);
    // Who is near at a chunk's border may have pinged on its other side.
    const from = Math.max(Date.parse(this._asked.start_date), index * CHUNK_MS - this._margin);
    const to = Math.min(Date.parse(this._asked.end_date), (index + 1) * CHUNK_MS + this._margin);
    if (from >= to) return;
    const { distance, within } = this._asked;
    try {
      for await (const rows of pages(this._path, { start_date: instant(from), end_date: instant(to), distance, within }, this._abort.signal)) {
        for (const { location, person } of rows) {
          const place = { ms: Date.parse(location.creation_time), lat: Number(location.latitude), lng: Number(location.longitude) };
          if (found.has(person.id)) found.get(person.id).push(place);
          else found.set(person.id, [place]);
        }
      }
      chunk.places = found;
      this.arrived();
    } catch (fault) {
      setTimeout(() => this._forget(index), (fault.retryAfter ?? AGAIN_S) * 1000); // not again with every frame
    }
  }

  _forget(index) {
    if (this._abort.signal.aborted) return;
    this._chunks.delete(index);
    this.arrived(); // and so asks anew, if it is still looked at
  }
}
