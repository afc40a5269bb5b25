/** The credential for the API: a token, kept in this browser until sign-out or until the API refuses it. Staff may use
 * their session of the admin site instead. Scripts cannot read its cookie, so only the word SESSION is stored. */

const KEY = "connect.shown";
const INGEST_KEY = "connect.sends"; // the token that sends this person's positions, if a sign-in link gave one

export const OPEN_ACCESS = document.documentElement.dataset.access === "open"; // no caller needs a credential
export const SESSION = "session";

const CALLER_KEY = "connect.caller"; // the caller of the token
const fallback = {}; // for browsers that block localStorage; lost when the page is closed

/** Reads and writes what this browser remembers. */
export function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return fallback[key] ?? null;
  }
}

export function write(key, value) {
  fallback[key] = value;
  try {
    if (value) localStorage.setItem(key, value);
    else localStorage.removeItem(key);
  } catch {
    // The fallback has it.
  }
}

export const getCredential = () => read(KEY);
export const getIngestToken = () => read(INGEST_KEY);

/** `null` removes the credential. Another credential's token for sending positions goes with it. */
export function setCredential(credential, ingestToken = null) {
  write(KEY, credential);
  write(INGEST_KEY, ingestToken);
  write(CALLER_KEY, null);
}

export const rememberCaller = (caller) => write(CALLER_KEY, JSON.stringify(caller));
/** The caller of the stored token, and whether they have `decided` who may find them; null if the API was not asked yet. */
export const rememberedCaller = () => JSON.parse(read(CALLER_KEY));

/** The sign-in link in the address: `{code}`, or `{credential}` if it comes from the admin site. It is in the fragment,
 * which browsers send to no server, and is removed from the address at once. */
export function takeLinkFromAddress() {
  const [, code, session] = /^#(?:code=(.+)|(session))$/.exec(location.hash) ?? [];
  if (!code && !session) return undefined;
  history.replaceState(null, "", location.pathname + location.search);
  return code ? { code } : { credential: SESSION };
}

/** Parses the text of the sign-in field: a token or a whole sign-in link. */
export function parseField(text) {
  const [, code] = /#code=(.+)$/.exec(text.trim()) ?? [];
  return code ? { code } : { credential: text.trim() };
}

/** Options of `fetch` that send the credential. */
export function authOptions(credential) {
  if (OPEN_ACCESS || !credential) return {};
  return credential === SESSION ? { credentials: "include" } : { headers: { Authorization: `Bearer ${credential}` } };
}

const events = new EventTarget();

/** Tells the subscribers that the API refused a credential. */
export const reportRefused = (credential) => events.dispatchEvent(new CustomEvent("refused", { detail: credential }));

/** Tells the subscribers that a person was erased, with the receipt. */
export const reportErased = (receipt) => events.dispatchEvent(new CustomEvent("erased", { detail: receipt }));

/** Calls `onErased(receipt)`, `onRefused(credential)`, and `onChanged()` when another tab stores a credential. Returns the unsubscribe function. */
export function subscribe(onRefused, onErased, onChanged) {
  const erased = (event) => onErased(event.detail);
  const refused = (event) => onRefused(event.detail);
  const stored = (event) => (event.key === KEY || event.key === null) && onChanged();
  events.addEventListener("refused", refused);
  events.addEventListener("erased", erased);
  addEventListener("storage", stored);
  return () => {
    events.removeEventListener("refused", refused);
    events.removeEventListener("erased", erased);
    removeEventListener("storage", stored);
  };
}
