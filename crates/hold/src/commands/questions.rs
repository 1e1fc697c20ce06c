//! What a command has to know: given by a flag, else asked for on the terminal, else the default if those shall do.
//!
//! Every question is one line that is typed, so that Ctrl-C and pasted text work as they do in a shell.

use std::io::IsTerminal as _;

use anyhow::{Context as _, anyhow, bail};
use dialoguer::Input;
use dialoguer::theme::ColorfulTheme;
use secrecy::SecretString;

/// Where answers come from that no flag gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Terminal,
    Defaults,
    Nowhere,
}

/// One thing to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    /// The flag that answers it, such as `--url`.
    pub(super) flag: &'q str,
    /// What is asked.
    pub(super) text: &'q str,
    /// What an empty answer means, if it may be empty.
    pub(super) default: Option<&'q str>,
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Questions {
    source: Source,
}

impl Questions {
    /// Asks on the terminal, if there is one, unless defaults shall do.
    pub(super) fn new(takes_defaults: bool) -> Self {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let source = match (takes_defaults, is_terminal) {
            (true, _) => Source::Defaults,
            (false, true) => Source::Terminal,
            (false, false) => Source::Nowhere,
        };
        Self { source }
    }

    /// Whether somebody sits there.
    pub(super) fn asks(self) -> bool {
        self.source == Source::Terminal
    }

    /// The answer as `parse` understands it, which says in a sentence what is wrong with one.
    ///
    /// # Errors
    /// For the terminal: a flag with a wrong value, no terminal to ask at, or one that goes away.
    pub(super) fn ask<T>(
        self,
        question: Question<'_>,
        given: Option<&str>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        let flag = question.flag;
        let understood = |text: &str| parse(text.trim()).map_err(|problem| anyhow!("{flag}: {problem}"));
        match (given, self.source, question.default) {
            (Some(text), ..) => understood(text),
            (None, Source::Defaults, Some(default)) => understood(default),
            (None, Source::Defaults, None) => {
                bail!("{flag} is missing, and has no default: {}", question.text)
            }
            (None, Source::Nowhere, _) => bail!(
                "{flag} is missing, and there is no terminal to ask at (with --yes defaults do where there are any): {}",
                question.text
            ),
            (None, Source::Terminal, default) => {
                let theme = ColorfulTheme::default();
                let mut input = Input::<String>::with_theme(&theme)
                    .with_prompt(question.text)
                    .validate_with(|text: &String| parse(text.trim()).map(drop));
                input = match default {
                    Some("") => input.allow_empty(true),
                    Some(default) => input.default(default.to_owned()),
                    None => input,
                };
                understood(&input.interact().context("no answer")?)
            }
        }
    }

    /// Yes or no.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn yes_or_no(self, question: Question<'_>, given: Option<bool>) -> anyhow::Result<bool> {
        let given = given.map(|yes| if yes { "yes" } else { "no" });
        self.ask(question, given, |text| match text.to_ascii_lowercase().as_str() {
            "yes" | "y" => Ok(true),
            "no" | "n" => Ok(false),
            _ => Err("say yes or no".to_owned()),
        })
    }

    /// A secret, which is not shown while it is typed. `flag` is what gives it where there is no terminal.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn secret(self, flag: &str, text: &str) -> anyhow::Result<SecretString> {
        if !self.asks() {
            bail!("{flag} is missing, and there is no terminal to ask at: {text}");
        }
        let typed = dialoguer::Password::with_theme(&ColorfulTheme::default())
            .with_prompt(text)
            .interact()
            .context("no answer")?;
        Ok(SecretString::from(typed))
    }
}
