//! What a post about a push says: who pushed what, with a mention and a link, and a card for the image.

use atcr_atproto::syntax::{Datetime, Did, Handle};
use serde_json::{Value, json};
use url::Url;

use super::COLLECTION;
use crate::manifests::Notice;
use crate::quota::bytes;

/// Characters of a post. A grapheme, of which 300 are allowed, has one at least.
const MAX_CHARS: usize = 300;
/// Platforms that a card names.
const PLATFORMS: usize = 8;

/// What a post is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Who pushed.
    pub owner: Did,
    repository: String,
    tag: String,
    /// What the card says of the image.
    details: String,
}

impl Subject {
    pub(super) fn of(notice: &Notice) -> Option<Self> {
        let platforms: Vec<String> = notice
            .children()
            .iter()
            .filter_map(|child| child.platform.as_ref())
            .filter(|platform| platform.os != "unknown")
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
            .collect();
        let details = if notice.is_index() {
            let named = platforms.get(..PLATFORMS).unwrap_or(&platforms).join(", ");
            match platforms.len().saturating_sub(PLATFORMS) {
                0 => named,
                more => format!("{named} and {more} more"),
            }
        } else {
            let (count, size) = notice.layers_in_all();
            let layers = if count == 1 { "layer" } else { "layers" };
            format!("{count} {layers}, {}", bytes::format(size))
        };
        Some(Self {
            owner: notice.owner().clone(),
            repository: notice.repository().to_owned(),
            tag: notice.tag()?.to_owned(),
            details,
        })
    }

    /// The record. Facets count bytes.
    pub(super) fn record(&self, handle: Option<&Handle>, site: Option<&Url>, now: &Datetime) -> Value {
        let who = handle.map_or_else(|| self.owner.as_str(), Handle::as_str);
        let image = format!("{}:{}", self.repository, self.tag);
        let room = MAX_CHARS.saturating_sub(who.chars().count() + PUSHED.chars().count());
        let image = shortened(&image, room);
        let text = format!("{who}{PUSHED}{image}");
        let mut facets = vec![facet(
            0,
            who.len(),
            &json!({ "$type": "app.bsky.richtext.facet#mention", "did": self.owner }),
        )];
        let link = site.and_then(|site| self.page(who, site));
        let mut record = json!({
            "$type": COLLECTION,
            "langs": ["en"],
            "createdAt": now,
        });
        if let Some(link) = link {
            let from = who.len() + PUSHED.len();
            let target = json!({ "$type": "app.bsky.richtext.facet#link", "uri": link });
            facets.push(facet(from, text.len(), &target));
            record["embed"] = json!({
                "$type": "app.bsky.embed.external",
                "external": { "uri": link, "title": image, "description": self.details },
            });
        }
        record["text"] = text.into();
        record["facets"] = facets.into();
        record
    }

    /// The image's page at the AppView.
    fn page(&self, who: &str, site: &Url) -> Option<Url> {
        let mut page = site.clone();
        page.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["r", who])
            .extend(self.repository.split('/'));
        Some(page)
    }
}

const PUSHED: &str = " pushed ";

fn facet(from: usize, to: usize, feature: &Value) -> Value {
    json!({ "index": { "byteStart": from, "byteEnd": to }, "features": [feature] })
}

/// `text`, cut to `room` characters.
fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(room.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(repository: &str, tag: &str) -> Subject {
        Subject {
            owner: "did:plc:7iza6de2dwap2sbkpav7c6c6".parse().unwrap(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            details: "3 layers, 5.0 MB".to_owned(),
        }
    }

    fn now() -> Datetime {
        "2026-05-01T12:00:00.000Z".parse().unwrap()
    }

    /// What a facet covers.
    fn covered(record: &Value, number: usize) -> &str {
        let index = &record["facets"][number]["index"];
        let at = |name: &str| usize::try_from(index[name].as_u64().unwrap()).unwrap();
        &record["text"].as_str().unwrap()[at("byteStart")..at("byteEnd")]
    }

    #[test]
    fn a_post_mentions_the_owner_and_links_to_the_image() {
        let handle: Handle = "alice.test".parse().unwrap();
        let site: Url = "https://registry.test".parse().unwrap();
        let record = subject("team/app", "1.0").record(Some(&handle), Some(&site), &now());
        assert_eq!(record["text"], "alice.test pushed team/app:1.0");
        assert_eq!(covered(&record, 0), "alice.test");
        assert_eq!(
            record["facets"][0]["features"][0]["did"],
            "did:plc:7iza6de2dwap2sbkpav7c6c6"
        );
        assert_eq!(covered(&record, 1), "team/app:1.0");
        let page = "https://registry.test/r/alice.test/team/app";
        assert_eq!(record["facets"][1]["features"][0]["uri"], page);
        assert_eq!(
            record["embed"]["external"],
            json!({ "uri": page, "title": "team/app:1.0", "description": "3 layers, 5.0 MB" })
        );
        assert_eq!(
            (&record["langs"], &record["createdAt"]),
            (&json!(["en"]), &json!(now()))
        );
    }

    #[test]
    fn without_a_handle_or_a_site_it_says_what_is_known() {
        let record = subject("app", "1").record(None, None, &now());
        assert_eq!(record["text"], "did:plc:7iza6de2dwap2sbkpav7c6c6 pushed app:1");
        assert_eq!(record["facets"].as_array().unwrap().len(), 1);
        assert!(record.get("embed").is_none());
    }

    #[test]
    fn names_of_any_length_fit_into_a_post() {
        let site: Url = "https://registry.test".parse().unwrap();
        let record = subject(&"ä".repeat(256), &"t".repeat(128)).record(None, Some(&site), &now());
        let text = record["text"].as_str().unwrap();
        assert_eq!(text.chars().count(), MAX_CHARS);
        assert!(text.ends_with('…'));
        assert!(covered(&record, 1).ends_with('…'));
    }
}
