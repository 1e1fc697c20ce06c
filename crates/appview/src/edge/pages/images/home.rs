//! The lists of the first page.

use atcr_atproto::syntax::Did;
use atcr_index::page::PageRequest;

use super::views::CardView;
use crate::browse::{Browse, BrowseError};

/// Repositories of a list.
const CARDS: u32 = 8;

/// The lists of the first page.
pub(in crate::edge::pages) struct HomeLists {
    /// The visitor's own; `None` for a visitor who is not signed in.
    pub(in crate::edge::pages) own: Option<Vec<CardView>>,
    /// Recently pushed.
    pub(in crate::edge::pages) recent: Vec<CardView>,
    /// With the most stars, for visitors who are not signed in.
    pub(in crate::edge::pages) starred: Vec<CardView>,
}

/// What the index has for the first page.
pub(in crate::edge::pages) async fn lists(
    browse: &Browse,
    visitor: Option<&Did>,
) -> Result<HomeLists, BrowseError> {
    let now = browse.clock.now();
    let request = PageRequest::top(CARDS);
    let own = match visitor {
        Some(did) => Some(browse.index.repositories_of(did, &request).await?),
        None => None,
    };
    let recent = browse.index.recently_pushed(&request).await?;
    let starred = match visitor {
        Some(_) => Vec::new(),
        None => browse.index.most_starred(&request).await?.items,
    };
    let cards = |cards: &[_]| cards.iter().map(|card| CardView::of(card, now)).collect();
    Ok(HomeLists {
        own: own.map(|own| cards(&own.items)),
        recent: cards(&recent.items),
        starred: cards(&starred),
    })
}
