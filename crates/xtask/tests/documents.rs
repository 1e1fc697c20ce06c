//! The documents name files that exist, and commands that are understood.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on is a failed test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap::error::ErrorKind;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The alternatives of `a/{b,c}.rs`, or the path itself.
fn alternatives(path: &str) -> Vec<String> {
    let Some((before, rest)) = path.split_once('{') else {
        return vec![path.to_owned()];
    };
    let Some((names, after)) = rest.split_once('}') else {
        return vec![path.to_owned()];
    };
    names
        .split(',')
        .map(|name| format!("{before}{name}{after}"))
        .collect()
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let missing: Vec<String> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|span| span.contains("/src") || span.contains("/templates") || span.contains("/static"))
        .flat_map(alternatives)
        .filter(|path| {
            let path = path.strip_prefix("crates/").unwrap_or(path);
            !root().join("crates").join(path).exists()
        })
        .collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md names {missing:#?}");
}

/// The names by which links lead to the headings of a document, as forges make them.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| {
        line.trim_start_matches('#')
            .strip_prefix(' ')
            .filter(|_| line.starts_with('#'))
    });
    headings
        .map(|heading| {
            let kept = heading.to_lowercase();
            let kept = kept
                .chars()
                .filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            kept.map(|letter| if letter == ' ' { '-' } else { letter })
                .collect()
        })
        .collect()
}

#[test]
fn every_relative_link_of_the_documents_leads_somewhere() {
    let mut broken = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            if path.contains("://") {
                continue;
            }
            let to = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            let is_there = match target.split_once('#') {
                Some((_, heading)) if to.extension().is_some_and(|extension| extension == "md") => {
                    fs::read_to_string(&to).is_ok_and(|text| headings(&text).contains(heading))
                }
                _ => to.exists(),
            };
            if !is_there {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

/// A command line that a document shows.
struct Shown {
    file: PathBuf,
    line: String,
    /// In a block for a shell, and so complete; else it may leave out what does not matter there.
    is_whole: bool,
}

/// The programs, the longest name first where one begins with another.
const PROGRAMS: [&str; 7] = [
    "docker-credential-atcr",
    "cargo xtask",
    "atcr-appview",
    "atcr-hold",
    "atcr-scanner",
    "oauth-helper",
    "atcr",
];

fn documents() -> Vec<PathBuf> {
    let documents = fs::read_dir(root().join("docs")).unwrap();
    let decisions = fs::read_dir(root().join("docs/decisions")).unwrap();
    let files = documents.chain(decisions).map(|entry| entry.unwrap().path());
    files
        .chain([root().join("README.md")])
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// Every command line of the documents that begins with one of our programs.
fn shown() -> Vec<Shown> {
    let mut shown = Vec::new();
    for file in documents() {
        let text = fs::read_to_string(&file).unwrap();
        for (place, part) in text.split("```").enumerate() {
            if place % 2 == 0 {
                let spans = part.split('`').skip(1).step_by(2);
                shown.extend(spans.map(|span| Shown {
                    file: file.clone(),
                    line: span.replace('\n', " "),
                    is_whole: false,
                }));
            } else if let Some(block) = part.strip_prefix("sh\n") {
                let block = block.replace("\\\n", " ");
                shown.extend(block.lines().map(|line| Shown {
                    file: file.clone(),
                    line: line.trim().to_owned(),
                    is_whole: true,
                }));
            }
        }
    }
    shown
}

/// The words behind the program's name, as a shell would split them: without what follows a comment, a pipe or a redirection.
fn words(arguments: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in arguments.chars() {
        match (quote, letter) {
            (None, '\'' | '"') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (Some(open), _) if open == letter => quote = None,
            (None, ' ') => words.extend(word.take()),
            (None, '|' | '>' | ')') => break,
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// Arguments with something in place of what a reader has to put there.
fn filled_in(arguments: &str) -> (String, bool) {
    let mut text = String::new();
    let mut rest = arguments;
    let mut has_places = false;
    while let Some((before, behind)) = rest.split_once('<') {
        let Some((_, after)) = behind.split_once('>') else {
            break;
        };
        text.push_str(before);
        text.push_str("did:web:x.example");
        has_places = true;
        rest = after;
    }
    text.push_str(rest);
    has_places |= text.contains(['…', '$', '['])
        || text
            .split(' ')
            .any(|word| word.len() > 2 && word == word.to_uppercase());
    (text.replace(['[', ']'], "").replace('…', "x"), has_places)
}

fn parsed(program: &str, words: &[String]) -> Result<(), clap::Error> {
    let command = match program {
        "docker-credential-atcr" => atcr_credential_helper::command(),
        "atcr-appview" => atcr_appview::cli::Cli::command(),
        "atcr-hold" => atcr_hold::cli::command(),
        "atcr-scanner" => atcr_scanner::cli::command(),
        "oauth-helper" => atcr_oauth_helper::Options::command(),
        _ => atcr_ops::Cli::command(),
    };
    let arguments = std::iter::once(program).chain(words.iter().map(String::as_str));
    command.try_get_matches_from(arguments).map(drop)
}

#[test]
fn every_command_that_the_documents_show_is_understood() {
    let mut understood = 0;
    let mut wrong = Vec::new();
    for Shown { file, line, is_whole } in shown() {
        // In a block also behind a variable or in a substitution.
        let found = PROGRAMS.iter().find_map(|program| {
            let begins = |text: &str| {
                let rest = text.strip_prefix(program)?;
                (rest.is_empty() || rest.starts_with(' ')).then(|| rest.to_owned())
            };
            let inside = || {
                let places = line.match_indices(program).filter(|_| is_whole);
                let mut places = places.filter(|(place, _)| {
                    let before = &line[..*place];
                    let last = before.trim_end().rsplit(' ').next().unwrap_or_default();
                    before.ends_with('(') || before.ends_with(' ') && last.contains('=')
                });
                places.find_map(|(place, _)| begins(&line[place..]))
            };
            Some((*program, begins(&line).or_else(inside)?))
        });
        let Some((program, arguments)) = found else {
            continue;
        };
        let (arguments, has_places) = filled_in(&arguments);
        let words = words(&arguments);
        understood += 1;
        if program == "cargo xtask" {
            let mut xtask = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
            let output = xtask.args(&words).arg("--help").output().unwrap();
            if !output.status.success() {
                wrong.push(format!("{}: {line}", file.display()));
            }
            continue;
        }
        if let Err(error) = parsed(program, &words) {
            let is_left_out = !is_whole
                && matches!(
                    error.kind(),
                    ErrorKind::MissingRequiredArgument
                        | ErrorKind::MissingSubcommand
                        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
                );
            let is_place = has_places && error.kind() == ErrorKind::ValueValidation;
            if !is_left_out && !is_place {
                wrong.push(format!("{}: {line}: {error}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(understood > 80, "{understood}");
}
