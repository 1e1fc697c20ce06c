//! A real browser, driven as a person would: by what is written on buttons and in front of fields.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use atcr_test_support::network::Account;
use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

/// How long a page may take to show what is expected of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// A headless Chromium with a profile of its own.
pub(crate) struct Browser {
    client: Client,
    driver: Child,
}

impl Browser {
    /// Starts one whose profile is in `folder`; `arguments` are added to its command line.
    pub(crate) async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The browser becomes part of the group, and is ended with it.
            .process_group(0)
            .spawn()
            .expect("chromedriver: `cargo xtask test` installs it");
        let lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port: u16 = lines
            .map_while(Result::ok)
            .find_map(|line| {
                let port = line.split("started successfully on port ").nth(1)?;
                port.trim_end_matches('.').parse().ok()
            })
            .expect("chromedriver says its port");
        let mut options: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1200,900",
        ]
        .map(str::to_owned)
        .to_vec();
        options.push(format!("--user-data-dir={}", folder.join("profile").display()));
        options.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let capabilities = json!({ "browserName": "chrome", "goog:chromeOptions": { "args": options } });
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities.as_object().expect("an object").clone())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a browser: `cargo xtask test` installs Chromium");
        Self { client, driver }
    }

    /// Opens a page.
    pub(crate) async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page opens");
    }

    /// Where it is now.
    pub(crate) async fn url(&self) -> String {
        self.client.current_url().await.expect("an address").to_string()
    }

    /// What the page says, as a reader sees it.
    pub(crate) async fn text(&self) -> String {
        let body = self.element(Locator::Css("body")).await;
        body.text().await.expect("the text")
    }

    /// Types into the field named `name`, replacing what is there.
    pub(crate) async fn fill(&self, name: &str, value: &str) {
        let field = self.element(Locator::Css(&format!("[name='{name}']"))).await;
        field.clear().await.expect("an empty field");
        field.send_keys(value).await.expect("a field");
    }

    /// Presses the button, link or summary on which `label` is written.
    pub(crate) async fn press(&self, label: &str) {
        let path = format!(
            "//button[normalize-space()='{label}'] | //a[normalize-space()='{label}'] | //summary[normalize-space()='{label}'] | //input[@type='submit' and @value='{label}']"
        );
        let element = self.element(Locator::XPath(&path)).await;
        // A page may scroll smoothly, and a click in the middle of that would meet another element.
        let scrolled = vec![serde_json::to_value(&element).expect("an element's reference")];
        self.client
            .execute(
                "arguments[0].scrollIntoView({ block: 'center', behavior: 'instant' })",
                scrolled,
            )
            .await
            .expect("a page that scrolls");
        element.click().await.expect("a button that can be pressed");
    }

    /// Follows the link that matches a CSS selector.
    pub(crate) async fn follow(&self, selector: &str) {
        let link = self.element(Locator::Css(selector)).await;
        let address = link.prop("href").await.expect("a link").expect("an address");
        self.open(&address).await;
    }

    /// Presses the button that matches a CSS selector.
    pub(crate) async fn follow_form(&self, selector: &str) {
        let button = self.element(Locator::Css(selector)).await;
        button.click().await.expect("a button that can be pressed");
    }

    /// Makes the window as large as this, in pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let resized = self.client.set_window_size(width, height).await;
        resized.expect("a window of another size");
    }

    /// Shows the page in a theme, as its button does.
    pub(crate) async fn set_theme(&self, theme: &str) {
        let script = "document.documentElement.dataset.theme = arguments[0]";
        let set = self.client.execute(script, vec![json!(theme)]).await;
        set.expect("a page with a theme");
    }

    /// What axe-core, given as its source, finds wrong with the page: the rule, and the element.
    pub(crate) async fn violations(&self, axe: &str) -> Vec<String> {
        let loaded = self.client.execute(axe, Vec::new()).await;
        loaded.expect("axe-core runs in the page");
        // Colours on their way from one theme to the other are nobody's choice.
        let script = "const done = arguments[arguments.length - 1];
            Promise.allSettled(document.getAnimations().map((one) => one.finished)).then(() => axe.run(document, { resultTypes: ['violations'] })).then(
                (results) => done(results.violations.flatMap((rule) =>
                    rule.nodes.map((node) => `${rule.id}: ${node.html.slice(0, 200)} ${node.failureSummary ?? ''}`))),
                (error) => done([String(error)]));";
        let found = self.client.execute_async(script, Vec::new()).await;
        let found: Result<Vec<String>, _> = serde_json::from_value(found.expect("an answer of axe-core"));
        found.expect("a list of violations")
    }

    /// Keeps a picture of what is in the window, as PNG.
    pub(crate) async fn picture(&self, path: &Path) {
        let picture = self.client.screenshot().await.expect("a picture");
        std::fs::write(path, picture).expect("a file");
    }

    /// The text of the element that matches a CSS selector, shown or not.
    pub(crate) async fn content(&self, selector: &str) -> String {
        let element = self.element(Locator::Css(selector)).await;
        element
            .prop("textContent")
            .await
            .expect("an element")
            .expect("a text")
    }

    /// Says yes to the question that the page asks in a dialog.
    pub(crate) async fn accept_dialog(&self) {
        self.client.accept_alert().await.expect("a dialog");
    }

    /// Waits until something on the page matches a CSS selector.
    pub(crate) async fn wait_for(&self, selector: &str) {
        self.element(Locator::Css(selector)).await;
    }

    /// Waits until `text` can be read on the page.
    pub(crate) async fn wait_for_text(&self, text: &str) {
        let path = format!("//body[contains(normalize-space(.), \"{text}\")]");
        self.element(Locator::XPath(&path)).await;
    }

    /// Waits for the sign-in page of the account's own server, signs in, and lets the registry in.
    pub(crate) async fn authorize_at_pds(&self, account: &Account) {
        self.fill("password", &account.password).await;
        self.press("Sign in").await;
        self.press("Authorize").await;
    }

    /// Which cookies it has for the page it is on.
    pub(crate) async fn cookie_names(&self) -> Vec<String> {
        let cookies = self.client.get_all_cookies().await.expect("cookies");
        cookies.iter().map(|cookie| cookie.name().to_owned()).collect()
    }

    /// Waits for an element.
    async fn element(&self, locator: Locator<'_>) -> Element {
        match self.client.wait().at_most(PATIENCE).for_element(locator).await {
            Ok(element) => element,
            Err(error) => {
                let source = self.client.source().await.unwrap_or_default();
                panic!(
                    "{locator:?} at {}: {error}\n{}",
                    self.url().await,
                    &source[..source.floor_char_boundary(3000)]
                )
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to end, the driver leaves the browser behind.
        let group = i32::try_from(self.driver.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            // If no process is left, there is none to end.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.driver.wait();
    }
}
