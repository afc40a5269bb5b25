/** Who looks: the API says so of what is shown to it. */
import { createContext, html, useContext, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { API, get } from "./api.js";
import { follow, fromAddress, OPEN, SESSION, show, shown } from "./shown.js";

const READS_NOTHING = {
  ingest: "This token is a device’s: it sends pings, and nothing can be read with it.",
  service: "This token is for Connect’s own processes, not for people.",
};
const NOT_VALID = "This token is not valid: it may be mistyped, expired or revoked.";
const NO_SESSION = "The admin site does not vouch for you: you are not signed in there, or your user there may not see and change everybody.";
const ENDED = "You were signed out: your token has expired or was revoked.";
const SESSION_ENDED = "You were signed out: your session at the admin site has ended.";
const STILL_THERE = html`You are signed out here. <a href=${`${API}/admin/`}>At the admin site</a> you are still signed in: log out there, too.`;

const Caller = createContext();

/** As `GET /api/caller` has it: its kind, its name, and of a person the id. */
export const useCaller = () => useContext(Caller);

export function As({ caller, children }) {
  return html`<${Caller.Provider} value=${caller}>${children}<//>`;
}

/** `caller` once it is known; `out`, with `why`, where somebody has to sign in; `loading` or `fault`; and what can be
 * done. */
export function useSignIn() {
  const [state, set] = useState(OPEN ? { caller: { kind: "open" } } : { loading: true });
  const turn = useRef(0);

  const ask = async () => {
    const mine = ++turn.current;
    const tell = (next) => mine === turn.current && set(next);
    const what = shown();
    if (!what) return tell({ out: true });
    set((old) => ({ loading: true, out: old.out })); // what was typed stays
    try {
      const caller = await get("/api/caller");
      if (!READS_NOTHING[caller.kind]) return tell({ caller });
      show(null);
      tell({ out: true, why: READS_NOTHING[caller.kind] });
    } catch (fault) {
      if (fault.status !== 401) return tell({ fault });
      if (shown() === what) show(null);
      tell({ out: true, why: what === SESSION ? NO_SESSION : NOT_VALID });
    }
  };
  const enter = (what) => {
    if (!/^[!-~]+$/.test(what)) return set({ out: true, why: NOT_VALID }); // no header could hold it
    show(what);
    return ask();
  };
  const leave = () => {
    const why = shown() === SESSION ? STILL_THERE : undefined;
    show(null);
    set({ out: true, why });
  };

  useEffect(() => {
    const given = fromAddress();
    if (OPEN) return undefined;
    if (given) enter(given);
    else ask();
    const unless = (what) => {
      if (what !== shown()) return; // asked before somebody else signed in
      set((old) => {
        if (!old.caller) return old;
        show(null);
        return { out: true, why: what === SESSION ? SESSION_ENDED : ENDED };
      });
    };
    const link = () => {
      const more = fromAddress();
      if (more) enter(more);
    };
    const end = follow(unless, ask);
    addEventListener("hashchange", link);
    return () => {
      end();
      removeEventListener("hashchange", link);
    };
  }, []);

  return { ...state, enter, leave, again: ask };
}
