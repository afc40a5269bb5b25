/** The list of people, with a search that runs while the user types. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { getPage, useLoaded } from "./api.js";
import { Empty, ErrorNote, Loading, nameOf } from "./components.js";
import { buildPath, navigate } from "./router.js";

const PAGE_SIZE = 50;
const DEBOUNCE_MS = 150;

export function People({ query }) {
  const [text, setText] = useState(query.search ?? "");
  const [submitted, setSubmitted] = useState(null);
  const lastSearch = useRef(text);
  const list = useRef(null);
  const search = query.search ?? "";
  useEffect(() => {
    if (search === lastSearch.current) return; // set by this field, which may have more letters by now
    lastSearch.current = search;
    setText(search);
  }, [search]);
  useEffect(() => {
    if (text === lastSearch.current) return undefined;
    const timer = setTimeout(() => {
      lastSearch.current = text;
      navigate(buildPath("/people", { search: text }), { replace: true });
    }, DEBOUNCE_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const page = useLoaded(
    async (signal) => ({ ...(await getPage("/api/persons", { search, after: query.after, limit: PAGE_SIZE }, signal)), search }),
    [search, query.after],
  );
  useEffect(() => {
    if (submitted === null || page.value?.search !== submitted) return; // the list is still of an older search
    setSubmitted(null);
    list.current.querySelector("a")?.click();
  }, [submitted, page.value]);
  const moveFocus = (event) => {
    const links = [...list.current.querySelectorAll("a")];
    const from = links.indexOf(document.activeElement);
    const to = { ArrowDown: from + 1, ArrowUp: from - 1 }[event.key];
    if (to === undefined || !links.length) return;
    event.preventDefault();
    if (to < 0) document.getElementById("search").focus();
    else links[Math.min(to, links.length - 1)].focus();
  };
  return html`<main class="people" onKeyDown=${moveFocus}>
    <h1 tabindex="-1">People</h1>
    <p class="lead">Choose a person to see whom they met, when, where and for how long.</p>
    <form role="search" onSubmit=${(event) => { event.preventDefault(); setSubmitted(text); }}>
      <label for="search">Name or company</label>
      <input id="search" type="search" autocomplete="off" spellcheck=${false} autofocus value=${text}
        placeholder="Ada, or Engines Ltd" onInput=${(event) => { setText(event.target.value); setSubmitted(null); }}/>
    </form>
    ${page.error ? html`<${ErrorNote} key=${page.error} ...${page}/>` : null}
    ${page.loading && !page.value ? html`<${Loading}/>` : null}
    <div ref=${list} aria-busy=${Boolean(page.stale)}>${page.value && html`<${Page} page=${page.value} query=${query}/>`}</div>
  </main>`;
}

function Page({ page: { rows, next }, query }) {
  if (!rows.length) {
    return query.search
      ? html`<${Empty} title=${`Nobody is called “${query.search}”.`}>Every word must occur in the name or company, in any order. Try fewer letters.<//>`
      : html`<${Empty} title="There are no people yet.">
          Create people in the admin site or with <code>POST /api/persons</code>, or create a whole event with <code>manage.py simulate</code>.<//>`;
  }
  const after = next && new URLSearchParams(next.split("?")[1]).get("after");
  return html`<ul class="persons" aria-label="People">${rows.map(
      (person) => html`<li key=${person.id}><a href=${`/people/${person.id}`}>
        <span>${nameOf(person)}</span> <span class="soft">${person.company_name}</span></a></li>`,
    )}</ul>
    <nav class="pager" aria-label="Pages">
      ${query.after && html`<a class="button" href=${buildPath("/people", { search: query.search })}>First page</a>`}
      ${query.after && html`<button type="button" onClick=${() => history.back()}>Previous page</button>`}
      ${after && html`<a class="button" href=${buildPath("/people", { search: query.search, after })}>Next page</a>`}
    </nav>`;
}
