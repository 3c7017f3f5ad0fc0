// What the theme leaves out for those who use a keyboard or a screen reader.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll(".table-wrapper, pre, dt.sig")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; // it scrolls sideways
  }
  for (const head of document.querySelectorAll('[role="heading"]:not([aria-level])')) head.ariaLevel = "2";
});
