/* Asks the first questions of a view while its scripts load. request() of api.js takes the answers. */
(() => {
  const { api, access } = document.documentElement.dataset;
  const [, id] = /^\/people\/(\d+)$/.exec(location.pathname) ?? [];
  const query = new URLSearchParams(location.search);
  const isOverview = location.pathname === "/" && !query.has("search");
  let credential, isKnown;
  try {
    credential = access === "open" ? access : localStorage.getItem("connect.shown");
    isKnown = access === "open" || localStorage.getItem("connect.caller");
  } catch {} // a browser that stores nothing has no credential yet
  if (!credential || location.hash || !(id || isOverview || location.pathname === "/crowd")) return;
  const isToken = credential !== "open" && credential !== "session";
  const options = {
    headers: { Accept: "application/json", ...(isToken ? { Authorization: `Bearer ${credential}` } : {}) },
    ...(credential === "session" ? { credentials: "include" } : {}),
  };
  const answers = new Map(); // by URL
  globalThis.early = { credential, answers };
  const ask = async (path, parameters = {}) => {
    const url = `${api}${path}?${new URLSearchParams(parameters)}`;
    answers.set(url, fetch(url, options));
    const response = await answers.get(url);
    const answer = await response.clone().json();
    if (!response.ok || !answers.has(url)) throw new Error("The scripts of the page go on from here.");
    return answer;
  };
  const isoTime = (ms) => new Date(ms).toISOString();
  const ofPerson = id ? { person_id: id } : {};
  const askForSums = ({ start }, { end }) => {
    const asked = { start_date: start, end_date: end };
    const met = { ...asked, min_duration: 300 };
    return Promise.all([
      ask("/api/encounters/summary", { by: "quarter_hour", ...met }),
      ask("/api/encounters/summary", { by: "company", ...met }),
      ask("/api/encounters/summary", { by: "pair", ...met, limit: 10 }),
      ask("/api/zones/visits", asked),
    ]);
  };
  const askForDay = async () => {
    // Most people are at the event: its time zone is then that of their browser.
    const { timeZone: here } = Intl.DateTimeFormat().resolvedOptions();
    const askForDays = (zone) => ask("/api/days", { ...ofPerson, time_zone: zone });
    const [{ first_day, last_day, time_zone }, daysHere] = await Promise.all([ask("/api/event"), askForDays(here)]);
    const timeZone = first_day ? time_zone : here;
    const days = timeZone === here ? daysHere : await askForDays(timeZone);
    const day = days.findLast((each) => first_day <= each.day && each.day <= last_day);
    if (!day || query.has("start")) return;
    const live = day.day === Intl.DateTimeFormat("sv-SE", { timeZone }).format(); // Swedish uses the ISO format
    const [first, end] = [Date.parse(day.first), Date.parse(day.last) + 1];
    const [start, stop] = [{ start: isoTime(first) }, { end: isoTime(end) }];
    const lastShown = Math.max(end, first + 60_000);
    if (isOverview) await (live || query.has("min_duration") ? null : askForSums(start, stop));
    else if (id) await ask("/api/locations", { limit: 10_000, ...ofPerson, ...start, ...(live ? {} : stop) });
    else if (query.get("show") === "heat") await (live ? null : ask("/api/heat", { ...start, ...stop, cell_m: 5 }));
    else await ask("/api/positions", { at: isoTime(live ? lastShown : (first + lastShown) / 2), max_age: 120 });
  };
  const asked = [askForDay()];
  if (!isKnown) asked.push(ask("/api/caller"));
  if (id) asked.push(ask(`/api/persons/${id}`));
  if (isOverview) asked.push(ask("/api/zones"));
  Promise.allSettled(asked); // request() reports the errors of the API
})();
