/** A person's privacy settings: whether others may find them, and the download of their data. */
import { html, useState } from "../vendor/htm/standalone.module.js";
import { get, getBlob, put, useLoaded } from "./api.js";
import { ErrorNote, Loading } from "./components.js";
import { save } from "./export.js";

export function PrivacySettings({ id }) {
  const path = `/api/persons/${id}`;
  const consent = useLoaded((signal) => get(`${path}/consent`, {}, signal), [id]);
  const [{ busy, error: actionError }, setState] = useState({});
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
    <p><button type="button" disabled=${busy} onClick=${download}>Download everything about me</button></p>
  </section>`;
}
