/** Map layers of one person: their path, their encounters, and the positions at one time. */
import { nameOf } from "./components.js";
import { duration, exact } from "./format.js";
import { unwrapLongitude } from "./geometry.js";
import { canvas, cssColour, fitMap, moveByApp, onThemeChange } from "./map.js";

const MAX_GAP_MS = 600_000; // the path is interrupted where pings are further apart

export const MAX_NAMES = 12; // more names would cover each other
const NAMES_ZOOM = 20; // at a lower zoom, five metres are about fifty pixels or less and names would cover each other
const FOLLOW_ZOOM = 21;

const styles = {
  path: () => ({ color: cssColour("--accent"), opacity: 0.55, weight: 2.5 }),
  encounter: () => ({ color: cssColour("--raised"), weight: 1, fillColor: cssColour("--other"), fillOpacity: 0.6 }),
  marked: () => ({ color: cssColour("--ink"), weight: 3, fillOpacity: 1 }),
};

/** `bounds`: those of the event. */
export function drawPerson(map, bounds) {
  const renderer = canvas({ tolerance: 3 }); // for the many static shapes; moving markers are SVG above it
  const path = L.polyline([], { renderer, interactive: false, ...styles.path() }).addTo(map);
  const encounterLayer = L.layerGroup().addTo(map);
  const othersLayer = L.layerGroup().addTo(map);
  const me = L.circleMarker([0, 0], { radius: 7, className: "me", interactive: false });
  const tip = L.tooltip({ offset: [8, 0] });
  const otherMarkers = new Map(); // by person id
  let points = [];
  let encounters = [];
  let encounterMarkers = []; // by index of the encounter
  let namesShown = true;
  let marked = null;
  const unsubscribe = onThemeChange(() => {
    path.setStyle(styles.path());
    encounterMarkers.forEach((marker) => marker.setStyle(styles.encounter()));
  });

  const positionAt = (ms) => {
    let index = points.findLastIndex((each) => each.ms <= ms);
    if (index < 0) index = 0;
    const [from, to] = [points[index], points[index + 1]];
    if (!to || to.ms - from.ms > MAX_GAP_MS) return [from.lat, from.lng];
    const part = Math.max(0, (ms - from.ms) / (to.ms - from.ms));
    return [from.lat + part * (to.lat - from.lat), from.lng + part * (to.lng - from.lng)];
  };

  return {
    /** `mark(index or null)` is called when the pointer enters or leaves an encounter. With `keepView` the map does not move. */
    show(track, newEncounters, mark, keepView) {
      points = [];
      marked = null;
      tip.remove();
      for (const layer of [encounterLayer, othersLayer]) layer.clearLayers();
      otherMarkers.clear();
      me.remove();
      path.setLatLngs([]);
      this.extend(track);
      encounters = newEncounters;
      const lng = (each) => unwrapLongitude(Number(each.longitude), points[0]?.lng ?? 0);
      encounterMarkers = encounters.map((each, index) =>
        L.circleMarker([Number(each.latitude), lng(each)], { renderer, radius: radius(each), ...styles.encounter() })
          .on("mouseover", () => mark(index))
          .on("mouseout", () => mark(null))
          .addTo(encounterLayer),
      );
      if (points.length && !keepView) fitMap(map, path.getLatLngs().flat(), bounds);
    },

    /** Draws the points that `track` has after those that are drawn. */
    extend(track) {
      if (track.length <= points.length) return;
      const segments = path.getLatLngs();
      for (const { ms, lat, lng } of track.slice(points.length)) {
        const last = points.at(-1);
        const point = { ms, lat, lng: unwrapLongitude(lng, last?.lng ?? map.getCenter().lng) };
        if (!last || ms - last.ms > MAX_GAP_MS) segments.push([]);
        segments.at(-1).push([point.lat, point.lng]);
        points.push(point);
      }
      path.setLatLngs(segments);
      if (!map.hasLayer(me)) me.setLatLng(positionAt(points[0].ms)).addTo(map);
    },

    mark(index) {
      marked?.setStyle(styles.encounter());
      marked = encounterMarkers[index];
      tip.remove();
      if (!marked) return;
      marked.setStyle(styles.marked()).bringToFront();
      const { person, from, duration_s } = encounters[index];
      tip.setLatLng(marked.getLatLng()).setContent(`${escapeHtml(nameOf(person))}<br>${exact(from)}, ${duration(duration_s)}`).addTo(map);
    },

    /** Shows the positions at a time. `near`: pairs of a person and their position, null if unknown. */
    showTime(ms, near, follow) {
      if (!points.length) return;
      me.setLatLng(positionAt(ms)).bringToFront();
      map.getContainer().classList.toggle("close", Boolean(follow));
      if (follow) moveByApp(map, () => map.setView(me.getLatLng(), Math.max(map.getZoom(), FOLLOW_ZOOM), { animate: false }));
      const withNames = near.length <= MAX_NAMES && map.getZoom() >= NAMES_ZOOM;
      if (withNames !== namesShown) {
        namesShown = withNames;
        othersLayer.clearLayers();
        otherMarkers.clear();
      }
      const gone = new Set(otherMarkers.keys());
      for (const [person, position] of near) {
        if (!position) continue;
        gone.delete(person.id);
        const at = [position.lat, unwrapLongitude(position.lng, me.getLatLng().lng)];
        if (otherMarkers.has(person.id)) otherMarkers.get(person.id).setLatLng(at);
        else otherMarkers.set(person.id, otherMarker(person, at, withNames).addTo(othersLayer));
      }
      for (const id of gone) {
        othersLayer.removeLayer(otherMarkers.get(id));
        otherMarkers.delete(id);
      }
    },

    remove: unsubscribe,
  };
}

function otherMarker(person, at, withName) {
  const marker = L.circleMarker(at, { radius: 6, className: "other", interactive: false });
  const tooltip = { permanent: true, className: "name", direction: "right", offset: [6, 0] };
  return withName ? marker.bindTooltip(escapeHtml(nameOf(person)), tooltip) : marker;
}

const radius = (encounter) => Math.min(14, 4 + Math.sqrt(encounter.duration_s / 60));

function escapeHtml(text) {
  const element = document.createElement("span");
  element.textContent = text;
  return element.innerHTML;
}
