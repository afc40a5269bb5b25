/** The map: Leaflet on tiles where the operator names some, else on plain ground with a grid in metres. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";

const { tiles, tilesAttribution } = document.documentElement.dataset;
const METRES_A_DEGREE = 111_320;
const EQUATOR_M = 40_075_017;
const LINE_EVERY_PX = 90;
const MAX_ZOOM = 22; // where a metre has some 20 pixels in middle latitudes

export const L = globalThis.L;

/** A longitude, written as it is nearest to another: what crosses the 180th meridian stays in one piece. */
export const beside = (lng, other) => lng + 360 * Math.round((other - lng) / 360);

/** A colour of the page's style, such as "--accent", for what is drawn on a canvas. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Calls back when the reader turns from light to dark or back. */
export function onTheme(callback) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", callback);
  return () => dark.removeEventListener("change", callback);
}

const framed = new WeakSet(); // maps that are being moved by the app

/** Moves the map by `move(map)`: not the reader's doing, so nothing that the address is to keep. */
export function frame(map, move) {
  framed.add(map);
  move(map);
  framed.delete(map);
}

/** `ready(map)` is called once, and may return what is to be called at the end. `view` is what `onView(view)` told
 * when the reader last moved the map: latitude, longitude and zoom. */
export function MapView({ label, ready, view, onView }) {
  const place = useRef(null);
  const told = useRef(null);
  told.current = onView;
  const [map, setMap] = useState(null);
  useEffect(() => {
    const made = L.map(place.current, { maxZoom: MAX_ZOOM, zoomSnap: 0.5, zoomControl: false });
    const [lat, lng, zoom] = (view ?? "").split(",").map(Number);
    made.setView(Number.isFinite(zoom) ? [lat, lng] : [30, 10], Number.isFinite(zoom) ? zoom : 2);
    made.on("moveend", () => {
      const centre = made.getCenter();
      if (!framed.has(made)) told.current([centre.lat.toFixed(6), centre.lng.toFixed(6), made.getZoom()].join(","));
    });
    L.control.zoom({ position: "topright" }).addTo(made);
    L.control.scale({ imperial: false }).addTo(made);
    if (tiles) L.tileLayer(tiles, { attribution: tilesAttribution, maxZoom: MAX_ZOOM, maxNativeZoom: 19 }).addTo(made);
    grid(made);
    const resized = new ResizeObserver(() => frame(made, () => made.invalidateSize({ pan: false })));
    resized.observe(place.current);
    setMap(made);
    return () => {
      resized.disconnect();
      made.remove();
    };
  }, []);
  useEffect(() => (map ? ready(map) : undefined), [map]);
  return html`<div class="map" role="region" aria-label=${label} ref=${place}></div>`;
}

function grid(map) {
  map.createPane("grid").style.zIndex = 250; // above tiles, below everything else
  const renderer = L.svg({ pane: "grid", padding: 0.5 });
  const lines = L.layerGroup().addTo(map);
  const line = (from, to) =>
    L.polyline([from, to], { renderer, pane: "grid", interactive: false, className: "grid-line" }).addTo(lines);
  const draw = () => {
    lines.clearLayers();
    const { lat } = map.getCenter();
    const shrunk = Math.cos((Math.min(85, Math.round(Math.abs(lat))) * Math.PI) / 180); // by whole degrees: lines stay
    const metresPerPixel = (EQUATOR_M * shrunk) / 2 ** (map.getZoom() + 8);
    const step = rounded(LINE_EVERY_PX * metresPerPixel);
    map.attributionControl.setPrefix(`grid ${step < 1000 ? `${step} m` : `${step / 1000} km`}`);
    const bounds = map.getBounds().pad(0.5);
    const [south, north] = [Math.max(-85, bounds.getSouth()), Math.min(85, bounds.getNorth())];
    const [west, east] = [bounds.getWest(), bounds.getEast()];
    const [high, wide] = [step / METRES_A_DEGREE, step / METRES_A_DEGREE / shrunk];
    for (let n = Math.ceil(south / high); n * high < north; n++) line([n * high, west], [n * high, east]);
    for (let n = Math.ceil(west / wide); n * wide < east; n++) line([south, n * wide], [north, n * wide]);
  };
  map.on("moveend", draw);
  draw();
}

/** The next of 1, 2, 5, 10, 20, 50, …; at least one. */
function rounded(number) {
  const power = 10 ** Math.max(0, Math.floor(Math.log10(number)));
  return power * [1, 2, 5, 10].find((each) => each * power >= number);
}
