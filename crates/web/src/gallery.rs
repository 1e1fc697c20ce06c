//! A page with every part that pages are made of, in every state, for people who work on them. Its data is made up, so servers show it in a
//! network for development only.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use crate::drawings::{Bar, ChartDay, DayChart, Initial};
use crate::figures::{Bytes, Count};
use crate::markdown::{self, Markup};
use crate::moment::Moment;
use crate::navigation::{Choice, Paging, Tab};
use crate::pull::{PullCommands, PullTarget, Pullable};
use crate::view::{Chrome, render};
use chrono::{TimeZone as _, Utc};

#[derive(Template)]
#[template(path = "layout/gallery.html")]
struct Gallery {
    chrome: Chrome,
    image: PullCommands,
    chart: PullCommands,
    tabs: Vec<Tab>,
    choices: Vec<Choice>,
    paging: Paging,
    pushed: Moment,
    pulls: DayChart,
    readme: Markup,
    digest: String,
}

const README: &str = "# An app\n\nIt **runs**, as [documented](https://example.com).\n\n## Use\n\n```sh\ndocker run app\n```\n\n| Setting | Default |\n|---|---|\n| `PORT` | 8080 |\n\n- [x] done\n- [ ] open\n\n> [!WARNING]\n> Mind the gap.\n\n> A quotation.\n";

/// The page.
#[must_use]
pub fn page(chrome: Chrome) -> Response {
    let digest = format!("sha256:{}", "9f86d081884c7d65".repeat(4));
    let repository = format!("{}/alice.example/app", chrome.host());
    let target = |kind| PullTarget {
        repository: &repository,
        tag: Some("1.4.2"),
        digest: Some(&digest),
        kind,
        is_plain_http: false,
    };
    let tab = |name, count: Option<u64>| Tab {
        href: "#navigation".to_owned(),
        name,
        count: count.map(Count),
        is_current: name == "Overview",
    };
    let choice = |name: &str, count: u64| Choice {
        href: "#navigation".to_owned(),
        name: name.to_owned(),
        count: Some(Count(count)),
        is_current: name == "Images",
    };
    let here = || Some("#navigation".to_owned());
    let at = Utc
        .with_ymd_and_hms(2026, 11, 1, 12, 0, 0)
        .single()
        .unwrap_or_default();
    let days = (0..90_u32).map(|day| ChartDay {
        name: format!("day {day}"),
        count: (day > 20).then(|| u64::from(day * 37 % 101) * u64::from(day % 7)),
    });
    render(
        StatusCode::OK,
        &Gallery {
            image: PullCommands::new(&target(Pullable::Image)),
            chart: PullCommands::new(&target(Pullable::Chart)),
            tabs: vec![
                tab("Overview", None),
                tab("Tags", Some(1204)),
                tab("Manifests", Some(12_345)),
                tab("Signatures & SBOMs", Some(6)),
                tab("Activity", None),
            ],
            choices: vec![choice("Images", 1190), choice("Charts", 14)],
            paging: Paging {
                newest: here(),
                newer: here(),
                older: here(),
            },
            pushed: Moment::new(at, at + chrono::TimeDelta::hours(3)),
            pulls: DayChart {
                days: days.collect(),
                label: "Pulls by day",
            },
            readme: markdown::render(README, None).html,
            digest,
            chrome,
        },
    )
}
