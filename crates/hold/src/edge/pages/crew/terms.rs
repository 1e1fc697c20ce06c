//! What a member may do, as a form shows and names it.

use atcr_hold_pds::access::{Permission, Permissions};
use atcr_web::figures::Gibibytes;
use atcr_web::form::Form;

use crate::admin::crew::Terms;
use crate::quota::Tiers;

/// The fields of terms in a form.
pub(super) struct TermsView {
    pub(super) role: String,
    pub(super) permissions: Vec<(&'static str, &'static str, bool)>,
    /// The value, what it means, and whether it is chosen. None: the hold has no tiers.
    pub(super) tiers: Vec<(String, String, bool)>,
}

impl TermsView {
    pub(super) fn new(tiers: &Tiers, terms: &Terms) -> Self {
        let about = |permission| match permission {
            Permission::BlobRead => "pull from a private hold",
            Permission::BlobWrite => "push, and pull",
            Permission::CrewAdmin => "manage members with tools, push and pull",
        };
        Self {
            role: terms.role.clone(),
            permissions: Permission::ALL
                .into_iter()
                .map(|permission| {
                    let is_granted = terms.permissions.contains(permission);
                    (permission.as_str(), about(permission), is_granted)
                })
                .collect(),
            tiers: choices(tiers, terms.tier.as_deref()),
        }
    }

    /// What a form chose, to be shown again; `now` is the tier of the record.
    pub(super) fn chosen(tiers: &Tiers, form: &Form, now: Option<&str>) -> Self {
        let granted: Vec<&str> = form.all("permission").collect();
        let terms = Terms {
            role: form.get("role").unwrap_or_default().to_owned(),
            permissions: Permissions::from_words(granted),
            tier: now.map(str::to_owned),
        };
        let mut view = Self::new(tiers, &terms);
        if let Some(tier) = form.get("tier") {
            for (value, _, is_chosen) in &mut view.tiers {
                *is_chosen = value == tier;
            }
        }
        view
    }
}

/// What may be chosen as a tier; `now` is the one that the record names.
fn choices(tiers: &Tiers, now: Option<&str>) -> Vec<(String, String, bool)> {
    let Some(founding) = tiers.of_member(None) else {
        return Vec::new();
    };
    let named = tiers.all().iter().map(|tier| {
        let about = format!("{}, {}", tier.name, Gibibytes(tier.quota_bytes));
        (tier.name.clone(), about, now == Some(tier.name.as_str()))
    });
    let mut choices: Vec<(String, String, bool)> = named.collect();
    // A record without a tier is that of somebody who was there before there were tiers.
    let about = format!(
        "founding member (plankowner): as {}, {}",
        founding.name,
        Gibibytes(founding.quota_bytes)
    );
    choices.push((String::new(), about, now.is_none()));
    if let Some(gone) = now.filter(|now| !tiers.all().iter().any(|tier| tier.name == *now)) {
        choices.push((
            gone.to_owned(),
            format!("{gone}, which is no tier any more"),
            true,
        ));
    }
    choices
}

/// The terms that a form names; `now` is the tier of the record, which may stay whatever it is.
pub(super) fn terms_of(form: &Form, tiers: &Tiers, now: Option<&str>) -> Result<Terms, String> {
    let role = form.get("role").unwrap_or_default();
    let tier = form.get("tier").unwrap_or_default();
    let mut terms = Terms::of_words(role, form.all("permission"), tier)?;
    if tiers.is_empty() {
        // The form has no tiers to choose from, and says nothing about the one that the record names.
        terms.tier = now.map(str::to_owned);
    }
    if terms.tier.as_deref() != now {
        terms.check_tier(tiers)?;
    }
    Ok(terms)
}
