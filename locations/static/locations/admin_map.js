/* Draws the data of #map-data: a ping, the track of its person around it, and the pings of others near it.
   The background is a grid in metres: there may be no network to load tiles from. */
"use strict";
{
    const data = JSON.parse(document.getElementById("map-data").textContent);
    const [lat0, lon0] = data.track.find((point) => point[3] === data.ping);
    const EARTH_M = 6378137;
    const metresPerDegree = (Math.PI / 180) * EARTH_M;
    const lonScale = Math.max(Math.cos((lat0 * Math.PI) / 180), 1e-6);

    // Longitudes continue across the 180th meridian, so that the track does not go round the world.
    const unwrapped = ([lat, lon]) => [lat, lon - 360 * Math.round((lon - lon0) / 360)];

    const map = L.map("map", { minZoom: 1, maxZoom: 24, zoomSnap: 0.5, attributionControl: false });
    L.control.scale({ imperial: false, maxWidth: 160 }).addTo(map);

    // --- the grid: lines every 1, 2 or 5 times a power of ten metres, with the ping as origin ----------

    const grid = L.layerGroup().addTo(map);
    const unit = L.DomUtil.create("div", "map-unit");
    const legend = L.control({ position: "bottomright" });
    legend.onAdd = () => unit;
    legend.addTo(map);

    const niceStep = (least) => {
        const ten = 10 ** Math.floor(Math.log10(least));
        return [1, 2, 5, 10].map((factor) => factor * ten).find((step) => step >= least);
    };

    const drawGrid = () => {
        grid.clearLayers();
        const view = map.getBounds().pad(0.2);
        const width_m = (view.getEast() - view.getWest()) * metresPerDegree * lonScale;
        const step_m = niceStep((width_m / map.getSize().x) * 60);
        unit.textContent = step_m >= 1000 ? `grid ${step_m / 1000} km` : `grid ${step_m} m`;
        const line = (points) => L.polyline(points, { className: "map-grid", weight: 1, interactive: false });
        const each = (low, high, origin, step, draw) => {
            for (let n = Math.ceil((low - origin) / step); origin + n * step <= high && n < 1e6; n++) {
                grid.addLayer(draw(origin + n * step));
            }
        };
        const [south, north, west, east] = [view.getSouth(), view.getNorth(), view.getWest(), view.getEast()];
        each(south, north, lat0, step_m / metresPerDegree, (lat) => line([[lat, west], [lat, east]]));
        each(west, east, lon0, step_m / metresPerDegree / lonScale, (lon) => line([[south, lon], [north, lon]]));
    };

    // --- people ----------------------------------------------------------------------------------------

    const dot = (point, label, options) => {
        const marker = L.circleMarker(unwrapped(point), { weight: 1, ...options });
        marker.bindTooltip(() => {
            const text = document.createElement("span"); // textContent: a name may look like HTML
            text.textContent = `${label}, ${point[2]} UTC`;
            return text;
        });
        marker.on("click", () => window.location.assign(data.url.replace("LOCATION", point[3])));
        return marker.addTo(map);
    };

    for (const other of data.others) {
        const dots = other.points.map((point) => dot(point, other.person, { className: "map-other", radius: 4 }));
        const mark = (on) => dots.forEach((each) => each.getElement().classList.toggle("map-marked", on));
        dots.forEach((each) => each.on("mouseover", () => mark(true)).on("mouseout", () => mark(false)));
    }
    const track = L.polyline(data.track.map(unwrapped), { className: "map-own-line", weight: 2, interactive: false });
    track.addTo(map);
    for (const point of data.track) {
        const isThis = point[3] === data.ping;
        dot(point, isThis ? "This ping" : "The same person", {
            className: isThis ? "map-here" : "map-own",
            radius: isThis ? 9 : 4,
        });
    }

    map.fitBounds(track.getBounds().pad(0.15), { maxZoom: 21 });
    drawGrid();
    map.on("moveend", drawGrid);
}
