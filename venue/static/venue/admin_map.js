/* Draws the area of a zone: the map and the GeoJSON in the text field show the same polygon. The data of
   #map-data are the other zones and what the map shows first. */
"use strict";
{
    const data = JSON.parse(document.getElementById("map-data").textContent);
    const field = document.getElementById("id_area"); // absent for a user who may only view
    const message = document.getElementById("map-message");
    const DIGITS = 7; // decimals of a degree: a centimetre

    L.Marker.mergeOptions({ keyboard: false }); // corners that only a mouse moves take no focus
    const map = L.map("map", { maxZoom: 24, zoomSnap: 0.5, attributionControl: Boolean(data.tiles) });
    L.control.scale({ imperial: false, maxWidth: 160 }).addTo(map);
    if (data.tiles) {
        L.tileLayer(data.tiles, { attribution: data.attribution, maxZoom: 24, maxNativeZoom: 19 }).addTo(map);
    }

    const others = L.geoJSON(data.others, {
        pmIgnore: true,
        style: { className: "zone-other", weight: 1 },
        onEachFeature: (feature, layer) => {
            layer.bindTooltip(() => {
                const text = document.createElement("span"); // textContent: a name may look like HTML
                text.textContent = feature.properties.name;
                return text;
            }, { sticky: true });
        },
    });

    const boxOf = ([west, south, east, north]) =>
        L.latLngBounds([south, west], [north, east < west ? east + 360 : east]);
    const boundsOf = (geometry) => (geometry ? L.geoJSON(geometry).getBounds() : L.latLngBounds([]));
    const boxes = [boundsOf(data.own), ...(data.bounds ? [boxOf(data.bounds)] : []), others.getBounds()];
    const box = boxes.find((each) => each.isValid());
    if (box) map.fitBounds(box.pad(0.2));
    else map.setView([20, 0], 2);
    others.addTo(map);
    // Up to a thousand zones stay out of the tab order; the list of zones has their names.
    others.eachLayer((layer) => layer.getElement()?.setAttribute("tabindex", "-1"));

    // --- this zone: one polygon, or none ---------------------------------------------------------------

    let own = null;

    const show = (polygon) => {
        own?.remove();
        own = polygon;
        if (!own) return;
        own.addTo(map);
        own.getElement()?.classList.add("zone-own");
        // Dragged corners and points, removed points, and cut holes. A cut makes a new layer.
        own.on("pm:edit pm:dragend", write);
        own.on("pm:cut", (event) => {
            const pieces = event.layer.toGeoJSON(DIGITS).geometry;
            if (pieces?.type !== "Polygon") {
                event.layer.remove();
                message.textContent = "A zone is one area. Cut so that one piece is left.";
                read();
                return;
            }
            show(polygonOf(pieces, event.layer));
            write();
        });
        own.on("pm:remove", () => {
            own = null;
            write();
        });
    };

    const polygonOf = (geometry, replaced) => {
        replaced?.remove();
        const [layer] = L.geoJSON(geometry, { style: { className: "zone-own", weight: 2 } }).getLayers();
        return layer;
    };

    const write = () => {
        message.textContent = "";
        field.value = own ? JSON.stringify(own.toGeoJSON(DIGITS).geometry) : "";
    };

    const read = () => {
        const text = field.value.trim();
        try {
            const geometry = text ? JSON.parse(text) : null;
            if (geometry && geometry.type !== "Polygon") throw new Error("not a Polygon");
            show(geometry && polygonOf(geometry));
            message.textContent = "";
        } catch {
            show(null);
            message.textContent = "The text is no GeoJSON Polygon, so the map does not show it.";
        }
    };

    if (field) {
        map.pm.setLang("zone", {
            buttonTitles: {
                drawPolyButton: "Draw a polygon",
                drawRectButton: "Draw a rectangle",
                editButton: "Change the corners",
                dragButton: "Move the area",
                cutButton: "Cut a hole",
                deleteButton: "Remove the area",
            },
        }, "en");
        map.pm.addControls({
            position: "topleft",
            drawMarker: false,
            drawCircle: false,
            drawCircleMarker: false,
            drawPolyline: false,
            drawText: false,
            rotateMode: false,
        });
        for (const control of document.querySelectorAll("#map .leaflet-pm-toolbar .button-container")) {
            control.querySelector("a").setAttribute("aria-label", control.title); // its icon has no name
        }
        map.pm.setGlobalOptions({ allowSelfIntersection: false, limitMarkersToCount: 200 });
        map.on("pm:create", ({ layer }) => {
            show(polygonOf(layer.toGeoJSON(DIGITS).geometry, layer));
            write();
        });
        field.addEventListener("input", read);
        read();
    } else if (data.own) {
        show(polygonOf(data.own));
    }
}
