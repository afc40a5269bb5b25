/** A person's privacy settings: whether others may find them, who looked at them, the download and the deletion of their data. */
import { html, useState } from "../vendor/htm/standalone.module.js";
import { erase, get, getBlob, put, useLoaded } from "./api.js";
import { ErrorNote, Loading } from "./components.js";
import { reportErased } from "./credentials.js";
import { save } from "./export.js";
import { dayAndClock, full } from "./format.js";
import { forgetSharing } from "./sharing.js";

/** `consent`: the state of its load, if it is loaded already. */
export function PrivacySettings({ id, consent: given }) {
  const path = `/api/persons/${id}`;
  const loaded = useLoaded(async (signal) => (given ? null : get(`${path}/consent`, {}, signal)), [id, !given]);
  const consent = given ?? loaded;
  const [{ busy, error: actionError, confirming }, setState] = useState({});
  const attempt = (action) => async () => {
    setState({ busy: true });
    try {
      await action();
      setState({});
    } catch (failure) {
      setState({ error: failure });
    }
  };
  const findable = consent.value?.findable;
  const toggleFindable = attempt(async () => {
    await put(`${path}/consent`, { findable: !findable });
    consent.reload();
  });
  const download = attempt(async () => save(await getBlob(`${path}/export`), `connect-person-${id}.zip`));
  const eraseAll = attempt(async () => {
    forgetSharing();
    reportErased(await erase(id));
  });
  const error = consent.error ?? actionError;
  return html`<section class="privacy" aria-labelledby="privacy">
    <h2 id="privacy">What others see of you</h2>
    ${consent.value
      ? html`<p><label><input type="checkbox" checked=${findable} disabled=${busy} aria-describedby="findable" onChange=${toggleFindable}/> Others may find me</label></p>
          <p id="findable" role="status">${findable
            ? "People who were near you see your name and company, and when and where they met you."
            : "Nobody sees that they met you. You still see your own day."}</p>
          <p class="soft">The change takes effect at once. The organisers always see your day.</p>`
      : error ? null : html`<${Loading}/>`}
    ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${consent.error ? consent.reload : () => setState({})}/>` : null}
    <${WhoLooked} id=${id}/>
    <p class="actions"><button type="button" disabled=${busy} onClick=${download}>Download everything about me</button>
      ${confirming ? null : html`<button type="button" disabled=${busy} onClick=${() => setState({ confirming: true })}>Delete everything about me</button>`}</p>
    ${confirming ? html`<div class="note error" role="group" aria-labelledby="erase">
      <p id="erase"><strong>Delete everything about you?</strong> Your name, all your positions, your encounters, your settings and your
        access go at once, also from what others see. Nobody can undo this. A receipt with your number and no name stays.</p>
      <p class="actions"><button type="button" disabled=${busy} onClick=${eraseAll}>Delete everything now</button>
        <button type="button" autofocus onClick=${() => setState({})}>Keep my data</button></p></div>` : null}
  </section>`;
}

/** The audit log's questions about this person. */
function WhoLooked({ id }) {
  const [open, setOpen] = useState(false);
  const questions = useLoaded(async (signal) => (open ? get(`/api/persons/${id}/questions`, {}, signal) : null), [id, open]);
  const rows = questions.value;
  return html`<details onToggle=${(event) => setOpen(event.target.open)}>
    <summary>Who looked at me</summary>
    ${questions.error ? html`<${ErrorNote} key=${questions.error} error=${questions.error} reload=${questions.reload}/>` : null}
    ${open && questions.loading ? html`<${Loading}/>` : null}
    ${rows?.length === 0 ? html`<p>Nobody asked about you alone. Organisers may have looked at everybody together.</p>` : null}
    ${rows?.length ? html`<ul class="questions">${rows.map((each) => html`<li>
      <b>${each.caller.replace(/^user /, "")}</b> ${ASKED[each.what] ?? (/ admin /.test(each.what) ? "looked at you in the admin site" : each.what)}${each.start ? ` from ${dayAndClock(Date.parse(each.start))}` : ""}
      ${" "}<span class="soft">${full(Date.parse(each.at))}</span></li>`)}</ul>` : null}
  </details>`;
}

const ASKED = {
  "GET person": "looked at your name",
  "GET people": "found you in a search",
  "GET encounters": "looked at whom you met",
  "GET connection": "looked at who was near you",
  "GET days": "looked at the days on which you were here",
  "GET locations": "looked at your positions",
  "GET location": "looked at one of your positions",
  "GET consent": "looked at your settings",
  "GET export": "downloaded your data",
  "GET questions": "looked at who asked about you",
  "PUT consent": "changed your settings",
  "PUT person": "changed your name",
  "PATCH person": "changed your name",
  "DELETE person": "asked to delete you",
  "POST erasure": "asked to delete you",
};
