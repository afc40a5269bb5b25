/** The Connect APP: which view the address stands for. */
import { html, render, useEffect, useRef } from "../vendor/htm/standalone.module.js";
import { API } from "./api.js";
import { Crowd } from "./crowd.js";
import { People } from "./people.js";
import { PersonView } from "./person.js";
import { followLinks, usePlace } from "./place.js";
import { Status } from "./status.js";

const TITLES = { "/": "People", "/crowd": "The crowd", "/status": "Status" };

function View({ path, query }) {
  const person = /^\/people\/(\d+)$/.exec(path);
  if (person) return html`<${PersonView} key=${person[1]} id=${person[1]} query=${query}/>`;
  if (path === "/crowd") return html`<${Crowd} query=${query}/>`;
  if (path === "/status") return html`<${Status}/>`;
  return html`<${People} query=${query}/>`;
}

function App() {
  const { path, query } = usePlace();
  const first = useRef(true);
  useEffect(() => {
    document.title = `${TITLES[path] ?? "Person"} · Connect`;
    // Who reads by ear is told of the new view; at first the browser does so itself.
    if (!first.current) document.querySelector("h1")?.focus({ preventScroll: true });
    first.current = false;
  }, [path]);
  const tab = (to, name) => {
    const here = to === path || (to === "/" && path.startsWith("/people/"));
    return html`<a href=${to} aria-current=${here ? "page" : undefined}>${name}</a>`;
  };
  return html`
    <a class="skip" href="#view">To the content</a>
    <header class="top">
      <a class="brand" href="/">Connect</a>
      <nav aria-label="Views">${tab("/", "People")} ${tab("/crowd", "Crowd")} ${tab("/status", "Status")}</nav>
      <nav aria-label="Elsewhere" class="soft"><a href=${`${API}/api/docs`}>API</a> <a href=${`${API}/admin/`}>Admin</a></nav>
    </header>
    <div id="view" tabindex="-1"><${View} path=${path} query=${query}/></div>`;
}

followLinks();
render(html`<${App}/>`, document.getElementById("app"));
