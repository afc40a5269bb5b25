/** The crowd on the map: points on one canvas, or a heat map. */
import { beside, colour, frame, L, onTheme } from "./map.js";

const GRADIENT = { 0.15: "#0b6e63", 0.4: "#3fa796", 0.6: "#f2c14e", 0.8: "#f27f34", 1: "#d7263d" };
const RADIUS_PX = 16;
const BLUR_PX = 12;
const CELL_PX = (RADIUS_PX + BLUR_PX) / 2; // of leaflet.heat, which adds up what falls into one
const HOT = 0.98; // this part of the cells is below the warmest colour

const fit = (map, points) =>
  frame(map, () => map.fitBounds(L.latLngBounds(points).pad(0.1), { maxZoom: 20, animate: false }));

/** `tell(id, ms)` brings the content of a chosen point's popup. With `keep` the map stays where it is. */
export function drawPeople(map, tell, keep) {
  const renderer = L.canvas({ padding: 0.2 });
  const group = L.layerGroup().addTo(map);
  const style = () => ({ color: colour("--ground"), fillColor: colour("--accent") });
  const shown = new Map(); // markers by person
  let origin = null; // the first longitude, beside which all others are put
  let now = 0;
  const off = onTheme(() => shown.forEach((marker) => marker.setStyle(style())));
  const popup = async (id, marker) => {
    marker.unbindPopup().bindPopup("…").openPopup();
    marker.setPopupContent(await tell(id, now).catch((fault) => fault.message));
  };
  return {
    show(people) {
      const gone = new Set(shown.keys());
      const look = { renderer, radius: people.length > 2000 ? 3 : 5, weight: 1, fillOpacity: 0.9, ...style() };
      const first = origin === null && people.length > 0;
      if (first) origin = people[0].lng;
      for (const { id, lat, lng, ms } of people) {
        now = ms;
        gone.delete(id);
        const at = [lat, beside(lng, origin)];
        if (shown.has(id)) {
          shown.get(id).setLatLng(at);
        } else {
          const marker = L.circleMarker(at, look).addTo(group);
          marker.on("click", () => popup(id, marker));
          shown.set(id, marker);
        }
      }
      for (const id of gone) {
        group.removeLayer(shown.get(id));
        shown.delete(id);
      }
      if (first && !keep) fit(map, [...shown.values()].map((marker) => marker.getLatLng()));
    },
    remove() {
      off();
      group.remove();
      renderer.remove();
    },
  };
}

export function drawHeat(map, keep) {
  const layer = L.heatLayer([], { radius: RADIUS_PX, blur: BLUR_PX, gradient: GRADIENT, minOpacity: 0.25, maxZoom: 0 }).addTo(map);
  let points = [];
  let fitted = false;
  const scale = () => layer.setOptions({ max: warmest(map, points) });
  map.on("zoomend", scale);
  return {
    show(pings) {
      points = pings.map(({ lat, lng }) => [lat, beside(lng, pings[0].lng)]);
      if (!fitted && points.length) {
        if (!keep) fit(map, points);
        fitted = true;
      }
      scale();
      layer.setLatLngs(points);
    },
    remove() {
      map.off("zoomend", scale);
      // The layer would still draw in the next frame, on a map that it no longer has.
      L.Util.cancelAnimFrame(layer._frame);
      layer.remove();
    },
  };
}

/** How many pings a cell of the map has where it is about as crowded as it gets. */
function warmest(map, points) {
  const zoom = map.getZoom();
  const cells = new Map();
  for (const point of points) {
    const { x, y } = map.project(point, zoom);
    const cell = `${Math.floor(x / CELL_PX)} ${Math.floor(y / CELL_PX)}`;
    cells.set(cell, (cells.get(cell) ?? 0) + 1);
  }
  const counts = [...cells.values()].sort((one, other) => one - other);
  return counts[Math.floor((counts.length - 1) * HOT)] || 1;
}
