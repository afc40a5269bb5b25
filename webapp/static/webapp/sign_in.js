/** Pages of signing in: the form, and what follows a link that replaces the caller or does not work. */
import { html, useState } from "../vendor/htm/standalone.module.js";
import { API } from "./api.js";
import { parseField } from "./credentials.js";
import { full, plural } from "./format.js";

export function SignIn({ reason, busy, signIn, returnTo }) {
  const [text, setText] = useState("");
  const [visible, setVisible] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    signIn(parseField(text));
  };
  const query = new URLSearchParams({ to: returnTo });
  return html`<main class="sign-in">
    <h1 tabindex="-1">Sign in</h1>
    <p class="lead">You see only your own day and the people you met.</p>
    ${reason ? html`<p class="note error" role="alert" id="reason">${reason}</p>` : null}
    <form onSubmit=${submit}>
      <label for="token">Token</label>
      <div class="field">
        <input id="token" type=${visible ? "text" : "password"} required autocomplete="off" autocapitalize="off" spellcheck=${false}
          aria-describedby=${reason ? "reason" : undefined} autofocus value=${text} onInput=${(event) => setText(event.target.value)}/>
        <button type="button" aria-pressed=${visible} aria-controls="token" onClick=${() => setVisible(!visible)}>Show</button>
      </div>
      <button disabled=${busy}>Sign in</button>
    </form>
    <h2>Participants</h2>
    <p>Open the link or scan the code from the organiser. It signs you in once. If you have a token, enter it above. If
      it no longer works, ask the organiser for a new one.</p>
    <h2>Organisers</h2>
    <p>Use a staff token, or <a href=${`${API}/admin/app/?${query}`}>sign in at the admin site</a>.</p>
    <p class="soft small">This browser remembers you until you sign out.</p>
  </main>`;
}

/** Asks before a link replaces the caller who is signed in. */
export function ConfirmReplace({ replacement: { current, offered, link }, decide }) {
  return html`<main class="sign-in">
    <h1 tabindex="-1">Sign in as ${offered}?</h1>
    <p>You are signed in as <b>${current}</b>. The link that you opened signs in <b>${offered}</b>.</p>
    <p>If you are not ${offered}, stay signed in as ${current}. Otherwise you would see and change the data of ${offered}
      instead of your own.</p>
    <p class="choices">
      <button type="button" onClick=${() => decide(null)}>Stay signed in as ${current}</button>
      <button type="button" onClick=${() => decide(link)}>Sign in as ${offered}</button>
    </p>
    <p class="soft small">A link works once. This one is now used.</p>
  </main>`;
}

/** Reports a link that does not work to a caller who stays signed in. */
export function BrokenLink({ reason, retry }) {
  return html`<main class="sign-in">
    <h1 tabindex="-1">This link does not work</h1>
    <p class="note error" role="alert">${reason}</p>
    <p>You are still signed in as before.</p>
    <p><button type="button" onClick=${retry}>Continue</button></p>
  </main>`;
}

/** What follows the erasure of a person. */
export function Receipt({ receipt }) {
  return html`<main class="sign-in">
    <h1 tabindex="-1">Everything about person ${receipt.person_id} is deleted</h1>
    <p role="status">Deleted at ${full(Date.parse(receipt.erased_at))}: ${plural(receipt.pings, "position", "positions")},
      ${" "}${plural(receipt.rejected_pings, "rejected position", "rejected positions")} and ${plural(receipt.tokens, "token", "tokens")}.</p>
    <p>Positions that were on their way are dropped when they arrive. This receipt, with the number and without a name, stays at the organiser.</p>
    <p><a class="button" href="/" target="_self">Close</a></p>
  </main>`;
}
