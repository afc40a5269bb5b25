/** The Leaflet map: on tiles if the operator configures a tile server, else on a plain ground with a metric grid. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { once } from "./api.js";
import { drawZones } from "./zone_map.js";
import { loadZones } from "./venue.js";

const { tiles, tilesAttribution } = document.documentElement.dataset;
const METRES_PER_DEGREE = 111_320;
const EQUATOR_M = 40_075_017;
const GRID_LINE_EVERY_PX = 90;
const PADDING_PX = 20; // around the event
const MAX_ZOOM = 22; // a metre has about 20 pixels in middle latitudes

const FIT = { maxZoom: MAX_ZOOM - 1, padding: [PADDING_PX, PADDING_PX], animate: false };

/** Sets the global L. Only views with a map load it. */
export const loadLeaflet = once(() => import("../vendor/leaflet/leaflet.js"));

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

/** The corners of the event's bounds `[west, south, east, north]` as Leaflet has them. */
const toLatLngBounds = ([west, south, east, north]) => L.latLngBounds([south, west], [north, east < west ? east + 360 : east]);

/** Fits the map to the event's bounds if one of the points is inside, else to the points. */
export function fitMap(map, points, bounds) {
  const event = bounds && toLatLngBounds(bounds);
  const isInside = event && points.some((each) => event.contains(each));
  if (isInside && map.getBounds().contains(event) && map.getZoom() === map.getBoundsZoom(event, false, L.point(FIT.padding).multiplyBy(2))) return;
  moveByApp(map, () => map.fitBounds(isInside ? event : L.latLngBounds(points).pad(0.1), FIT));
}

/** `ready(map)` is called once and may return a cleanup function. `view` and `onView(view)`: "latitude,longitude,zoom"
 * after the user's last move. `bounds`: those of the event. */
export function MapView({ label, ready, view, onView, bounds }) {
  const container = useRef(null);
  const latestOnView = useRef(null);
  latestOnView.current = onView;
  const [map, setMap] = useState(null);
  const [error, setError] = useState(null);
  const create = () => {
    const created = L.map(container.current, { maxZoom: MAX_ZOOM, zoomSnap: 0.5, zoomControl: false });
    const [lat, lng, zoom] = (view ?? "").split(",").map(Number);
    if (Number.isFinite(zoom)) created.setView([lat, lng], zoom);
    else if (bounds) created.fitBounds(toLatLngBounds(bounds), FIT);
    else created.setView([30, 10], 2);
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
    created.on("unload", () => observer.disconnect());
    loadZones().then((zones) => container.current && drawZones(created, zones), () => {}); // a map without zones is of use
    setMap(created);
    return created;
  };
  useEffect(() => {
    let created;
    loadLeaflet().then(() => container.current && (created = create()), setError);
    return () => created?.remove();
  }, []);
  useEffect(() => (map ? ready(map) : undefined), [map]);
  return html`<div class="map" role="region" aria-label=${label} ref=${container}>${error ? "The map cannot be loaded. Reload the page." : null}</div>`;
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
