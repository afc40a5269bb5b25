/** What is shown to the API: a token, kept in this browser until it is given back or refused; of staff the session at
 * the admin site, whose cookie no script can read, so that only the word is kept that it counts. */

const KEY = "connect.shown";

export const OPEN = document.documentElement.dataset.access === "open"; // nobody need show anything
export const SESSION = "session";

let here = null; // where the browser keeps nothing for pages

export function shown() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return here;
  }
}

/** From now on; null: nothing. */
export function show(what) {
  here = what;
  try {
    if (what) localStorage.setItem(KEY, what);
    else localStorage.removeItem(KEY);
  } catch {
    // Until this page is left, then.
  }
}

/** What a link brings along: `{code}`, or `{what}` of the admin site. It leaves the address at once, and it came in the
 * part that is sent to no server. */
export function fromAddress() {
  const [, code, session] = /^#(?:code=(.+)|(session))$/.exec(location.hash) ?? [];
  if (!code && !session) return undefined;
  history.replaceState(null, "", location.pathname + location.search);
  return code ? { code } : { what: SESSION };
}

/** What somebody enters: a token, or a whole sign-in link. */
export function fromField(text) {
  const [, code] = /#code=(.+)$/.exec(text.trim()) ?? [];
  return code ? { code } : { what: text.trim() };
}

/** How a request shows it. */
export function showing(what) {
  if (OPEN || !what) return {};
  return what === SESSION ? { credentials: "include" } : { headers: { Authorization: `Bearer ${what}` } };
}

const events = new EventTarget();

/** Tells that the API does not take, or no longer takes, what was shown. */
export const refuse = (what) => events.dispatchEvent(new CustomEvent("refused", { detail: what }));

/** Calls `refused(what)`, and `changed()` when another tab shows something else; gives the way to end that. */
export function follow(refused, changed) {
  const tell = (event) => refused(event.detail);
  const look = (event) => (event.key === KEY || event.key === null) && changed();
  events.addEventListener("refused", tell);
  addEventListener("storage", look);
  return () => {
    events.removeEventListener("refused", tell);
    removeEventListener("storage", look);
  };
}
