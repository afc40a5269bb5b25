/** Map layer of the event's zones: outlines by kind, and the names that have room. */
import { unwrapLongitude } from "./geometry.js";

const NAME_HEIGHT_PX = 16;
const NAME_PADDING_PX = 6;
const FONT = "600 12px system-ui, sans-serif"; // as the style sheet has it for .zone-name.hall, the widest
const KINDS = ["hall", "stage", "entrance", "food", "booth", "other"]; // whose names go first
const HALL = "hall"; // other zones are inside of it, so its name is above it

/** `zones`: GeoJSON features. The outlines are below everything but the grid, the names above people and heat. */
export function drawZones(map, zones) {
  if (!zones.length) return;
  map.createPane("zones").style.zIndex = 260;
  map.createPane("zone-names").style.zIndex = 450;
  const renderer = L.svg({ pane: "zones", padding: 0.5 });
  const { lng: origin } = map.getCenter();
  const drawn = zones.map(({ properties: { name, kind }, geometry }) => {
    const rings = geometry.coordinates.map((ring) => ring.map(([lng, lat]) => [lat, unwrapLongitude(lng, origin)]));
    const outline = L.polygon(rings, { renderer, interactive: false, className: `zone ${kind}` }).addTo(map);
    return { name, kind, bounds: outline.getBounds() };
  });
  drawn.sort((one, other) => KINDS.indexOf(one.kind) - KINDS.indexOf(other.kind));
  const names = L.layerGroup().addTo(map);
  const draw = () => {
    names.clearLayers();
    for (const { name, kind, at } of namesWithRoom(map, drawn)) {
      const icon = L.divIcon({ className: `zone-name ${kind}`, html: "", iconSize: null });
      const text = document.createElement("span");
      text.textContent = name;
      L.marker(at, { icon, pane: "zone-names", interactive: false, keyboard: false }).addTo(names).getElement().append(text);
    }
  };
  map.on("moveend resize", draw);
  draw();
}

/** `{name, kind, at}` of the names that fit into the visible part of their zone and cover neither another name nor a
 * control of the map. */
function namesWithRoom(map, zones) {
  const { x: width, y: height } = map.getSize();
  const taken = controlBoxes(map);
  return zones.flatMap(({ name, kind, bounds }) => {
    const [upperLeft, lowerRight] = [bounds.getNorthWest(), bounds.getSouthEast()].map((each) => map.latLngToContainerPoint(each));
    const [left, top] = [Math.max(0, upperLeft.x), Math.max(0, upperLeft.y)];
    const [right, bottom] = [Math.min(width, lowerRight.x), Math.min(height, lowerRight.y)];
    const size = L.point(textWidth(name) + NAME_PADDING_PX, NAME_HEIGHT_PX);
    if (size.x > right - left || size.y > bottom - top) return [];
    const centre = L.point((left + right) / 2, (top + bottom) / 2);
    if (kind === HALL) [centre.x, centre.y] = [left + size.x / 2, Math.max(size.y / 2, top - size.y / 2)];
    const box = L.bounds(centre.subtract(size.divideBy(2)), centre.add(size.divideBy(2)));
    if (taken.some((each) => each.overlaps(box))) return [];
    taken.push(box);
    return [{ name, kind, at: map.containerPointToLatLng(centre) }];
  });
}

function controlBoxes(map) {
  const container = map.getContainer();
  const { left, top } = container.getBoundingClientRect();
  return [...container.querySelectorAll(".leaflet-control")].map((control) => {
    const box = control.getBoundingClientRect();
    return L.bounds([box.left - left, box.top - top], [box.right - left, box.bottom - top]);
  });
}

const widths = new Map(); // by text
let ruler;

function textWidth(text) {
  if (!ruler) {
    ruler = document.createElement("canvas").getContext("2d");
    ruler.font = FONT;
  }
  if (!widths.has(text)) widths.set(text, ruler.measureText(text).width);
  return widths.get(text);
}
