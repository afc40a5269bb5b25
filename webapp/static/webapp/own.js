/** What is a person's own to decide: whether others find it; and everything that is known about it, to keep. */
import { html, useState } from "../vendor/htm/standalone.module.js";
import { file, get, put, useLoaded } from "./api.js";
import { save } from "./export.js";
import { Loading, Wrong } from "./parts.js";

export function Own({ id }) {
  const path = `/api/persons/${id}`;
  const consent = useLoaded((signal) => get(`${path}/consent`, {}, signal), [id]);
  const [{ busy, fault }, set] = useState({});
  const attempt = (work) => async () => {
    set({ busy: true });
    try {
      await work();
      set({});
    } catch (wrong) {
      set({ fault: wrong });
    }
  };
  const findable = consent.value?.findable;
  const choose = attempt(async () => {
    await put(`${path}/consent`, { findable: !findable });
    consent.again();
  });
  const keep = attempt(async () => save(await file(`${path}/export`), `connect-person-${id}.zip`));
  const wrong = consent.fault ?? fault;
  return html`<section class="own" aria-labelledby="own">
    <h2 id="own">What others see of you</h2>
    ${consent.value
      ? html`<p><label><input type="checkbox" checked=${findable} disabled=${busy} aria-describedby="findable" onChange=${choose}/> Others may find me</label></p>
          <p id="findable" role="status">${findable
            ? "People who were near you see your name and company, and when and where they met you."
            : "Nobody sees that they met you. You still see your own day."}</p>
          <p class="soft">The change counts at once. The organisers see your day either way.</p>`
      : wrong ? null : html`<${Loading}/>`}
    ${wrong ? html`<${Wrong} key=${wrong} fault=${wrong} again=${consent.fault ? consent.again : () => set({})}/>` : null}
    <p><button type="button" disabled=${busy} onClick=${keep}>Download everything about me</button></p>
  </section>`;
}
