/* Suggests companies while the user types in the company filter. */
"use strict";
{
    const input = document.getElementById("company");
    let timer = 0;
    let requests = 0;

    const suggest = async () => {
        const request = ++requests;
        const answer = await fetch(`${input.dataset.url}?q=${encodeURIComponent(input.value)}`);
        if (!answer.ok || request !== requests) return; // a newer request was sent
        const { companies } = await answer.json();
        document.getElementById("companies").replaceChildren(
            ...companies.map((name) => Object.assign(document.createElement("option"), { value: name })),
        );
    };

    if (input) {
        input.addEventListener("input", () => {
            clearTimeout(timer);
            timer = setTimeout(suggest, 150);
        });
        input.addEventListener("focus", suggest, { once: true });
    }
}
