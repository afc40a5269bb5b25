/** Everybody's positions, from the pings that the API streams: at any moment, or all of a span. */
import { instant, pages } from "./api.js";
import { beside } from "./map.js";

export const SEEN_MS = 120_000; // who has not pinged for longer is not shown: where they are is not known
export const HEAT_LIMIT = 300_000;
const CHUNK_MS = 300_000;
const CHUNK_LIMIT = 200_000; // pings
const KEPT = 16; // chunks

const ping = (row) => ({
  id: row.person_id,
  ms: Date.parse(row.creation_time),
  lat: Number(row.latitude),
  lng: Number(row.longitude),
});

/** Pings of a span in the order of their time, in parts; ends at a limit. */
export async function* allPings({ start, end }, limit, signal) {
  let left = limit;
  if (left <= 0) return;
  for await (const rows of pages("/api/locations", { start: instant(start), end: instant(end) }, signal)) {
    yield rows.slice(0, left).map(ping);
    left -= rows.length;
    if (left <= 0) return;
  }
}

const end = (index) => (index + 1) * CHUNK_MS + SEEN_MS; // of what a piece holds

export class Moments {
  constructor(ends) {
    this.arrived = () => {};
    this._ends = ends;
    this._chunks = new Map();
  }

  /** `known`: one `{id, ms, lat, lng}` a person, or null while it is not known; with `fault`, `loading` and `cut`. */
  at(ms) {
    const index = Math.floor(ms / CHUNK_MS);
    this._leave((each) => each !== index && each !== index + 1);
    const chunk = this._chunk(index);
    if (ms < this._ends.end) this._chunk(index + 1); // so that it is there when the scrubber gets there
    const { ways, fault = null, cut = false } = chunk;
    return { known: ways ? positions(ways, ms) : null, fault, cut, loading: !ways && !fault };
  }

  /** Asks again for the minutes in which pings were still to come; what is known serves until then. */
  renew(ends) {
    this._ends = ends;
    for (const [index, { asked }] of this._chunks) if (end(index) > asked) this._load(index);
  }

  forget() {
    this._chunks.clear();
  }

  close() {
    this._leave(() => true);
  }

  /** Gives up what is still on its way, so that what is looked at now need not wait for it. */
  _leave(unwanted) {
    for (const [index, { abort, ways, fault }] of this._chunks) {
      if (ways || fault || !unwanted(index)) continue;
      abort.abort();
      this._chunks.delete(index);
    }
  }

  _chunk(index) {
    if (!this._chunks.has(index)) this._load(index);
    return this._chunks.get(index);
  }

  async _load(index) {
    const chunk = { abort: new AbortController(), asked: Date.now(), ways: this._chunks.get(index)?.ways };
    this._chunks.set(index, chunk);
    if (this._chunks.size > KEPT) this._chunks.delete(this._chunks.keys().next().value);
    const span = { start: instant(index * CHUNK_MS - SEEN_MS), end: instant(end(index)) };
    const ways = new Map();
    let read = 0;
    try {
      for await (const rows of pages("/api/locations", span, chunk.abort.signal)) {
        for (const each of rows.map(ping)) {
          if (ways.has(each.id)) ways.get(each.id).push(each);
          else ways.set(each.id, [each]);
        }
        read += rows.length;
        if (read >= CHUNK_LIMIT) {
          chunk.cut = true;
          break;
        }
      }
      chunk.ways = ways;
    } catch (fault) {
      if (chunk.abort.signal.aborted) return;
      chunk.fault = fault;
    }
    this.arrived();
  }
}

/** Where each was: on the straight line between two pings that are near in time, else at the last one. */
function positions(ways, ms) {
  const found = [];
  for (const way of ways.values()) {
    const index = way.findLastIndex((each) => each.ms <= ms);
    const [last, next] = [way[index], way[index + 1]];
    if (!last || ms - last.ms > SEEN_MS) continue;
    const part = next && next.ms - last.ms <= SEEN_MS ? (ms - last.ms) / (next.ms - last.ms) : 0;
    const lat = part ? last.lat + part * (next.lat - last.lat) : last.lat;
    const lng = part ? last.lng + part * (beside(next.lng, last.lng) - last.lng) : last.lng;
    found.push({ id: last.id, ms, lat, lng: beside(lng, 0) });
  }
  return found;
}
