/** Everybody, and a search that answers while one types. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { page, useLoaded } from "./api.js";
import { Empty, Loading, nameOf, Wrong } from "./parts.js";
import { address, go } from "./router.js";

const PAGE = 50;
const TYPING_MS = 150;

export function People({ query }) {
  const [text, setText] = useState(query.search ?? "");
  const [entered, setEntered] = useState(null);
  const sent = useRef(text);
  const list = useRef(null);
  const search = query.search ?? "";
  useEffect(() => {
    if (search === sent.current) return; // of this field: by now there may be more in it
    sent.current = search;
    setText(search);
  }, [search]);
  useEffect(() => {
    if (text === sent.current) return undefined;
    const timer = setTimeout(() => {
      sent.current = text;
      go(address("/", { search: text }), { replace: true });
    }, TYPING_MS);
    return () => clearTimeout(timer);
  }, [text]);
  const found = useLoaded(
    async (signal) => ({ ...(await page("/api/persons", { search, after: query.after, limit: PAGE }, signal)), search }),
    [search, query.after],
  );
  useEffect(() => {
    if (entered === null || found.value?.search !== entered) return; // the list is still of fewer letters
    setEntered(null);
    list.current.querySelector("a")?.click();
  }, [entered, found.value]);
  const step = (event) => {
    const links = [...list.current.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 }[event.key];
    if (to === undefined || !links.length) return;
    event.preventDefault();
    if (to < 0) document.getElementById("search").focus();
    else links[Math.min(to, links.length - 1)].focus();
  };
  return html`<main class="people" onKeyDown=${step}>
    <h1 tabindex="-1">People</h1>
    <p class="lead">Choose somebody to see whom they met, when, where and for how long.</p>
    <form role="search" onSubmit=${(event) => { event.preventDefault(); setEntered(text); }}>
      <label for="search">Name or company</label>
      <input id="search" type="search" autocomplete="off" spellcheck=${false} autofocus value=${text}
        placeholder="Ada, or Engines Ltd" onInput=${(event) => { setText(event.target.value); setEntered(null); }}/>
    </form>
    ${found.fault ? html`<${Wrong} key=${found.fault} ...${found}/>` : null}
    ${found.loading && !found.value ? html`<${Loading}/>` : null}
    <div ref=${list} aria-busy=${Boolean(found.stale)}>${found.value && html`<${Page} found=${found.value} query=${query}/>`}</div>
  </main>`;
}

function Page({ found: { rows, next }, query }) {
  if (!rows.length) {
    return query.search
      ? html`<${Empty} title=${`Nobody is called “${query.search}”.`}>Names and companies are searched for every word, in any order. Try fewer letters.<//>`
      : html`<${Empty} title="There is nobody yet.">
          Make people in the admin site, with <code>POST /api/persons</code>, or a whole event with <code>manage.py simulate</code>.<//>`;
  }
  const after = next && new URLSearchParams(next.split("?")[1]).get("after");
  return html`<ul class="persons" aria-label="People">${rows.map(
      (person) => html`<li key=${person.id}><a href=${`/people/${person.id}`}>
        <span>${nameOf(person)}</span> <span class="soft">${person.company_name}</span></a></li>`,
    )}</ul>
    <nav class="pager" aria-label="Pages">
      ${query.after && html`<a class="button" href=${address("/", { search: query.search })}>First page</a>`}
      ${query.after && html`<button type="button" onClick=${() => history.back()}>Page before</button>`}
      ${after && html`<a class="button" href=${address("/", { search: query.search, after })}>Next page</a>`}
    </nav>`;
}
