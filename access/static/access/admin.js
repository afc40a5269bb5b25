/* The tokens' pages of the admin site: the form asks for what its kind needs, and what was made can be copied. */
"use strict";
{
    const kinds = document.querySelectorAll('input[name="kind"]');
    const asked = document.querySelectorAll("[data-kinds]");

    const show = () => {
        const kind = [...kinds].find((each) => each.checked)?.value;
        for (const field of asked) {
            const row = field.closest(".form-row");
            row.hidden = !field.dataset.kinds.split(" ").includes(kind);
            if (row.hidden) field.value = "";
        }
        const first = document.querySelector('label[for="id_first_person_id"]');
        first?.classList.add("required");
        if (first) first.textContent = kind === "ingest" ? "First person:" : "Person:";
    };

    for (const each of kinds) each.addEventListener("change", show);
    if (kinds.length) show();

    for (const button of document.querySelectorAll("button[data-copies]")) {
        const field = document.getElementById(button.dataset.copies);
        field.addEventListener("focus", () => field.select());
        button.addEventListener("click", async () => {
            field.select();
            try {
                await navigator.clipboard.writeText(field.value);
            } catch {
                document.execCommand("copy"); // where the page came without TLS
            }
            button.textContent = "Copied";
        });
    }
}
