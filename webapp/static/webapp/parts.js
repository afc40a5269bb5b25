/** What every view says when it has nothing to show yet, or something is wrong. */
import { html, useEffect, useState } from "../vendor/htm/standalone.module.js";
import { plural } from "./format.js";

export function Loading({ children = "Loading…" }) {
  return html`<p class="loading" role="status">${children}</p>`;
}

export function Empty({ title, children }) {
  return html`<div class="note"><p><strong>${title}</strong></p><p>${children}</p></div>`;
}

/** Says what is wrong and what to do; tries again by itself where the API names a time. */
export function Wrong({ fault, again }) {
  const [left, setLeft] = useState(fault.retryAfter);
  useEffect(() => {
    if (!left) return undefined;
    const timer = setTimeout(() => (left > 1 ? setLeft(left - 1) : again()), 1000);
    return () => clearTimeout(timer);
  }, [left]);
  return html`<div class="note wrong">
    <p role="alert"><strong>${fault.status === 404 ? "Not found." : "That did not work."}</strong> ${fault.message}</p>
    <p>
      <button type="button" onClick=${again}>Try again</button>
      ${left ? html` <span class="soft">It does by itself in ${plural(left, "second", "seconds")}.</span>` : null}
    </p>
  </div>`;
}

export const nameOf = (person) => `${person.first_name} ${person.last_name}`;
