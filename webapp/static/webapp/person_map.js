/** What the map shows of a person: the way, the encounters along it, and one moment. */
import { duration, exact } from "./format.js";
import { beside, colour, frame, L, onTheme } from "./map.js";
import { nameOf } from "./parts.js";

const SILENT_MS = 600_000; // after such a silence the way is not known

export const NAMED = 12; // more names would cover each other,
const NAMES_ZOOM = 20; //    as they do where five metres are some fifty pixels or less
const FOLLOW_ZOOM = 21;

const looks = {
  way: () => ({ color: colour("--accent"), opacity: 0.55, weight: 2.5 }),
  meeting: () => ({ color: colour("--raised"), weight: 1, fillColor: colour("--other"), fillOpacity: 0.6 }),
  marked: () => ({ color: colour("--ink"), weight: 3, fillOpacity: 1 }),
};

export function drawPerson(map) {
  const renderer = L.canvas({ tolerance: 3 }); // for what is many; what moves is drawn above it, as SVG
  const way = L.polyline([], { renderer, interactive: false, ...looks.way() }).addTo(map);
  const meetings = L.layerGroup().addTo(map);
  const others = L.layerGroup().addTo(map);
  const me = L.circleMarker([0, 0], { radius: 7, className: "me", interactive: false });
  const tip = L.tooltip({ offset: [8, 0] });
  const shown = new Map(); // the others' markers by person
  let points = [];
  let encounters = [];
  let markers = []; // one each
  let names = true;
  let marked = null;
  const off = onTheme(() => {
    way.setStyle(looks.way());
    markers.forEach((marker) => marker.setStyle(looks.meeting()));
  });

  const place = (ms) => {
    let index = points.findLastIndex((each) => each.ms <= ms);
    if (index < 0) index = 0;
    const [from, to] = [points[index], points[index + 1]];
    if (!to || to.ms - from.ms > SILENT_MS) return [from.lat, from.lng];
    const part = Math.max(0, (ms - from.ms) / (to.ms - from.ms));
    return [from.lat + part * (to.lat - from.lat), from.lng + part * (to.lng - from.lng)];
  };

  return {
    /** `mark(index or null)` is called when the pointer is over an encounter. With `keep` the map stays where it is. */
    show(track, met, mark, keep) {
      points = [];
      for (const { ms, lat, lng } of track) points.push({ ms, lat, lng: beside(lng, points.at(-1)?.lng ?? lng) });
      marked = null;
      tip.remove();
      for (const layer of [meetings, others]) layer.clearLayers();
      shown.clear();
      me.remove();
      const parts = [];
      points.forEach((point, index) => {
        if (!index || point.ms - points[index - 1].ms > SILENT_MS) parts.push([]);
        parts.at(-1).push([point.lat, point.lng]);
      });
      way.setLatLngs(parts);
      encounters = met;
      const lng = (each) => beside(Number(each.longitude), points[0]?.lng ?? 0);
      markers = met.map((each, index) =>
        L.circleMarker([Number(each.latitude), lng(each)], { renderer, radius: radius(each), ...looks.meeting() })
          .on("mouseover", () => mark(index))
          .on("mouseout", () => mark(null))
          .addTo(meetings),
      );
      if (points.length && !keep) {
        frame(map, () => map.fitBounds(L.latLngBounds(parts.flat()).pad(0.1), { maxZoom: 21, animate: false }));
      }
      if (points.length) me.setLatLng(place(points[0].ms)).addTo(map);
    },

    mark(index) {
      marked?.setStyle(looks.meeting());
      marked = markers[index];
      tip.remove();
      if (!marked) return;
      marked.setStyle(looks.marked()).bringToFront();
      const { person, from, duration_s } = encounters[index];
      tip.setLatLng(marked.getLatLng()).setContent(`${escape(nameOf(person))}<br>${exact(from)}, ${duration(duration_s)}`).addTo(map);
    },

    /** `near`: pairs of a person and where they were, null where that is not known. */
    moment(ms, near, follow) {
      if (!points.length) return;
      me.setLatLng(place(ms)).bringToFront();
      map.getContainer().classList.toggle("close", Boolean(follow));
      if (follow) frame(map, () => map.setView(me.getLatLng(), Math.max(map.getZoom(), FOLLOW_ZOOM), { animate: false }));
      const named = near.length <= NAMED && map.getZoom() >= NAMES_ZOOM;
      if (named !== names) {
        names = named;
        others.clearLayers();
        shown.clear();
      }
      const gone = new Set(shown.keys());
      for (const [person, at] of near) {
        if (!at) continue;
        gone.delete(person.id);
        const there = [at.lat, beside(at.lng, me.getLatLng().lng)];
        if (shown.has(person.id)) shown.get(person.id).setLatLng(there);
        else shown.set(person.id, other(person, there, named).addTo(others));
      }
      for (const id of gone) {
        others.removeLayer(shown.get(id));
        shown.delete(id);
      }
    },

    remove: off,
  };
}

function other(person, at, named) {
  const marker = L.circleMarker(at, { radius: 6, className: "other", interactive: false });
  const name = { permanent: true, className: "name", direction: "right", offset: [6, 0] };
  return named ? marker.bindTooltip(escape(nameOf(person)), name) : marker;
}

const radius = (each) => Math.min(14, 4 + Math.sqrt(each.duration_s / 60));

function escape(text) {
  const made = document.createElement("span");
  made.textContent = text;
  return made.innerHTML;
}
