// What scripts add to pages that work without them.

const system = matchMedia("(prefers-color-scheme: dark)");

function currentTheme() {
  return document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");
}

function setUpThemeToggle(button) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const theme = currentTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // It lasts as long as the page, then.
    }
  });
}

function setUpCopyButton(button) {
  if (!navigator.clipboard) return;
  const label = button.querySelector("[data-copy-label]");
  const text = button.dataset.copy || button.parentElement.querySelector("code").textContent;
  const name = label.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.dataset.copied = "";
    label.textContent = "Copied";
    setTimeout(() => {
      delete button.dataset.copied;
      label.textContent = name;
    }, 1600);
  });
}

function setUpCopyButtons() {
  document.querySelectorAll("[data-copy][hidden]").forEach(setUpCopyButton);
}

function setUpMenu(menu) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}

// theme.js chooses the same client on the next page.
function rememberClient(event) {
  if (event.target.name !== "client") return;
  try {
    localStorage.setItem("client", event.target.value);
  } catch {
    // It lasts as long as the page, then.
  }
}

// The form of the settings is the last word: what was chosen on single pages before is forgotten.
function forgetChoices() {
  try {
    localStorage.removeItem("theme");
    localStorage.removeItem("client");
  } catch {
    // Nothing is remembered, then.
  }
}

document.addEventListener("change", rememberClient);
document.querySelectorAll("[data-appearance]").forEach((form) => form.addEventListener("submit", forgetChoices));
document.querySelectorAll("[data-theme-toggle]").forEach(setUpThemeToggle);
setUpCopyButtons();
// Parts that come late bring buttons of their own.
document.addEventListener("htmx:after:swap", setUpCopyButtons);
document.querySelectorAll("[data-menu]").forEach(setUpMenu);
