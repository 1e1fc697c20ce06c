//! `atcr-hold init` on a real terminal: `script` (util-linux) makes one and passes on what is typed and shown.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::{Captain, HANDLE};

/// How long the program may take to show what is expected of it.
const PATIENCE: Duration = Duration::from_mins(1);

struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    shown: Receiver<Vec<u8>>,
    screen: String,
}

impl Terminal {
    fn start(folder: &Path, arguments: &str) -> Self {
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!("{} {arguments}", env!("CARGO_BIN_EXE_atcr-hold")))
            .arg("/dev/null")
            .current_dir(folder)
            .env("TERM", "xterm")
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

    /// Waits for a question, which nothing before it has in its text, and answers it.
    fn answer(&mut self, question: &str, answer: &str) {
        while !self.screen.contains(question) {
            let Ok(bytes) = self.shown.recv_timeout(PATIENCE) else {
                panic!("{question:?} is not asked: {:?}", self.screen);
            };
            self.screen.push_str(&String::from_utf8_lossy(&bytes));
        }
        self.screen.clear();
        self.keyboard
            .write_all(format!("{answer}\n").as_bytes())
            .expect("a terminal");
    }

    fn finish(mut self) -> String {
        while let Ok(bytes) = self.shown.recv_timeout(PATIENCE) {
            self.screen.push_str(&String::from_utf8_lossy(&bytes));
        }
        let status = self.child.wait().expect("an exit");
        assert!(status.success(), "{}", self.screen);
        self.screen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_questions_are_asked_once_more_after_a_wrong_answer_and_empty_answers_are_defaults() {
    let captain = Captain::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let mut terminal = Terminal::start(folder.path(), &format!("init {}", captain.network().join(" ")));
    let typed = tokio::task::spawn_blocking(move || {
        terminal.answer("The hold's domain", "hold.example.com/path");
        terminal.answer("must be scheme, host and port only", "hold.example.com");
        terminal.answer("The captain:", "nobody.test");
        terminal.answer("The captain:", HANDLE);
        terminal.answer("Is this the captain?", "");
        terminal.answer("May everybody pull", "y");
        terminal.answer("May every account join", "");
        terminal.answer("The registry (AppView)", "");
        terminal.answer(
            "The folder of the hold's repository",
            data.to_str().expect("UTF-8"),
        );
        terminal.answer("Where the layers are kept", "");
        terminal.answer("The folder of the layers", "");
        terminal.answer("The kind of the hold's DID", "plc");
        terminal.answer("Where the hold's repository is copied", "");
        terminal.answer("The proxy in front", "");
        terminal.answer("Where the hold listens", "");
        (terminal.finish(), data)
    });
    let (screen, data) = typed.await.expect("typed");
    assert!(screen.contains("reverse_proxy 127.0.0.1:8080"), "{screen}");
    assert!(screen.contains("there is no backup"), "{screen}");
    let written = std::fs::read_to_string(folder.path().join("hold.yaml")).expect("the file");
    for line in [
        "public_url: https://hold.example.com".to_owned(),
        "public: true".to_owned(),
        "allow_all_crew: false".to_owned(),
        format!("owner_did: {}", captain.did),
        format!("path: {}", data.display()),
        "did_method: plc".to_owned(),
        "enabled: false".to_owned(),
    ] {
        assert!(written.contains(&line), "{line} in:\n{written}");
    }
}
