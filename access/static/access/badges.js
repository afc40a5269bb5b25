/* The page of badges: prints it, and saves its links as CSV. */
"use strict";
{
    const COLUMNS = ["person_id", "first_name", "last_name", "company_name", "link"];

    const cell = (text) => {
        const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; // otherwise a spreadsheet runs it as a formula
        return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    };

    document.getElementById("print").addEventListener("click", () => window.print());
    document.getElementById("csv").addEventListener("click", () => {
        const rows = [...document.querySelectorAll(".badge")].map(({ dataset }) =>
            [dataset.person, dataset.first, dataset.last, dataset.company, dataset.link].map(cell).join(","));
        const text = `\ufeff${[COLUMNS.join(","), ...rows].join("\r\n")}\r\n`; // the mark tells Excel that it is UTF-8
        const link = document.createElement("a");
        link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
        link.download = "sign-in-links.csv";
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    });
}
