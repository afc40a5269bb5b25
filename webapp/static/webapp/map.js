/** The Leaflet map: on tiles if the operator configures a tile server, else on a plain ground with a metric grid. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";

const { tiles, tilesAttribution } = document.documentElement.dataset;
const METRES_PER_DEGREE = 111_320;
const EQUATOR_M = 40_075_017;
const GRID_LINE_EVERY_PX = 90;
const MAX_ZOOM = 22; // a metre has about 20 pixels in middle latitudes

export const L = globalThis.L;

/** The longitude plus or minus whole turns, as near as possible to another, so that tracks over the 180th meridian
 * stay in one piece. */
export const unwrapLongitude = (lng, other) => lng + 360 * Math.round((other - lng) / 360);

/** A canvas to draw on. Leaflet may forget to cancel a frame when the canvas goes, and would then draw without one. */
export function canvas(options) {
  const renderer = L.canvas(options);
  const redraw = renderer._redraw;
  renderer._redraw = function () {
    if (this._ctx) redraw.call(this);
  };
  return renderer;
}

/** The value of a colour variable of the style sheet, such as "--accent", for drawing on a canvas. */
export const cssColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Calls back when the colour scheme changes between light and dark. Returns the unsubscribe function. */
export function onThemeChange(callback) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", callback);
  return () => dark.removeEventListener("change", callback);
}

const movedByApp = new WeakSet(); // maps that the app is moving now

/** Runs `move(map)` without a call of `onView`: the address keeps only moves of the user. */
export function moveByApp(map, move) {
  movedByApp.add(map);
  move(map);
  movedByApp.delete(map);
}

/** `ready(map)` is called once and may return a cleanup function. `view` and `onView(view)`: "latitude,longitude,zoom"
 * after the user's last move. */
export function MapView({ label, ready, view, onView }) {
  const container = useRef(null);
  const latestOnView = useRef(null);
  latestOnView.current = onView;
  const [map, setMap] = useState(null);
  useEffect(() => {
    const created = L.map(container.current, { maxZoom: MAX_ZOOM, zoomSnap: 0.5, zoomControl: false });
    const [lat, lng, zoom] = (view ?? "").split(",").map(Number);
    created.setView(Number.isFinite(zoom) ? [lat, lng] : [30, 10], Number.isFinite(zoom) ? zoom : 2);
    created.on("moveend", () => {
      const centre = created.getCenter();
      if (!movedByApp.has(created)) latestOnView.current([centre.lat.toFixed(6), centre.lng.toFixed(6), created.getZoom()].join(","));
    });
    L.control.zoom({ position: "topright" }).addTo(created);
    L.control.scale({ imperial: false }).addTo(created);
    if (tiles) L.tileLayer(tiles, { attribution: tilesAttribution, maxZoom: MAX_ZOOM, maxNativeZoom: 19 }).addTo(created);
    addGrid(created);
    const observer = new ResizeObserver(() => moveByApp(created, () => created.invalidateSize({ pan: false })));
    observer.observe(container.current);
    setMap(created);
    return () => {
      observer.disconnect();
      created.remove();
    };
  }, []);
  useEffect(() => (map ? ready(map) : undefined), [map]);
  return html`<div class="map" role="region" aria-label=${label} ref=${container}></div>`;
}

function addGrid(map) {
  map.createPane("grid").style.zIndex = 250; // above tiles, below everything else
  const renderer = L.svg({ pane: "grid", padding: 0.5 });
  const lines = L.layerGroup().addTo(map);
  const addLine = (from, to) =>
    L.polyline([from, to], { renderer, pane: "grid", interactive: false, className: "grid-line" }).addTo(lines);
  const draw = () => {
    lines.clearLayers();
    const { lat } = map.getCenter();
    // Rounded to whole degrees, so that the lines stay in place while the map moves.
    const shrink = Math.cos((Math.min(85, Math.round(Math.abs(lat))) * Math.PI) / 180);
    const metresPerPixel = (EQUATOR_M * shrink) / 2 ** (map.getZoom() + 8);
    const step = roundUp(GRID_LINE_EVERY_PX * metresPerPixel);
    map.attributionControl.setPrefix(`grid ${step < 1000 ? `${step} m` : `${step / 1000} km`}`);
    const bounds = map.getBounds().pad(0.5);
    const [south, north] = [Math.max(-85, bounds.getSouth()), Math.min(85, bounds.getNorth())];
    const [west, east] = [bounds.getWest(), bounds.getEast()];
    const [height, width] = [step / METRES_PER_DEGREE, step / METRES_PER_DEGREE / shrink];
    for (let n = Math.ceil(south / height); n * height < north; n++) addLine([n * height, west], [n * height, east]);
    for (let n = Math.ceil(west / width); n * width < east; n++) addLine([south, n * width], [north, n * width]);
  };
  map.on("moveend", draw);
  draw();
}

/** The next number of the series 1, 2, 5, 10, 20, 50, …; at least 1. */
function roundUp(number) {
  const power = 10 ** Math.max(0, Math.floor(Math.log10(number)));
  return power * [1, 2, 5, 10].find((each) => each * power >= number);
}
