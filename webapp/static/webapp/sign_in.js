/** Where somebody says who they are, in place of any view; that is still there afterwards. */
import { html, useState } from "../vendor/htm/standalone.module.js";
import { API } from "./api.js";
import { tokenIn } from "./shown.js";

export function SignIn({ why, busy, enter, place }) {
  const [text, setText] = useState("");
  const [seen, setSeen] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    enter(tokenIn(text));
  };
  const back = new URLSearchParams({ to: place });
  return html`<main class="sign-in">
    <h1 tabindex="-1">Sign in</h1>
    <p class="lead">Where people were and whom they met is theirs to know. Say who you are to see what is yours.</p>
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
    <p>The organiser gave you a link, a code to scan, or a token. The link and the code sign you in by themselves; the
      token goes in above. If it does not work any more, ask for another.</p>
    <h2>You organise</h2>
    <p>Use a staff token, or <a href=${`${API}/admin/app/?${back}`}>sign in at the admin site</a>.</p>
    <p class="soft small">This browser remembers you until you sign out.</p>
  </main>`;
}
