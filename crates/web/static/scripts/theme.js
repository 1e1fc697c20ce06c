// Runs before anything is painted, so that a remembered theme does not flash in late.
(() => {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // No storage: the system's preference it is.
  }
})();

// The same for the client of pull commands: its radio button is checked as soon as it is parsed.
(() => {
  let client;
  try {
    client = localStorage.getItem("client");
  } catch {
    return;
  }
  if (!client) return;
  const choose = () => {
    for (const radio of document.querySelectorAll("[data-pull] input[name=client]")) {
      if (radio.value === client) radio.checked = true;
    }
  };
  const parsed = new MutationObserver(choose);
  parsed.observe(document.documentElement, { childList: true, subtree: true });
  document.addEventListener("DOMContentLoaded", () => {
    parsed.disconnect();
    choose();
  });
})();
