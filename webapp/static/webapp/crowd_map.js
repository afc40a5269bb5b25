/** Map layers of the crowd: one point per person, or a heat map. */
import { once } from "./api.js";
import { unwrapLongitude } from "./geometry.js";
import { canvas, cssColour, fitMap, loadLeaflet, onThemeChange } from "./map.js";

const GRADIENT = { 0.15: "#0b6e63", 0.4: "#3fa796", 0.6: "#f2c14e", 0.8: "#f27f34", 1: "#d7263d" };
const RADIUS_PX = 16;
const BLUR_PX = 12;
const CELL_PX = (RADIUS_PX + BLUR_PX) / 2; // leaflet.heat adds up the points in cells of this size
const HOTTEST_QUANTILE = 0.98; // cells from this quantile on have the hottest colour

/** Adds L.heatLayer to Leaflet. */
export const loadHeatLayer = once(async () => {
  await loadLeaflet();
  return import("../vendor/leaflet.heat/leaflet-heat.js");
});

/** `popupContent(id, ms, accuracy)` resolves to the content of a point's popup. With `keepView` the map does
 * not move. `bounds`: those of the event. */
export function drawPeople(map, popupContent, keepView, bounds) {
  const renderer = canvas({ padding: 0.2 });
  const group = L.layerGroup().addTo(map);
  const style = () => ({ color: cssColour("--ground"), fillColor: cssColour("--accent") });
  const markers = new Map(); // by person id
  const accuracies = new Map(); // by person id
  let originLng = null; // of the first point; all others are unwrapped to it
  let now = 0;
  const unsubscribe = onThemeChange(() => markers.forEach((marker) => marker.setStyle(style())));
  const openPopup = async (id, marker) => {
    marker.unbindPopup().bindPopup("…").openPopup();
    marker.setPopupContent(await popupContent(id, now, accuracies.get(id)).catch((error) => error.message));
  };
  return {
    show(people) {
      const gone = new Set(markers.keys());
      const look = { renderer, radius: people.length > 2000 ? 3 : 5, weight: 1, fillOpacity: 0.9, ...style() };
      const first = originLng === null && people.length > 0;
      if (first) originLng = unwrapLongitude(people[0].lng, map.getCenter().lng);
      for (const { id, lat, lng, ms, accuracy } of people) {
        now = ms;
        accuracies.set(id, accuracy);
        gone.delete(id);
        const at = [lat, unwrapLongitude(lng, originLng)];
        if (markers.has(id)) {
          markers.get(id).setLatLng(at);
        } else {
          const marker = L.circleMarker(at, look).addTo(group);
          marker.on("click", () => openPopup(id, marker));
          markers.set(id, marker);
        }
      }
      for (const id of gone) {
        group.removeLayer(markers.get(id));
        markers.delete(id);
        accuracies.delete(id);
      }
      if (first && !keepView) fitMap(map, [...markers.values()].map((marker) => marker.getLatLng()), bounds);
    },
    remove() {
      unsubscribe();
      group.remove();
      renderer.remove();
    },
  };
}

/** With `keepView` the map does not move. `bounds`: those of the event. */
export function drawHeat(map, keepView, bounds) {
  const layer = L.heatLayer([], { radius: RADIUS_PX, blur: BLUR_PX, gradient: GRADIENT, minOpacity: 0.25, maxZoom: 0 }).addTo(map);
  let points = [];
  let fitted = false;
  const setScale = () => layer.setOptions({ max: hottestCount(map, points) });
  map.on("zoomend", setScale);
  return {
    /** `cells` of the API. */
    show(cells) {
      const origin = map.getCenter().lng;
      points = cells.map((each) => [Number(each.latitude), unwrapLongitude(Number(each.longitude), origin), each.person_minutes]);
      if (!fitted && points.length) {
        if (!keepView) fitMap(map, points, bounds);
        fitted = true;
      }
      setScale();
      layer.setLatLngs(points);
    },
    remove() {
      map.off("zoomend", setScale);
      // Otherwise the layer draws in the next frame, when it has no map.
      L.Util.cancelAnimFrame(layer._frame);
      layer.remove();
    },
  };
}

/** Person-minutes per cell of the map that get the hottest colour: HOTTEST_QUANTILE over these cells. */
function hottestCount(map, points) {
  const zoom = map.getZoom();
  const cells = new Map();
  for (const point of points) {
    const { x, y } = map.project(point, zoom);
    const cell = `${Math.floor(x / CELL_PX)} ${Math.floor(y / CELL_PX)}`;
    cells.set(cell, (cells.get(cell) ?? 0) + point[2]);
  }
  const counts = [...cells.values()].sort((one, other) => one - other);
  return counts[Math.floor((counts.length - 1) * HOTTEST_QUANTILE)] || 1;
}
