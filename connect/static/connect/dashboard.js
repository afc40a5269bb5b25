/* Keeps the figures of the admin's front page fresh while somebody looks, and makes a rate of what is counted. */
"use strict";
{
    const EVERY_MS = 5000;
    const OVER_S = 60; // what a rate is averaged over
    const KEPT_S = 600; // what the curve shows
    const KEPT_AS = "connect-figures";

    const figures = document.getElementById("figures");
    const stale = document.getElementById("stale");
    let last = new Date();
    let timer = 0;

    // --- the rate: how fast a counter grows, as long as this tab has watched it ----------------------

    const watched = (number, at) => {
        const kept = JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "[]").filter((one) => one.at > at - KEPT_S);
        const before = kept.at(-1);
        // One that fell was set back by the database, and says nothing about what was before.
        const all = before && before.number > number ? [] : kept;
        if (!all.length || before.at < at) all.push({ number, at });
        sessionStorage.setItem(KEPT_AS, JSON.stringify(all));
        return all;
    };

    const perSecond = (from, to) => (to.number - from.number) / (to.at - from.at);
    const shown = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });

    const measure = (figure) => {
        const all = watched(Number(figure.dataset.number), Number(figure.dataset.at));
        const now = all.at(-1);
        const from = all.findLast((one) => one.at <= now.at - OVER_S) ?? all[0];
        const over = figure.querySelector(".over");
        if (from === now) {
            over.textContent = "being measured";
            return;
        }
        const rate = perSecond(from, now);
        figure.querySelector(".value").textContent = shown(rate * 60);
        over.textContent = `${shown(rate)} a second, over the last ${Math.round(now.at - from.at)} s`;
        const rates = all.slice(1).map((one, index) => ({ at: one.at, rate: perSecond(all[index], one) }));
        const most = Math.max(...rates.map((one) => one.rate)) || 1;
        const span_s = Math.max(OVER_S, now.at - rates[0].at);
        const point = (one) => `${600 - (600 * (now.at - one.at)) / span_s},${96 - (92 * one.rate) / most}`;
        figure.querySelector("polyline").setAttribute("points", rates.map(point).join(" "));
    };

    // --- fetching them --------------------------------------------------------------------------------

    const each = (root) => [...root.querySelectorAll(".figure")];
    const names = (root) => each(root).map((figure) => figure.id).join();

    const show = (fresh) => {
        each(fresh).filter((figure) => figure.dataset.at).forEach(measure);
        if (names(fresh) !== names(figures)) {
            figures.replaceChildren(...each(fresh));
            return;
        }
        for (const figure of each(fresh)) {
            const old = document.getElementById(figure.id);
            // What is the same is left alone, and so is what somebody is about to follow a link of.
            if (!old.isEqualNode(figure) && !old.contains(document.activeElement)) old.replaceWith(figure);
        }
    };

    const refresh = async () => {
        clearTimeout(timer);
        try {
            const answer = await fetch(figures.dataset.url, { redirect: "manual" }); // as to the login
            if (!answer.ok) throw new Error(answer.statusText);
            show(new DOMParser().parseFromString(await answer.text(), "text/html"));
            last = new Date();
            stale.textContent = "";
        } catch {
            stale.textContent = `These figures are of ${last.toLocaleTimeString()}: there is no fresh answer.`;
        }
        clearTimeout(timer);
        if (!document.hidden) timer = setTimeout(refresh, EVERY_MS);
    };

    if (figures) {
        each(figures).filter((figure) => figure.dataset.at).forEach(measure);
        timer = setTimeout(refresh, EVERY_MS);
        document.addEventListener("visibilitychange", () => {
            clearTimeout(timer);
            if (!document.hidden) refresh();
        });
    }
}
