/** A person's first sign-in: asks whether others may find them, until they answer. */
import { html, useEffect, useRef, useState } from "../vendor/htm/standalone.module.js";
import { get, put, useLoaded } from "./api.js";
import { ErrorNote, Loading, nameOf } from "./components.js";
import { rememberCaller, rememberedCaller } from "./credentials.js";

/** Shows `children(consent)` once the person has decided: `consent` is the state of its load, undefined if they decided
 * at an earlier visit. */
export function ConsentGate({ id, signOut, children }) {
  const path = `/api/persons/${id}/consent`;
  const [decidedBefore] = useState(() => Boolean(rememberedCaller()?.decided));
  const consent = useLoaded(async (signal) => {
    if (decidedBefore) return null;
    const loaded = await get(path, {}, signal);
    if (loaded.decided) rememberCaller({ ...rememberedCaller(), decided: true });
    return loaded;
  }, [id]);
  const wasAsked = useRef(false);
  const undecided = consent.value?.decided === false;
  if (undecided) wasAsked.current = true;
  useEffect(() => {
    if (wasAsked.current) document.querySelector("h1")?.focus({ preventScroll: true });
  }, [undecided]);
  if (decidedBefore) return children(undefined);
  if (consent.value && !undecided) return children(consent);
  if (undecided) return html`<${Question} id=${id} path=${path} signOut=${signOut} onDecided=${consent.reload}/>`;
  return html`<main class="sign-in">${consent.error
    ? html`<h1 tabindex="-1">Connect</h1><${ErrorNote} key=${consent.error} error=${consent.error} reload=${consent.reload}/>`
    : html`<${Loading}/>`}</main>`;
}

function Question({ id, path, signOut, onDecided }) {
  const person = useLoaded((signal) => get(`/api/persons/${id}`, {}, signal), [id]);
  const [{ busy, error, choice }, setState] = useState({});
  const choose = async (findable) => {
    setState({ busy: true });
    try {
      await put(path, { findable });
      onDecided();
    } catch (failure) {
      setState({ error: failure, choice: findable });
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
    ${error ? html`<${ErrorNote} key=${error} error=${error} reload=${() => choose(choice)}/>` : null}
    <p class="soft small">${person.value ? html`You are signed in as ${nameOf(person.value)}.` : null}${" "}
      Not you? <button type="button" class="link" onClick=${signOut}>Sign out</button></p>
  </main>`;
}
