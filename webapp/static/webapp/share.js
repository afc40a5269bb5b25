/** The page of an attendee's phone: share my position, see whom I am with, my data. */
import { html, useEffect, useState } from "../vendor/htm/standalone.module.js";
import { get, isoTime, useLoaded, usePolling } from "./api.js";
import { ErrorNote, Loading, nameOf } from "./components.js";
import { getIngestToken, OPEN_ACCESS } from "./credentials.js";
import { ago, duration, metres, plural } from "./format.js";
import { PrivacySettings } from "./privacy_settings.js";
import { isSharing, useSharing } from "./sharing.js";
import { loadEvent } from "./venue.js";

const POLL_S = 7; // until I am with somebody
const POLL_TOGETHER_S = 20;
const LOOK_BACK_MS = 30 * 60_000;
const TOGETHER_MS = 90_000; // an encounter that ended this long ago may go on: a phone may miss a ping
const MIN_DURATION_S = 60;

/** People whom I was with for a minute or longer and who are probably still here. */
async function loadCompany(id, signal) {
  const now = Date.now();
  const range = { start_date: isoTime(now - LOOK_BACK_MS), end_date: isoTime(now + 60_000) };
  const found = await get(`/api/persons/${id}/encounters`, { ...range, min_duration: MIN_DURATION_S }, signal);
  return found.filter((each) => Date.parse(each.end) > now - TOGETHER_MS);
}

/** Keeps the page for a phone without a network. Browsers allow it on localhost and over TLS. */
function keepPage() {
  navigator.serviceWorker?.register("/sw.js").catch(() => {}); // the page works without it
}

export function Share({ id, consent }) {
  const sharing = useSharing(id);
  const [agreed, setAgreed] = useState(isSharing(id));
  const company = useLoaded((signal) => loadCompany(id, signal), [id]);
  usePolling([company], company.value?.length ? POLL_TOGETHER_S : POLL_S, sharing.on);
  useEffect(keepPage, []);
  useLoaded(loadEvent, []); // it sets the time zone of all times
  const canSend = OPEN_ACCESS || getIngestToken();
  const begin = () => {
    setAgreed(true);
    sharing.start();
  };
  return html`<main class="share">
    <h1 tabindex="-1">Share my position</h1>
    ${!canSend
      ? html`<p class="note">This browser can show your day, but it cannot send your position. Open the link or scan the code from the organiser again.</p>`
      : agreed || sharing.on
        ? html`<${Switch} sharing=${sharing} />`
        : html`<p>While sharing is on, Connect stores where you are, so that you and people who meet you can see that you met.
              You can stop at any time, and delete everything about you below.</p>
            <p><button type="button" class="big" onClick=${begin}>I agree, start sharing</button></p>`}
    ${sharing.problem ? html`<p class="note error" role="alert">${sharing.problem}</p>` : null}
    <section aria-labelledby="company">
      <h2 id="company">With me now</h2>
      <${Company} company=${company} sharing=${sharing}/>
    </section>
    <p><a class="button" href=${`/people/${id}`}>My day: whom I met, where and when</a></p>
    <${PrivacySettings} id=${id} consent=${consent}/>
  </main>`;
}

function Switch({ sharing }) {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((old) => old + 1), 1000);
    return () => clearInterval(timer);
  }, []);
  const { on, sentAt, accuracy, queued } = sharing;
  return html`
    <p><button type="button" role="switch" aria-checked=${on} class="big" onClick=${on ? sharing.stop : sharing.start}>
      Sharing is ${on ? "on" : "off"}</button></p>
    <p class="sent">${sentAt ? `Last sent ${ago(sentAt)}.` : on ? "Waiting for your first position." : "Nothing is sent."}
      ${accuracy ? html` <span class="soft">Accurate to ${metres(Math.round(accuracy))}.</span>` : null}
      ${queued ? html` <span class="soft">${plural(queued, "position waits", "positions wait")} to be sent.</span>` : null}</p>
    ${on ? html`<p class="soft small">Keep this page open: a browser shares nothing in the background. The screen stays on.</p>` : null}`;
}

function Company({ company: { value, error, reload }, sharing: { on, problem } }) {
  if (error && problem) return null; // one cause, reported above
  if (error) return html`<${ErrorNote} key=${error} error=${error} reload=${reload}/>`;
  if (!value) return html`<${Loading}/>`;
  if (!value.length) return html`<p class="soft" role="status">${on ? "Nobody yet. People appear here when you are together for a minute and both may be found." : "Turn sharing on to see whom you are with."}</p>`;
  return html`<div role="status"><ul class="persons">${value.map((each) => html`<li key=${each.person.id}>
    <span><b>${nameOf(each.person)}</b> ${each.person.company_name}</span> <span class="soft">${duration(each.duration_s)}</span></li>`)}</ul></div>`;
}
