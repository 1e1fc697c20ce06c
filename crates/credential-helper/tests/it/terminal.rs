//! Questions on a real terminal: `script` (util-linux) makes one and passes on what is typed and shown.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use super::fake_appview::{FakeAppView, approved};
use super::home::{ALICE, BOB, CAROL, HELPER, Home, config};

/// How long the program may take to show what is expected of it.
const PATIENCE: Duration = Duration::from_secs(20);

const DOWN: &str = "\u{1b}[B";
const ENTER: &str = "\r";
const CTRL_C: &str = "\u{3}";
const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// The helper on a terminal.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    shown: Receiver<Vec<u8>>,
    screen: String,
}

impl Terminal {
    fn start(home: &Home, arguments: &str) -> Self {
        let mut child = home
            .command("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{HELPER} {arguments}"))
            .arg("/dev/null")
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script, of util-linux");
        let keyboard = child.stdin.take().expect("standard input");
        let mut output = child.stdout.take().expect("standard output");
        let (sender, shown) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            keyboard,
            shown,
            screen: String::new(),
        }
    }

    fn wait_for(&mut self, text: &str) {
        while !self.screen.contains(text) {
            let Ok(bytes) = self.shown.recv_timeout(PATIENCE) else {
                panic!("{text:?} is not shown: {:?}", self.screen);
            };
            self.screen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
        self.keyboard.flush().expect("a terminal");
    }

    /// Exit code, and what was shown until then.
    fn finish(mut self) -> (i32, String) {
        while let Ok(bytes) = self.shown.recv_timeout(PATIENCE) {
            self.screen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let status = self.child.wait().expect("an exit");
        (status.code().unwrap_or(-1), self.screen)
    }
}

fn three_accounts() -> Home {
    Home::with_config(&config("https://atcr.io", &[ALICE, BOB, CAROL]))
}

fn active(home: &Home) -> String {
    let accounts: Value = serde_json::from_str(&home.read(".atcr/config.json")).unwrap();
    let active = &accounts["registries"]["https://atcr.io"]["active"];
    active.as_str().unwrap().to_owned()
}

#[test]
fn switch_offers_a_menu_of_three_accounts() {
    let home = three_accounts();
    let mut terminal = Terminal::start(&home, "switch");
    terminal.wait_for("Which account?");
    terminal.wait_for(CAROL.0);
    terminal.press(DOWN);
    terminal.press(ENTER);
    terminal.wait_for("is now the active account on atcr.io");
    let (code, screen) = terminal.finish();
    assert_eq!(code, 0, "{screen:?}");
    assert_eq!(active(&home), BOB.0);
    assert!(
        screen.rfind(SHOW_CURSOR) > screen.rfind("\u{1b}[?25l"),
        "the cursor is back: {screen:?}"
    );
}

#[test]
fn ctrl_c_in_the_menu_changes_nothing_and_brings_the_cursor_back() {
    let home = three_accounts();
    let mut terminal = Terminal::start(&home, "switch");
    terminal.wait_for(CAROL.0);
    terminal.press(CTRL_C);
    let (code, screen) = terminal.finish();
    assert_eq!(code, 130, "{screen:?}");
    assert!(
        screen.rfind(SHOW_CURSOR) > screen.rfind("\u{1b}[?25l"),
        "the cursor is back: {screen:?}"
    );
    assert_eq!(active(&home), ALICE.0);
}

#[test]
fn login_asks_before_it_opens_a_browser_and_before_it_changes_dockers_configuration() {
    let appview = FakeAppView::with_polls([approved(ALICE.0, ALICE.1, "atcr_device_new_alice")]);
    let mut home = Home::new();
    home.set("BROWSER", "/nowhere/browser");
    let mut terminal = Terminal::start(&home, &format!("login {}", appview.host()));
    terminal.wait_for("ABCD-1234");
    terminal.wait_for("Open the browser here?");
    terminal.press("n");
    terminal.wait_for("Signed in to");
    terminal.wait_for("Make Docker use this sign-in?");
    assert!(!home.exists(".docker/config.json"), "not before the answer");
    terminal.press("y");
    let (code, screen) = terminal.finish();
    assert_eq!(code, 0, "{screen:?}");
    assert!(!screen.contains("no browser could be started"), "{screen:?}");
    assert!(screen.contains("Ready: docker push"), "{screen:?}");
    assert!(
        !screen.contains("atcr_device_new_alice"),
        "the secret is shown nowhere"
    );
    assert!(home.read(".docker/config.json").contains(&appview.host()));
}

#[test]
fn json_asks_nothing_on_a_terminal_either() {
    let home = three_accounts();
    for arguments in ["switch --json", "logout --json"] {
        let (code, screen) = Terminal::start(&home, arguments).finish();
        assert!(
            screen.contains("there are several accounts"),
            "{arguments}: {screen:?}"
        );
        assert_eq!(code, 1, "{screen:?}");
    }
}
