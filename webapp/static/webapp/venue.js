/** The event and its zones, as the API describes them. The page asks for each once. */
import { get, once } from "./api.js";
import { setTimeZone } from "./format.js";

/** `{name, time_zone, first_day, last_day, bounds}`. Without a stored event `first_day` is null. From then on days and
 * times are those of the event's time zone. */
export const loadEvent = once(async () => {
  const event = await get("/api/event");
  if (event.first_day) setTimeZone(event.time_zone);
  return event;
});

/** The GeoJSON features of the zones. */
export const loadZones = once(async () => (await get("/api/zones")).features);
