/** Where in the app the reader is. Path and query of the address hold the whole state, so that a link carries it. */
import { useEffect, useState } from "../vendor/htm/standalone.module.js";

const moved = new EventTarget();

function read() {
  return { path: location.pathname, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  return search ? `${path}?${search}` : path;
}

/** Goes to an address; `replace` leaves no step in the history. */
export function go(url, { replace = false } = {}) {
  const samePath = new URL(url, location).pathname === location.pathname;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  moved.dispatchEvent(new Event("moved"));
  if (!samePath) scrollTo(0, 0);
}

export function usePlace() {
  const [place, set] = useState(read);
  useEffect(() => {
    const look = () => set(read());
    moved.addEventListener("moved", look);
    addEventListener("popstate", look);
    return () => {
      moved.removeEventListener("moved", look);
      removeEventListener("popstate", look);
    };
  }, []);
  return place;
}

/** Links within the app change the address without loading the page anew. */
export function followLinks() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.download || link.origin !== location.origin) return;
    if (link.getAttribute("href").startsWith("#")) return; // to a part of this view
    event.preventDefault();
    go(link.href);
  });
}
