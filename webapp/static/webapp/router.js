/** Routes of the app. The path and query of the address hold its whole state, so that a link restores it. */
import { useEffect, useState } from "../vendor/htm/standalone.module.js";

const navigation = new EventTarget();

function currentRoute() {
  return { path: location.pathname, query: Object.fromEntries(new URLSearchParams(location.search)) };
}

export function buildPath(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  return search ? `${path}?${search}` : path;
}

/** `replace` adds no entry to the browser's history. */
export function navigate(url, { replace = false } = {}) {
  const samePath = new URL(url, location).pathname === location.pathname;
  history[replace ? "replaceState" : "pushState"](null, "", url);
  navigation.dispatchEvent(new Event("navigate"));
  if (!samePath) scrollTo(0, 0);
}

/** The current `{path, query}`. */
export function useRoute() {
  const [route, setRoute] = useState(currentRoute);
  useEffect(() => {
    const update = () => setRoute(currentRoute());
    navigation.addEventListener("navigate", update);
    addEventListener("popstate", update);
    return () => {
      navigation.removeEventListener("navigate", update);
      removeEventListener("popstate", update);
    };
  }, []);
  return route;
}

/** Makes links within the app navigate without a page load. */
export function interceptLinks() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.download || link.origin !== location.origin) return;
    if (link.getAttribute("href").startsWith("#")) return; // an anchor in this view
    event.preventDefault();
    navigate(link.href);
  });
}
