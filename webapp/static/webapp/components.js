/** Notes that every view uses: loading, empty, error. */
import { html, useEffect, useState } from "../vendor/htm/standalone.module.js";
import { plural } from "./format.js";

export function Loading({ children = "Loading…" }) {
  return html`<p class="loading" role="status">${children}</p>`;
}

export function Empty({ title, children }) {
  return html`<div class="note"><p><strong>${title}</strong></p><p>${children}</p></div>`;
}

/** Shows an error with a button to try again. Retries by itself if the API sent Retry-After, or when the network is back. */
export function ErrorNote({ error, reload }) {
  const [secondsLeft, setSecondsLeft] = useState(error.retryAfter);
  useEffect(() => {
    if (!secondsLeft) return undefined;
    const timer = setTimeout(() => (secondsLeft > 1 ? setSecondsLeft(secondsLeft - 1) : reload()), 1000);
    return () => clearTimeout(timer);
  }, [secondsLeft]);
  useEffect(() => {
    addEventListener("online", reload);
    return () => removeEventListener("online", reload);
  }, [reload]);
  return html`<div class="note error">
    <p role="alert"><strong>${error.status === 404 ? "Not found." : "That did not work."}</strong> ${error.message}</p>
    <p>
      <button type="button" onClick=${reload}>Try again</button>
      ${secondsLeft ? html` <span class="soft">Retrying in ${plural(secondsLeft, "second", "seconds")}.</span>` : null}
    </p>
  </div>`;
}

export const nameOf = (person) => `${person.first_name} ${person.last_name}`;
