/* Token pages of the admin site: the form shows only the fields of the chosen kind; buttons copy secrets. */
"use strict";
{
    const kinds = document.querySelectorAll('input[name="kind"]');
    const fields = document.querySelectorAll("[data-kinds]");

    const showFields = () => {
        const kind = [...kinds].find((each) => each.checked)?.value;
        for (const field of fields) {
            const row = field.closest(".form-row");
            row.hidden = !field.dataset.kinds.split(" ").includes(kind);
            if (row.hidden) field.value = "";
        }
        const first = document.querySelector('label[for="id_first_person_id"]');
        first?.classList.add("required");
        if (first) first.textContent = kind === "ingest" ? "First person:" : "Person:";
    };

    for (const each of kinds) each.addEventListener("change", showFields);
    if (kinds.length) showFields();

    for (const button of document.querySelectorAll("button[data-copies]")) {
        const field = document.getElementById(button.dataset.copies);
        field.addEventListener("focus", () => field.select());
        button.addEventListener("click", async () => {
            field.select();
            try {
                await navigator.clipboard.writeText(field.value);
            } catch {
                document.execCommand("copy"); // pages without TLS have no clipboard API
            }
            button.textContent = "Copied";
        });
    }
}
