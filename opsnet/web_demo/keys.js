// Keyboard and screen readers: Ctrl+Enter presses "Segment" from every control, a new status is read out, and the
// examples, which are images without a text, get names.
// In the text box gradio itself takes every Enter without Shift as "submit".
const page = element.ownerDocument;
page.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.target.closest("#words, #go")) return;
  event.preventDefault();
  page.querySelector("#go").click();
});
const name = () => {
  page.querySelector("#status")?.setAttribute("aria-live", "polite");
  page.querySelectorAll("#examples button").forEach((button, i) => button.setAttribute("aria-label", `Example ${i + 1}`));
};
new MutationObserver(name).observe(page.body, { childList: true, subtree: true });
name();
