/** What is shown, as a file to keep. */

/** `rows` of plain values under `columns`, as RFC 4180 has it. */
export function csv(columns, rows) {
  const lines = [columns, ...rows].map((row) => row.map(cell).join(","));
  return new Blob([`${lines.join("\r\n")}\r\n`], { type: "text/csv" });
}

function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`; // a spreadsheet would compute it
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Features are `[geometry type, coordinates, properties]`, coordinates longitude first. */
export function geojson(features) {
  const made = features.map(([type, coordinates, properties]) => ({
    type: "Feature",
    geometry: { type, coordinates },
    properties,
  }));
  return new Blob([JSON.stringify({ type: "FeatureCollection", features: made })], { type: "application/geo+json" });
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // when the browser has surely begun to read it
}
