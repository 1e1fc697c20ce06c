//! Members as an export writes them, which is what an import takes.

use atcr_hold_pds::RosterEntry;
use atcr_hold_pds::access::Permissions;
use serde::Serialize;

/// A member as it is exported.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exported {
    did: String,
    handle: String,
    role: String,
    permissions: String,
    tier: String,
    added_at: String,
    bytes: u64,
}

impl Exported {
    /// The member of `entry`. Permissions that this version does not know are left out, as an import would refuse them; it leaves them in
    /// the record.
    #[must_use]
    pub fn new(entry: RosterEntry, handle: Option<String>) -> Self {
        let added = i64::try_from(entry.added_micros).ok();
        let added = added.and_then(chrono::DateTime::from_timestamp_micros);
        let known = Permissions::from_words(entry.permissions.iter().map(String::as_str));
        Self {
            did: entry.member,
            handle: handle.unwrap_or_default(),
            role: entry.role,
            permissions: if known.is_empty() {
                // Nothing would be the default, which is more.
                "none".to_owned()
            } else {
                known.to_words().join(" ")
            },
            tier: entry.tier.unwrap_or_default(),
            added_at: added.map_or_else(String::new, |at| {
                at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
            }),
            bytes: entry.usage.total_bytes,
        }
    }
}

/// Members as CSV. A text that a spreadsheet would take for a formula gets an apostrophe in front of it, which an import takes away.
///
/// # Errors
/// Never in practice.
pub fn to_csv(members: Vec<Exported>) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for mut member in members {
        for text in [&mut member.role, &mut member.permissions, &mut member.tier] {
            if is_formula(text.trim_start_matches('\'')) {
                text.insert(0, '\'');
            }
        }
        writer.serialize(member)?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// Takes the apostrophe away that an export puts in front of a formula.
pub(super) fn unquote(text: &mut String) {
    if text.starts_with('\'') && is_formula(text.trim_start_matches('\'')) {
        text.remove(0);
    }
}

/// What a spreadsheet would calculate. Some skip white space first.
fn is_formula(text: &str) -> bool {
    text.starts_with(['\t', '\r', '\n']) || text.trim_start().starts_with(['=', '+', '-', '@'])
}

#[cfg(test)]
mod tests {
    use atcr_hold_pds::Usage;

    use super::super::rows;
    use super::*;

    fn exported(role: &str, permissions: &[&str], tier: &str) -> Exported {
        let entry = RosterEntry {
            rkey: "key".parse().expect("a key"),
            member: "did:plc:a".to_owned(),
            role: role.to_owned(),
            permissions: permissions.iter().map(ToString::to_string).collect(),
            tier: Some(tier.to_owned()),
            added_micros: 0,
            usage: Usage::default(),
        };
        Exported::new(entry, None)
    }

    #[test]
    fn an_export_is_no_formula_and_an_import_reads_what_it_was() {
        for role in ["=cmd()", "'=cmd()", " +1", "@x", "-1", "member", "'quoted'"] {
            let member = exported(role, &["blob:read", "=cmd()"], "=tier");
            let text = String::from_utf8(to_csv(vec![member]).expect("CSV")).expect("text");
            for formula in [",=", ", +", ",@", ",-", ",\"=", " ="] {
                assert!(!text.contains(formula), "{text}");
            }
            let rows = rows(&text).expect("rows");
            assert_eq!(rows[0].role.trim(), role.trim());
            assert_eq!(rows[0].tier.as_deref(), Some("=tier"));
            assert_eq!(rows[0].permissions.all(), ["blob:read"]);
        }
        let tab = exported("\tx", &["blob:read"], "\r=1");
        let text = String::from_utf8(to_csv(vec![tab]).expect("CSV")).expect("text");
        assert!(text.contains(",'\tx,") && text.contains("\"'\r=1\""), "{text:?}");
    }

    #[test]
    fn who_may_nothing_is_not_exported_as_one_with_the_default() {
        let text = to_csv(vec![exported("member", &["blob:scan"], "")]).expect("CSV");
        let text = String::from_utf8(text).expect("text");
        assert_eq!(rows(&text).expect("rows")[0].permissions.all(), ["none"]);
    }
}
