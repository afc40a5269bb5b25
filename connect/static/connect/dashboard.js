/* Refreshes the figures on the admin front page while it is visible, and computes a rate from each counter. */
"use strict";
{
    const REFRESH_MS = 5000;
    const AVERAGE_S = 60; // averaging window of a rate
    const HISTORY_S = 600; // time span of the curve
    const STORAGE_KEY = "connect-figures";

    const figures = document.getElementById("figures");
    const stale = document.getElementById("stale");
    let last = new Date();
    let timer = 0;

    // --- the rate of a counter, since this tab was opened --------------------------------------------

    const record = (number, at) => {
        const kept = JSON.parse(sessionStorage.getItem(STORAGE_KEY) ?? "[]").filter((one) => one.at > at - HISTORY_S);
        const before = kept.at(-1);
        // A counter that fell was reset by the database: drop its history.
        const all = before && before.number > number ? [] : kept;
        if (!all.length || before.at < at) all.push({ number, at });
        sessionStorage.setItem(STORAGE_KEY, JSON.stringify(all));
        return all;
    };

    const perSecond = (from, to) => (to.number - from.number) / (to.at - from.at);
    const format = (number) => number.toLocaleString("en", { maximumFractionDigits: number < 10 ? 1 : 0 });

    const measure = (figure) => {
        const all = record(Number(figure.dataset.number), Number(figure.dataset.at));
        const now = all.at(-1);
        const from = all.findLast((one) => one.at <= now.at - AVERAGE_S) ?? all[0];
        const over = figure.querySelector(".over");
        if (from === now) {
            over.textContent = "measuring…";
            return;
        }
        const rate = perSecond(from, now);
        figure.querySelector(".value").textContent = format(rate * 60);
        over.textContent = `${format(rate)} per second, over the last ${Math.round(now.at - from.at)} s`;
        const rates = all.slice(1).map((one, index) => ({ at: one.at, rate: perSecond(all[index], one) }));
        const most = Math.max(...rates.map((one) => one.rate)) || 1;
        const span_s = Math.max(AVERAGE_S, now.at - rates[0].at);
        const point = (one) => `${600 - (600 * (now.at - one.at)) / span_s},${96 - (92 * one.rate) / most}`;
        figure.querySelector("polyline").setAttribute("points", rates.map(point).join(" "));
    };

    // --- refresh --------------------------------------------------------------------------------------

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
            // Keep unchanged figures, and one whose link has the focus.
            if (!old.isEqualNode(figure) && !old.contains(document.activeElement)) old.replaceWith(figure);
        }
    };

    const refresh = async () => {
        clearTimeout(timer);
        try {
            const answer = await fetch(figures.dataset.url, { redirect: "manual" }); // a redirect leads to the login
            if (!answer.ok) throw new Error(answer.statusText);
            show(new DOMParser().parseFromString(await answer.text(), "text/html"));
            last = new Date();
            stale.textContent = "";
        } catch {
            stale.textContent = `These figures are from ${last.toLocaleTimeString()}: the last refresh failed.`;
        }
        clearTimeout(timer);
        if (!document.hidden) timer = setTimeout(refresh, REFRESH_MS);
    };

    if (figures) {
        each(figures).filter((figure) => figure.dataset.at).forEach(measure);
        timer = setTimeout(refresh, REFRESH_MS);
        document.addEventListener("visibilitychange", () => {
            clearTimeout(timer);
            if (!document.hidden) refresh();
        });
    }
}
