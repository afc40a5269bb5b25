/** Downloads of the data on the page. */

/** CSV of RFC 4180. `rows` are arrays of plain values. */
export function csv(columns, rows) {
  const lines = [columns, ...rows].map((row) => row.map(cell).join(","));
  return new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" });
}

function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // otherwise a spreadsheet runs it as a formula
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** `features`: `[geometry type, coordinates, properties]`, with the longitude first. */
export function geojson(features) {
  const items = features.map(([type, coordinates, properties]) => ({
    type: "Feature",
    geometry: { type, coordinates },
    properties,
  }));
  return new Blob([JSON.stringify({ type: "FeatureCollection", features: items })], { type: "application/geo+json" });
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // by then the browser has started to read it
}
