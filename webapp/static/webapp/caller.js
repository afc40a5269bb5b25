/** The caller who is signed in, as the API describes it, and the state of signing in and out. */
import { createContext, html, useContext, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { API, exchangeCode, getWithCredential } from "./api.js";
import { nameOf } from "./components.js";
import { getCredential, OPEN_ACCESS, rememberCaller, rememberedCaller, SESSION, setCredential, subscribe, takeLinkFromAddress } from "./credentials.js";
import { forgetSharing } from "./sharing.js";

const INGEST_TOKEN = "This token is for a device: it can send pings, but it cannot read anything.";
const SERVICE_TOKEN = "This token is for Connect’s own processes, not for people.";
const INVALID_TOKEN = "This token is not valid: it may be mistyped, expired or revoked.";
const NO_SESSION = "The admin site did not sign you in: you are not logged in there, or your user is not allowed to view and change all people.";
const TOKEN_ENDED = "You were signed out: your token has expired or was revoked.";
const SESSION_ENDED = "You were signed out: your session at the admin site has ended.";
const SESSION_REMAINS = html`You are signed out here. <a href=${`${API}/admin/`}>At the admin site</a> you are still signed in: log out there, too.`;

const Caller = createContext();

/** The answer of `GET /api/caller`: kind, name, and the id of a person. */
export const useCaller = () => useContext(Caller);

export function CallerProvider({ caller, children }) {
  return html`<${Caller.Provider} value=${caller}>${children}<//>`;
}

const isSame = (one, other) => one.kind === other.kind && (one.person_id ?? one.name) === (other.person_id ?? other.name);

/** The display name of a caller: the name of the person or of the staff user. */
async function displayName(credential, { kind, name, person_id }) {
  if (kind === "person") return nameOf(await getWithCredential(credential, `/api/persons/${person_id}`));
  return name.replace(/^user /, "");
}

/** The caller that a credential belongs to; null if it is missing or refused. */
async function callerOf(credential) {
  try {
    return credential ? await getWithCredential(credential, "/api/caller") : null;
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/** State: `caller` once it is known; `signedOut`, perhaps with a `reason`; `replacement` if a link would replace the
 * caller; `brokenLink` if a link does not work; `receipt` after the erasure of a person; `loading`; `error`. Actions: `signIn`, `signOut`, `retry`, `decide`. */
export function useSignIn() {
  const [state, setState] = useState(OPEN_ACCESS ? { caller: { kind: "open" } } : { loading: true });
  const attempts = useRef(0);
  const pendingLink = useRef(null); // kept over a failure, so that `retry` can go on with it

  /** Starts an attempt. The returned function sets the state unless a later attempt has started. */
  const startAttempt = () => {
    const attempt = ++attempts.current;
    return (next) => attempt === attempts.current && setState(next);
  };

  const loadCaller = async () => {
    const finish = startAttempt();
    const credential = getCredential();
    if (!credential) return finish({ signedOut: true });
    const remembered = rememberedCaller(); // if the token is no longer valid, the first call of a view says so
    if (remembered) return finish({ caller: remembered });
    setState((old) => ({ loading: true, signedOut: old.signedOut })); // keeps the sign-in form and its text
    try {
      const caller = await getWithCredential(credential, "/api/caller");
      if (caller.kind !== "ingest") {
        if (credential !== SESSION) rememberCaller(caller); // a session may become that of another user
        return finish({ caller });
      }
      setCredential(null);
      finish({ signedOut: true, reason: INGEST_TOKEN });
    } catch (error) {
      if (![401, 403].includes(error.status)) return finish({ error });
      if (getCredential() === credential) setCredential(null);
      // This call answers with 403 only to service tokens.
      const reason = credential === SESSION ? NO_SESSION : INVALID_TOKEN;
      finish({ signedOut: true, reason: error.status === 403 ? SERVICE_TOKEN : reason });
    }
  };

  /** Signs in by a link. Asks first if another caller is signed in. */
  const openLink = async (link) => {
    const finish = startAttempt();
    pendingLink.current = link;
    setState((old) => ({ loading: true, signedOut: old.signedOut }));
    try {
      if (link.code) {
        const { token, ingest_token } = await exchangeCode(link.code);
        link.credential = token;
        link.ingestToken = ingest_token;
        link.code = null; // a code works once; a retry uses the credential
      }
      const [current, offered] = [await callerOf(getCredential()), await callerOf(link.credential)];
      if (current && offered && !isSame(current, offered)) {
        const names = { current: await displayName(getCredential(), current), offered: await displayName(link.credential, offered) };
        return finish({ replacement: { ...names, link } });
      }
      pendingLink.current = null;
      if (current && !offered) return loadCaller(); // the offered session does not exist; the current caller stays
      setCredential(link.credential, link.ingestToken);
      return loadCaller();
    } catch (error) {
      const refused = link.code && [400, 404].includes(error.status);
      if (!refused) return finish({ error });
      pendingLink.current = null;
      if (getCredential()) return finish({ brokenLink: error.message });
      finish({ signedOut: true, reason: error.message });
    }
  };

  const signInWith = (credential) => {
    if (!/^[!-~]+$/.test(credential)) return setState({ signedOut: true, reason: INVALID_TOKEN }); // not valid in a header
    setCredential(credential);
    return loadCaller();
  };
  const retry = () => (pendingLink.current ? openLink(pendingLink.current) : loadCaller());
  /** Answers a `replacement` with its link; null keeps the current caller. */
  const decide = (link) => {
    pendingLink.current = null;
    if (link) {
      forgetSharing();
      setCredential(link.credential, link.ingestToken);
    }
    return loadCaller();
  };
  const signOut = () => {
    const reason = getCredential() === SESSION ? SESSION_REMAINS : undefined;
    forgetSharing();
    setCredential(null);
    setState({ signedOut: true, reason });
  };

  useEffect(() => {
    const given = takeLinkFromAddress();
    const onErased = (receipt) => {
      if (!OPEN_ACCESS) setCredential(null);
      setState({ receipt });
    };
    if (OPEN_ACCESS) return subscribe(() => {}, onErased, () => {});
    if (given) openLink(given);
    else loadCaller();
    const onRefused = (credential) => {
      if (credential !== getCredential()) return; // a late response to the previous caller
      setState((old) => {
        if (!old.caller) return old;
        setCredential(null);
        return { signedOut: true, reason: credential === SESSION ? SESSION_ENDED : TOKEN_ENDED };
      });
    };
    const onHashChange = () => {
      const link = takeLinkFromAddress();
      if (link) openLink(link);
    };
    const unsubscribe = subscribe(onRefused, onErased, retry);
    addEventListener("hashchange", onHashChange);
    return () => {
      unsubscribe();
      removeEventListener("hashchange", onHashChange);
    };
  }, []);

  return { ...state, signIn: (given) => (given.code ? openLink(given) : signInWith(given.credential)), signOut, retry, decide };
}
