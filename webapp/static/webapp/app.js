/** The Connect APP: chooses the view for the address and checks that the caller may see it. */
import { html, render, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { API } from "./api.js";
import { CallerProvider, useCaller, useSignIn } from "./caller.js";
import { ErrorNote, Loading } from "./components.js";
import { ConsentGate } from "./consent.js";
import { OPEN_ACCESS, SESSION } from "./credentials.js";
import { Crowd } from "./crowd.js";
import { DayList, LISTS } from "./day_lists.js";
import { Overview } from "./overview.js";
import { People } from "./people.js";
import { PersonView } from "./person.js";
import { buildPath, interceptLinks, navigate, useRoute } from "./router.js";
import { BrokenLink, ConfirmReplace, Receipt, SignIn } from "./sign_in.js";
import { Share } from "./share.js";
import { Status } from "./status.js";

const TITLES = { "/": "Overview", ...LISTS, "/people": "People", "/share": "Share my position", "/crowd": "The crowd", "/status": "Status" };

/** The only path that a person may see; null for other kinds of callers. */
const ownPath = ({ kind, person_id }) => (kind === "person" ? `/people/${person_id}` : null);

/** `onNoOverview` is called if the API of this stage has no overview. */
function View({ path, query, signOut, onNoOverview }) {
  const caller = useCaller();
  const own = ownPath(caller);
  const ownId = caller.person_id;
  const person = /^\/people\/(\d+)$/.exec(path);
  useEffect(() => {
    if (own && path === "/") navigate(buildPath(own, query), { replace: true });
  }, [own, path]);
  if (own && path === "/") return null;
  if (own && path === "/share") return html`<${ConsentGate} key=${own} id=${ownId} signOut=${signOut}>${(consent) => html`<${Share} key=${own} id=${ownId} consent=${consent}/>`}<//>`;
  if (path === "/share") return html`<${ChoosePerson} query=${query}/>`;
  if (own && path !== own) return html`<${NoAccess} own=${own}/>`;
  if (own) return html`<${ConsentGate} key=${own} id=${person[1]} signOut=${signOut}>
    ${(consent) => html`<${PersonView} key=${person[1]} id=${person[1]} query=${query} consent=${consent}/>`}<//>`;
  if (person) return html`<${PersonView} key=${person[1]} id=${person[1]} query=${query}/>`;
  if (path === "/crowd") return html`<${Crowd} query=${query}/>`;
  if (path === "/status") return html`<${Status}/>`;
  if (path in LISTS) return html`<${DayList} key=${path} path=${path} query=${query}/>`;
  if (path === "/people") return html`<${People} query=${query}/>`;
  return html`<${Overview} query=${query} onMissing=${onNoOverview}/>`;
}

/** Sharing for callers who are no person: with ACCESS=open the address names one. */
function ChoosePerson({ query }) {
  const id = OPEN_ACCESS && /^\d{1,15}$/.test(query.person) ? Number(query.person) : null;
  if (id) return html`<${Share} key=${id} id=${id}/>`;
  return html`<main class="share">
    <h1 tabindex="-1">Share my position</h1>
    ${OPEN_ACCESS
      ? html`<form action="/share"><label for="person">Id of the person that this phone belongs to</label>
          <p class="actions"><input id="person" name="person" required inputmode="numeric" pattern="[0-9]{1,15}"/> <button>Continue</button></p></form>`
      : html`<p>This page is for attendees. Open it with the sign-in code of a person.</p>`}
  </main>`;
}

function NoAccess({ own }) {
  return html`<main class="sign-in">
    <h1 tabindex="-1">You have no access to this page</h1>
    <p class="lead">You can see only your own day: whom you met, where and when.</p>
    <p><a class="button" href=${own}>Go to my day</a></p>
  </main>`;
}

function App() {
  const { path, query } = useRoute();
  const { caller, signedOut, reason, replacement, brokenLink, receipt, loading, error, signIn, signOut, retry, decide } = useSignIn();
  const [hasOverview, setHasOverview] = useState(true);
  const first = useRef(true);
  useEffect(() => {
    document.title = `${signedOut || replacement || brokenLink ? "Sign in" : (TITLES[path] ?? "Person")} · Connect`;
    // The focus makes a screen reader announce the new view. The browser announces the first one itself.
    if (!first.current || replacement || brokenLink || receipt) document.querySelector("h1")?.focus({ preventScroll: true });
    if (!loading) first.current = false;
  }, [path, caller, signedOut, replacement, brokenLink, receipt]);
  const tab = (to, name) => {
    const current = to === path || (to === "/people" && path.startsWith("/people/")) || (to === "/" && path in LISTS);
    return html`<a href=${to} aria-current=${current ? "page" : undefined}>${name}</a>`;
  };
  const own = caller && ownPath(caller);
  const onNoOverview = () => {
    setHasOverview(false);
    navigate("/people", { replace: true });
  };
  const replaceCaller = (link) => {
    // The address may be the day of the person who was signed in before.
    if (link && link.credential !== SESSION && path !== "/share") navigate(buildPath("/", query), { replace: true });
    return decide(link);
  };
  return html`
    <a class="skip" href="#view">Skip to content</a>
    <header class="top">
      <a class="brand" href="/">Connect</a>
      ${caller && html`<nav aria-label="Views">${own ? [tab(own, "My day"), " ", tab("/share", "Share")] : [hasOverview ? tab("/", "Overview") : null, " ", tab("/people", "People"), " ", tab("/crowd", "Crowd"), " ", tab("/status", "Status")]}</nav>`}
      <nav aria-label="Links and account" class="soft"><a href=${`${API}/api/docs`}>API</a> ${own ? null : html`<a href=${`${API}/admin/`}>Admin</a>`}
        ${caller?.name && html` <button type="button" class="plain" title=${`Signed in: ${caller.name}`} onClick=${signOut}>Sign out</button>`}</nav>
    </header>
    <div id="view" tabindex="-1">
      ${loading && !signedOut ? html`<main class="sign-in"><${Loading}/></main>` : null}
      ${error ? html`<main class="sign-in"><h1 tabindex="-1">Connect</h1><${ErrorNote} key=${error} error=${error} reload=${retry}/></main>` : null}
      ${signedOut ? html`<${SignIn} reason=${reason} busy=${loading} signIn=${signIn} returnTo=${buildPath(path, query)}/>` : null}
      ${replacement ? html`<${ConfirmReplace} replacement=${replacement} decide=${replaceCaller}/>` : null}
      ${brokenLink ? html`<${BrokenLink} reason=${brokenLink} retry=${retry}/>` : null}
      ${receipt ? html`<${Receipt} receipt=${receipt}/>` : null}
      ${caller ? html`<${CallerProvider} caller=${caller}><${View} path=${path} query=${query} signOut=${signOut} onNoOverview=${onNoOverview}/><//>` : null}
    </div>
    <footer class="foot soft">Connect ${document.documentElement.dataset.version}</footer>`;
}

// A link from the time when "/" was the list of people.
if (location.pathname === "/" && /[?&]search=/.test(location.search)) history.replaceState(null, "", `/people${location.search}${location.hash}`);
interceptLinks();
render(html`<${App}/>`, document.getElementById("app"));
