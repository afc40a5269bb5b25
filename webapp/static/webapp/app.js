/** The Connect APP: which view the address stands for, and whether who looks may see it. */
import { html, render, useEffect, useRef } from "../vendor/htm/standalone.module.js";
import { API } from "./api.js";
import { As, useCaller, useSignIn } from "./caller.js";
import { FirstChoice } from "./consent.js";
import { Crowd } from "./crowd.js";
import { Loading, Wrong } from "./parts.js";
import { People } from "./people.js";
import { PersonView } from "./person.js";
import { address, followLinks, go, usePlace } from "./router.js";
import { Broken, Replace, SignIn } from "./sign_in.js";
import { SESSION } from "./shown.js";
import { Status } from "./status.js";

const TITLES = { "/": "People", "/crowd": "The crowd", "/status": "Status" };

const dayOf = ({ kind, person_id }) => (kind === "person" ? `/people/${person_id}` : null);

function View({ path, query, leave }) {
  const day = dayOf(useCaller());
  const person = /^\/people\/(\d+)$/.exec(path);
  useEffect(() => {
    if (day && path === "/") go(address(day, query), { replace: true });
  }, [day, path]);
  if (day && path === "/") return null;
  if (day && path !== day) return html`<${NotYours} day=${day}/>`;
  if (day) return html`<${FirstChoice} key=${day} id=${person[1]} leave=${leave}><${PersonView} key=${person[1]} id=${person[1]} query=${query}/><//>`;
  if (person) return html`<${PersonView} key=${person[1]} id=${person[1]} query=${query}/>`;
  if (path === "/crowd") return html`<${Crowd} query=${query}/>`;
  if (path === "/status") return html`<${Status}/>`;
  return html`<${People} query=${query}/>`;
}

function NotYours({ day }) {
  return html`<main class="sign-in">
    <h1 tabindex="-1">Not yours to see</h1>
    <p class="lead">Where others were is theirs. You see your own day, and in it whom you met, where and when.</p>
    <p><a class="button" href=${day}>To my day</a></p>
  </main>`;
}

function App() {
  const { path, query } = usePlace();
  const { caller, out, why, question, broken, loading, fault, enter, leave, again, decide } = useSignIn();
  const first = useRef(true);
  useEffect(() => {
    document.title = `${out || question || broken ? "Sign in" : (TITLES[path] ?? "Person")} · Connect`;
    // Who reads by ear is told of the new view; at first the browser does so itself.
    if (!first.current || question || broken) document.querySelector("h1")?.focus({ preventScroll: true });
    if (!loading) first.current = false;
  }, [path, caller, out, question, broken]);
  const tab = (to, name) => {
    const here = to === path || (to === "/" && path.startsWith("/people/"));
    return html`<a href=${to} aria-current=${here ? "page" : undefined}>${name}</a>`;
  };
  const day = caller && dayOf(caller);
  const replace = (what) => {
    if (what && what !== SESSION) go(address("/", query), { replace: true }); // the day at this address is another's
    return decide(what);
  };
  return html`
    <a class="skip" href="#view">To the content</a>
    <header class="top">
      <a class="brand" href="/">Connect</a>
      ${caller && html`<nav aria-label="Views">${day ? tab(day, "My day") : [tab("/", "People"), " ", tab("/crowd", "Crowd"), " ", tab("/status", "Status")]}</nav>`}
      <nav aria-label="Elsewhere" class="soft"><a href=${`${API}/api/docs`}>API</a> ${day ? null : html`<a href=${`${API}/admin/`}>Admin</a>`}
        ${caller?.name && html` <button type="button" class="plain" title=${`Signed in: ${caller.name}`} onClick=${leave}>Sign out</button>`}</nav>
    </header>
    <div id="view" tabindex="-1">
      ${loading && !out ? html`<main class="sign-in"><${Loading}/></main>` : null}
      ${fault ? html`<main class="sign-in"><h1 tabindex="-1">Connect</h1><${Wrong} key=${fault} fault=${fault} again=${again}/></main>` : null}
      ${out ? html`<${SignIn} why=${why} busy=${loading} enter=${enter} place=${address(path, query)}/>` : null}
      ${question ? html`<${Replace} question=${question} decide=${replace}/>` : null}
      ${broken ? html`<${Broken} why=${broken} again=${again}/>` : null}
      ${caller ? html`<${As} caller=${caller}><${View} path=${path} query=${query} leave=${leave}/><//>` : null}
    </div>`;
}

followLinks();
render(html`<${App}/>`, document.getElementById("app"));
