/** Who looks: the API says so of what is shown to it. */
import { createContext, html, useContext, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { API, exchange, getAs } from "./api.js";
import { nameOf } from "./parts.js";
import { follow, fromAddress, OPEN, SESSION, show, shown } from "./shown.js";

const SENDS_PINGS = "This token is a device’s: it sends pings, and nothing can be read with it.";
const OF_A_PROCESS = "This token is for Connect’s own processes, not for people.";
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

const isSame = (one, other) => one.kind === other.kind && (one.person_id ?? one.name) === (other.person_id ?? other.name);

/** The name of a caller, for people: a person's own name, or that of the staff user. */
async function label(what, { kind, name, person_id }) {
  if (kind === "person") return nameOf(await getAs(what, `/api/persons/${person_id}`));
  return name.replace(/^user /, "");
}

/** Who is signed in with it, or null if nobody is. */
async function whoIs(what) {
  try {
    return what ? await getAs(what, "/api/caller") : null;
  } catch (fault) {
    if (fault.status === 401) return null;
    throw fault;
  }
}

/** `caller` once it is known; `out`, with `why`, where somebody has to sign in; `question` where a link would replace
 * somebody, `broken` where it does not work; `loading` or `fault`; and what can be done. */
export function useSignIn() {
  const [state, set] = useState(OPEN ? { caller: { kind: "open" } } : { loading: true });
  const turn = useRef(0);
  const pending = useRef(null); // the link that is being followed; a failure in between can be tried again

  /** Sets the state, unless something else has begun since. */
  const begin = () => {
    const mine = ++turn.current;
    return (next) => mine === turn.current && set(next);
  };

  const ask = async () => {
    const tell = begin();
    const what = shown();
    if (!what) return tell({ out: true });
    set((old) => ({ loading: true, out: old.out })); // what was typed stays
    try {
      const caller = await getAs(what, "/api/caller");
      if (caller.kind !== "ingest") return tell({ caller });
      show(null);
      tell({ out: true, why: SENDS_PINGS });
    } catch (fault) {
      if (![401, 403].includes(fault.status)) return tell({ fault });
      if (shown() === what) show(null);
      // 403: this call refuses only the tokens of processes.
      const why = what === SESSION ? NO_SESSION : NOT_VALID;
      tell({ out: true, why: fault.status === 403 ? OF_A_PROCESS : why });
    }
  };

  /** Signs in by a link. It replaces somebody else who is signed in only after a question. */
  const open = async (link) => {
    const tell = begin();
    pending.current = link;
    set((old) => ({ loading: true, out: old.out }));
    try {
      if (link.code) {
        link.what = await exchange(link.code);
        link.code = null; // it works once: another try goes on from here
      }
      const [now, offered] = [await whoIs(shown()), await whoIs(link.what)];
      if (now && offered && !isSame(now, offered)) {
        const names = { now: await label(shown(), now), offered: await label(link.what, offered) };
        return tell({ question: { ...names, what: link.what } });
      }
      pending.current = null;
      if (now && !offered) return ask(); // of two sessions the one that is there
      show(link.what);
      return ask();
    } catch (fault) {
      const refused = link.code && [400, 404].includes(fault.status);
      if (!refused) return tell({ fault });
      pending.current = null;
      if (shown()) return tell({ broken: fault.message });
      tell({ out: true, why: fault.message });
    }
  };

  const enter = (what) => {
    if (!/^[!-~]+$/.test(what)) return set({ out: true, why: NOT_VALID }); // no header could hold it
    show(what);
    return ask();
  };
  const again = () => (pending.current ? open(pending.current) : ask());
  /** The answer to the question; null: who is signed in stays. */
  const decide = (what) => {
    pending.current = null;
    if (what) show(what);
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
    if (given) open(given);
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
      if (more) open(more);
    };
    const end = follow(unless, again);
    addEventListener("hashchange", link);
    return () => {
      end();
      removeEventListener("hashchange", link);
    };
  }, []);

  return { ...state, enter: (given) => (given.code ? open(given) : enter(given.what)), leave, again, decide };
}
