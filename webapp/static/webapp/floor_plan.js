/** The floor plan with the people who were there at one time. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { ErrorNote } from "./components.js";
import { QUARTER_MS } from "./day_curves.js";
import { clock, plural } from "./format.js";
import { unwrapLongitude } from "./geometry.js";
import { canvas, cssColour, fitMap, MapView, onThemeChange } from "./map.js";

/** `people`: the load of their positions at the time `at`; null means now. `rows`: the quarters of an hour of the day, which
 * the slider goes through. `choose(ms)` chooses a time, null the usual one. */
export function FloorPlan({ event, people, at, rows, chosen, live, caption, choose, crowdLink }) {
  const [map, setMap] = useState(null);
  const layer = useRef(null);
  const [moved, setMoved] = useState(null); // of the slider, until it is released
  useEffect(() => {
    if (!map) return undefined;
    layer.current = drawPositions(map, event.bounds);
    return () => {
      layer.current.remove();
      layer.current = null;
    };
  }, [map]);
  useEffect(() => void (people.value && layer.current?.show(people.value.map(({ location }) => location))), [map, people.value]);
  useEffect(() => setMoved(null), [at]);
  const [first, last] = [rows?.[0]?.ms, rows?.at(-1)?.ms].map((ms) => ms + QUARTER_MS / 2);
  const shown = moved ?? at ?? last;
  return html`<section class="card plan" aria-label="Floor plan">
    <header><h2>Floor plan</h2> <p class="soft" role="status">${people.value ? `${plural(people.value.length, "person", "people")} ${moved ? "" : caption}` : "…"}</p>
      <a href=${crowdLink}>Open in the crowd view</a></header>
    <${MapView} label="Floor plan with people" bounds=${event.bounds} onView=${() => {}} ready=${(created) => {
      setMap(created);
      return () => setMap(null);
    }}/>
    ${rows?.length ? html`<p class="time"><input type="range" aria-label="Time" aria-valuetext=${clock(shown)} min=${first} max=${last} step=${QUARTER_MS} value=${shown}
        onInput=${(event) => setMoved(Number(event.target.value))} onChange=${(event) => choose(Number(event.target.value))}/>
      <output aria-live="off">${at || moved ? clock(shown) : "now"}</output>
      ${chosen ? html`<button type="button" onClick=${() => choose(null)}>${live ? "Now" : "Busiest time"}</button>` : null}</p>` : null}
    ${people.error ? html`<${ErrorNote} key=${people.error} error=${people.error} reload=${people.reload}/>` : null}
  </section>`;
}

/** A layer of points, not for the pointer. */
function drawPositions(map, bounds) {
  const renderer = canvas({ padding: 0.2 });
  const points = L.layerGroup().addTo(map);
  let positions = [];
  let fitted = false;
  const draw = () => {
    const look = { renderer, radius: positions.length > 500 ? 3 : 4, weight: 1, fillOpacity: 0.85, interactive: false, color: cssColour("--raised"), fillColor: cssColour("--accent") };
    points.clearLayers();
    for (const at of positions) L.circleMarker(at, look).addTo(points);
  };
  const unsubscribe = onThemeChange(draw);
  return {
    /** `locations` of the API. */
    show(locations) {
      const origin = map.getCenter().lng;
      positions = locations.map(({ latitude, longitude }) => [Number(latitude), unwrapLongitude(Number(longitude), origin)]);
      draw();
      if (!fitted && positions.length) {
        fitMap(map, positions, bounds);
        fitted = true;
      }
    },
    remove() {
      unsubscribe();
      points.remove();
      renderer.remove();
    },
  };
}
