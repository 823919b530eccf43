"use strict";
// Text areas for SQL become editors that know the target's names.

const names = new Map();

async function namesOf(target) {
  if (target === "") return {};
  if (!names.has(target)) {
    names.set(target, fetch(`/console/targets/${encodeURIComponent(target)}/names`)
      .then((answer) => (answer.ok ? answer.json() : {}))
      .catch(() => ({})));
  }
  return names.get(target);
}

document.querySelectorAll("textarea[data-editor]").forEach((area) => {
  const select = document.getElementById(area.dataset.namesOf);
  const editor = CodeMirror.fromTextArea(area, {
    mode: "text/x-pgsql",
    lineNumbers: true,
    matchBrackets: true,
    lineWrapping: true,
    hintOptions: { completeSingle: false, tables: {} },
    // Tab goes to the next field, as in every other one.
    extraKeys: {
      Tab: false,
      "Shift-Tab": false,
      "Ctrl-Space": "autocomplete",
      "Ctrl-Enter": () => area.form.requestSubmit(),
      "Cmd-Enter": () => area.form.requestSubmit(),
    },
  });
  const label = document.querySelector(`label[for=${area.id}]`);
  editor.getInputField().setAttribute("aria-label", label.firstChild.textContent.trim());
  label.addEventListener("click", () => editor.focus());
  area.required = false; // it is hidden now, and a browser cannot point at it; the server says the same
  const learn = async () => { editor.setOption("hintOptions", { completeSingle: false, tables: await namesOf(select.value) }); };
  select.addEventListener("change", learn);
  learn();
});
