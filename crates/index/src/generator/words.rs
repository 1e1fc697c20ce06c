//! Made-up names and texts.

use rand::Rng as _;
use rand::rngs::StdRng;

const FIRST: [&str; 24] = [
    "blue", "quick", "tiny", "open", "solid", "silent", "bright", "north", "red", "cloud", "iron", "paper",
    "deep", "green", "night", "river", "stone", "wild", "amber", "copper", "early", "lucky", "plain",
    "swift",
];

const SECOND: [&str; 32] = [
    "proxy",
    "cache",
    "queue",
    "gateway",
    "worker",
    "database",
    "nginx",
    "redis",
    "postgres",
    "runner",
    "builder",
    "mailer",
    "exporter",
    "operator",
    "agent",
    "server",
    "client",
    "router",
    "scheduler",
    "search",
    "storage",
    "backup",
    "monitor",
    "logger",
    "wiki",
    "blog",
    "shop",
    "chat",
    "notes",
    "photos",
    "music",
    "maps",
];

const TEXT: [&str; 40] = [
    "a",
    "small",
    "service",
    "that",
    "reads",
    "events",
    "and",
    "writes",
    "them",
    "to",
    "the",
    "store",
    "with",
    "one",
    "container",
    "for",
    "each",
    "request",
    "it",
    "runs",
    "behind",
    "any",
    "load",
    "balancer",
    "without",
    "configuration",
    "metrics",
    "are",
    "exported",
    "on",
    "port",
    "nine",
    "thousand",
    "image",
    "builds",
    "every",
    "night",
    "from",
    "source",
    "コンテナ",
];

fn pick<'w>(rng: &mut StdRng, words: &[&'w str]) -> &'w str {
    words[rng.random_range(0..words.len())]
}

/// The name of an account's repository `number`.
pub(super) fn repository(rng: &mut StdRng, number: usize) -> String {
    let (first, second) = (pick(rng, &FIRST), pick(rng, &SECOND));
    match rng.random_range(0..10) {
        0 => format!("{first}/{second}-{number}"),
        1 => format!("{second}_{number}"),
        2 if number == 0 => second.to_owned(),
        _ => format!("{first}-{second}-{number}"),
    }
}

/// The handle of account `number`.
pub(super) fn handle(number: usize) -> String {
    let first = FIRST[number % FIRST.len()];
    let second = SECOND[number / FIRST.len() % SECOND.len()];
    format!("{first}{second}{number}.example")
}

/// About `words` words.
pub(super) fn text(rng: &mut StdRng, words: usize) -> String {
    let mut text = String::new();
    for place in 0..words {
        if place > 0 {
            text.push(' ');
        }
        text.push_str(pick(rng, &TEXT));
    }
    text
}

/// The tag of a repository's push `number`.
pub(super) fn tag(rng: &mut StdRng, number: usize) -> String {
    match (number, rng.random_range(0..10)) {
        (0, _) => "latest".to_owned(),
        (_, 0..=4) => format!("{}.{}.{}", number / 100, number / 10 % 10, number % 10),
        (_, 5) => format!(
            "v{}.{}.{}-rc.{}",
            number / 100,
            number / 10 % 10,
            number % 10,
            number % 3 + 1
        ),
        (_, 6) => format!("2026{:02}{:02}.{number}", number % 12 + 1, number % 28 + 1),
        (_, 7) => format!("main-{number}"),
        _ => format!(
            "sha-{:040x}",
            u128::from(rng.random::<u64>()) * 0x1_0000_0001 + number as u128
        ),
    }
}
