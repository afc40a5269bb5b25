/** A person's first sign-in: whether others may find them. It is asked until it is answered. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { get, put, useLoaded } from "./api.js";
import { Loading, nameOf, Wrong } from "./parts.js";

export function FirstChoice({ id, leave, children }) {
  const path = `/api/persons/${id}/consent`;
  const consent = useLoaded((signal) => get(path, {}, signal), [id]);
  const asked = useRef(false);
  const open = consent.value?.decided === false;
  if (open) asked.current = true;
  useEffect(() => {
    if (asked.current) document.querySelector("h1")?.focus({ preventScroll: true });
  }, [open]);
  if (consent.value && !open) return children;
  if (open) return html`<${Choice} id=${id} path=${path} leave=${leave} done=${consent.again}/>`;
  return html`<main class="sign-in">${consent.fault
    ? html`<h1 tabindex="-1">Connect</h1><${Wrong} key=${consent.fault} fault=${consent.fault} again=${consent.again}/>`
    : html`<${Loading}/>`}</main>`;
}

function Choice({ id, path, leave, done }) {
  const person = useLoaded((signal) => get(`/api/persons/${id}`, {}, signal), [id]);
  const [{ busy, fault, chosen }, set] = useState({});
  const choose = async (findable) => {
    set({ busy: true });
    try {
      await put(path, { findable });
      done();
    } catch (wrong) {
      set({ fault: wrong, chosen: findable });
    }
  };
  return html`<main class="sign-in">
    <h1 tabindex="-1">May others find you?</h1>
    <p>If others may find you, people who were near you see your name and company, and when and where they met you.</p>
    <p>You can change this at any time on your own page, under “What others see of you”.</p>
    <p class="choices">
      <button type="button" disabled=${busy} onClick=${() => choose(true)}>Others may find me</button>
      <button type="button" disabled=${busy} onClick=${() => choose(false)}>Keep me hidden</button>
    </p>
    ${fault ? html`<${Wrong} key=${fault} fault=${fault} again=${() => choose(chosen)}/>` : null}
    <p class="soft small">${person.value ? html`You are signed in as ${nameOf(person.value)}.` : null}${" "}
      Is that not you? <button type="button" class="link" onClick=${leave}>Sign out</button></p>
  </main>`;
}
