/** The sign-in page, which stands in place of any view, and what it asks when a link was opened. */
import { html, useState } from "../vendor/htm/standalone.module.js";
import { API } from "./api.js";
import { fromField } from "./shown.js";

export function SignIn({ why, busy, enter, place }) {
  const [text, setText] = useState("");
  const [seen, setSeen] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    enter(fromField(text));
  };
  const back = new URLSearchParams({ to: place });
  return html`<main class="sign-in">
    <h1 tabindex="-1">Sign in</h1>
    <p class="lead">You see your own day and the people you met, and nobody else’s.</p>
    ${why ? html`<p class="note wrong" role="alert" id="why">${why}</p>` : null}
    <form onSubmit=${submit}>
      <label for="token">Token</label>
      <div class="field">
        <input id="token" type=${seen ? "text" : "password"} required autocomplete="off" autocapitalize="off" spellcheck=${false}
          aria-describedby=${why ? "why" : undefined} autofocus value=${text} onInput=${(event) => setText(event.target.value)}/>
        <button type="button" aria-pressed=${seen} aria-controls="token" onClick=${() => setSeen(!seen)}>Show</button>
      </div>
      <button disabled=${busy}>Sign in</button>
    </form>
    <h2>You take part</h2>
    <p>Open the link or scan the code that the organiser gave you: it signs you in, once. A token goes in above. If yours
      does not work any more, ask the organiser for another.</p>
    <h2>You organise</h2>
    <p>Use a staff token, or <a href=${`${API}/admin/app/?${back}`}>sign in at the admin site</a>.</p>
    <p class="soft small">This browser remembers you until you sign out.</p>
  </main>`;
}

/** Asks before a link replaces the person who is signed in. */
export function Replace({ question: { now, offered, what }, decide }) {
  return html`<main class="sign-in">
    <h1 tabindex="-1">Sign in as ${offered}?</h1>
    <p>You are signed in as <b>${now}</b>. The link that you opened signs in <b>${offered}</b>.</p>
    <p>If you are not ${offered}, stay signed in: otherwise you would see and change what is theirs, and not what is
      yours.</p>
    <p class="choices">
      <button type="button" onClick=${() => decide(null)}>Stay signed in as ${now}</button>
      <button type="button" onClick=${() => decide(what)}>Sign in as ${offered}</button>
    </p>
    <p class="soft small">A link works once, and this one is used now.</p>
  </main>`;
}

/** Says that a link does not work, to somebody who is signed in. */
export function Broken({ why, again }) {
  return html`<main class="sign-in">
    <h1 tabindex="-1">This link does not work</h1>
    <p class="note wrong" role="alert">${why}</p>
    <p>You are still signed in as before.</p>
    <p><button type="button" onClick=${again}>Continue</button></p>
  </main>`;
}
