// What scrolls sideways can be reached by keyboard.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".table-wrapper, pre, dt.sig")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
