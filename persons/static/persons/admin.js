/* Suggests companies while one types into the filter of the list of people. */
"use strict";
{
    const input = document.getElementById("company");
    let waiting = 0;
    let asked = 0;

    const suggest = async () => {
        const mine = ++asked;
        const answer = await fetch(`${input.dataset.url}?q=${encodeURIComponent(input.value)}`);
        if (!answer.ok || mine !== asked) return; // an older question was answered later
        const { companies } = await answer.json();
        document.getElementById("companies").replaceChildren(
            ...companies.map((name) => Object.assign(document.createElement("option"), { value: name })),
        );
    };

    if (input) {
        input.addEventListener("input", () => {
            clearTimeout(waiting);
            waiting = setTimeout(suggest, 150);
        });
        input.addEventListener("focus", suggest, { once: true });
    }
}
