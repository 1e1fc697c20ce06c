//! `/admin/crew`: who may do what. The list is here.

mod add;
mod member;
mod terms;

use std::collections::HashMap;

use askama::Template;
use atcr_atproto::syntax::{Did, RecordKey};
use atcr_hold_pds::{RosterEntry, RosterFrom, RosterOrder, RosterPlace, RosterQuery};
use atcr_web::drawings::{Bar, Initial};
use atcr_web::figures::{Bytes, Count, Gibibytes, percent};
use atcr_web::moment::Moment;
use atcr_web::navigation::{Choice, address};
use atcr_web::view::{Chrome, render};
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use http::StatusCode;

pub(super) use add::{add, add_form};
pub(super) use member::{confirm_removal, edit, member, remove};

use super::PagesState;
use super::error::PageError;
use super::frame::Frame;
use super::visit::Visit;
use crate::quota::Tiers;

/// Members of one page.
const ON_A_PAGE: usize = 50;
/// The list.
const LIST: &str = "/admin/crew";

#[derive(Template)]
#[template(path = "pages/crew.html")]
struct CrewPage {
    chrome: Chrome,
    frame: Frame,
    query: String,
    /// There may be members with that handle who are not in the list.
    is_cut: bool,
    sort: &'static str,
    orders: Vec<Choice>,
    members: Vec<MemberView>,
    all: Count,
    first: Option<String>,
    above: Option<String>,
    below: Option<String>,
}

/// A member on a page.
struct MemberView {
    href: String,
    did: String,
    handle: Option<String>,
    role: String,
    permissions: Vec<String>,
    tier: Option<String>,
    added: Option<Moment>,
    stored: String,
    blobs: Count,
    /// How much of what is allowed that is; `None` without a limit.
    quota: Option<QuotaView>,
    is_captain: bool,
}

/// How much a member may keep.
struct QuotaView {
    limit: Gibibytes,
    percent: u64,
    bar: Bar,
}

impl MemberView {
    fn new(
        entry: RosterEntry,
        names: &HashMap<String, String>,
        tiers: &Tiers,
        captain: &Did,
        now: DateTime<Utc>,
    ) -> Self {
        let is_captain = entry.member == captain.as_str();
        let tier = tiers.of_member(entry.tier.as_deref()).filter(|_| !is_captain);
        let used = entry.usage.total_bytes;
        Self {
            href: member_href(&entry.rkey),
            handle: names.get(&entry.member).cloned(),
            is_captain,
            did: entry.member,
            role: entry.role,
            permissions: entry.permissions,
            quota: tier.map(|tier| QuotaView {
                limit: Gibibytes(tier.quota_bytes),
                percent: percent(used, tier.quota_bytes),
                bar: Bar {
                    part: used,
                    whole: tier.quota_bytes,
                },
            }),
            tier: tier.map(|tier| tier.name.clone()).or(entry.tier),
            added: at_micros(entry.added_micros).map(|at| Moment::new(at, now)),
            // Beside a limit in its unit.
            stored: if tiers.is_empty() {
                Bytes(used).to_string()
            } else {
                Gibibytes(used).to_string()
            },
            blobs: Count(entry.usage.unique_blobs),
        }
    }

    fn name(&self) -> &str {
        self.handle.as_deref().unwrap_or(&self.did)
    }

    fn initial(&self) -> Initial<'_> {
        Initial {
            name: self.handle.as_deref().unwrap_or("?"),
            id: &self.did,
            class: "",
        }
    }
}

/// The page of the member with the record `rkey`. Below a word of its own: a key may be any of the others, such as `export`.
pub(super) fn member_href(rkey: &RecordKey) -> String {
    format!("{LIST}/member/{rkey}")
}

fn at_micros(micros: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)
}

/// A place in the list as it stands in an address: `123.key`.
fn place(text: &str) -> Option<RosterPlace> {
    let (by, rkey) = text.split_once('.')?;
    Some(RosterPlace {
        by: by.parse().ok()?,
        rkey: rkey.parse().ok()?,
    })
}

fn in_address(place: &RosterPlace) -> String {
    format!("{}.{}", place.by, place.rkey)
}

/// `GET /admin/crew`, with `q`, `sort` and, for the next pages, `after` or `before`.
pub(super) async fn list(visit: Visit, State(state): State<PagesState>) -> Response {
    let outcome = show_list(&visit, &state).await;
    visit.answer(outcome)
}

async fn show_list(visit: &Visit, state: &PagesState) -> Result<Response, PageError> {
    let frame = Frame::new(visit, LIST)?;
    let captain = &visit.captain()?.session.did;
    let parameters = visit.query();
    let text: String = parameters.get("q").unwrap_or_default().to_owned();
    let (order, sort) = match parameters.get("sort") {
        Some("storage") => (RosterOrder::Largest, "storage"),
        _ => (RosterOrder::Newest, ""),
    };
    let from = match (parameters.get("after"), parameters.get("before")) {
        (Some(after), _) => place(after).map(RosterFrom::Below),
        (None, Some(before)) => place(before).map(RosterFrom::Above),
        (None, None) => None,
    };
    let query = RosterQuery {
        order,
        from: from.unwrap_or_default(),
        limit: ON_A_PAGE,
        ..RosterQuery::default()
    };
    let (page, is_cut) = state.crew.page(&text, query).await?;
    let dids: Vec<String> = page.entries.iter().map(|entry| entry.member.clone()).collect();
    let names = state.accounts.handles(&dids).await?;
    let to = |name: &str, entry: &RosterEntry| {
        let place = in_address(&entry.place(order));
        address(LIST, &[("q", &text), ("sort", sort), (name, &place)])
    };
    let above = page.entries.first().filter(|_| page.has_above);
    let below = page.entries.last().filter(|_| page.has_below);
    let (above, below) = (
        above.map(|entry| to("before", entry)),
        below.map(|entry| to("after", entry)),
    );
    let orders = [("", "Newest first"), ("storage", "Most stored first")];
    let now = state.clock.now();
    let all: u64 = state
        .repo
        .crew_by_tier()
        .await?
        .iter()
        .map(|(_, members)| members)
        .sum();
    let page = CrewPage {
        chrome: visit.chrome(),
        frame,
        orders: orders
            .into_iter()
            .map(|(value, name)| Choice {
                href: address(LIST, &[("q", &text), ("sort", value)]),
                name: name.to_owned(),
                count: None,
                is_current: value == sort,
            })
            .collect(),
        first: page
            .has_above
            .then(|| address(LIST, &[("q", &text), ("sort", sort)])),
        above,
        below,
        members: page
            .entries
            .into_iter()
            .map(|entry| MemberView::new(entry, &names, state.quotas.tiers(), captain, now))
            .collect(),
        all: Count(all),
        query: text,
        is_cut,
        sort,
    };
    Ok(render(StatusCode::OK, &page))
}
