/* Keeps the page of the app for phones without a network. It stores no data of the API. */
"use strict";
const SHELL = "connect-{{ digest }}";
const PAGE = "/share";
const FILES = new Set({{ files|safe }});

addEventListener("install", (event) => {
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll([PAGE, ...FILES])).then(() => skipWaiting()));
});

addEventListener("activate", (event) => {
  const isOld = (name) => name.startsWith("connect-") && name !== SHELL;
  event.waitUntil(caches.keys().then((names) => Promise.all(names.filter(isOld).map((name) => caches.delete(name)))).then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  if (FILES.has(url.pathname)) {
    // The names have a digest of the content, so a stored file is never old.
    event.respondWith(caches.match(event.request).then((stored) => stored ?? fetch(event.request)));
  } else if (url.pathname === PAGE && event.request.mode === "navigate") {
    event.respondWith(fetch(event.request).catch(() => caches.match(PAGE)));
  }
});
