//! What the page after a change, or after a form that could not be used, says on top: a sentence of a fixed list, named in its address.

use atcr_web::form::Form;
use atcr_web::navigation::address;

/// The address's parameter.
const NAME: &str = "news";

/// What a page says on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::edge::pages) enum News {
    /// A deletion was undone.
    Undone,
    /// A README was saved.
    Saved,
    /// The form of a list was sent with nothing chosen.
    NothingChosen,
    /// What was to be deleted is not there any more.
    AlreadyGone,
}

impl News {
    const ALL: [Self; 4] = [Self::Undone, Self::Saved, Self::NothingChosen, Self::AlreadyGone];

    fn name(self) -> &'static str {
        match self {
            Self::Undone => "undone",
            Self::Saved => "saved",
            Self::NothingChosen => "nothing-chosen",
            Self::AlreadyGone => "already-gone",
        }
    }

    /// What the address of a page asks it to say.
    pub(in crate::edge::pages) fn of(query: &Form) -> Option<Self> {
        let name = query.get(NAME)?;
        Self::ALL.into_iter().find(|news| news.name() == name)
    }

    /// The address of `path` that says it.
    pub(in crate::edge::pages) fn after(self, path: &str) -> String {
        address(path, &[(NAME, self.name())])
    }

    /// The sentence.
    pub(in crate::edge::pages) fn text(self) -> &'static str {
        match self {
            Self::Undone => "Undone: what was deleted is back.",
            Self::Saved => "Saved.",
            Self::NothingChosen => "Nothing was deleted: tick the boxes of what is to go, then press Delete.",
            Self::AlreadyGone => "Nothing was deleted: what you chose is gone already.",
        }
    }

    /// Something was done.
    pub(in crate::edge::pages) fn is_good(self) -> bool {
        matches!(self, Self::Undone | Self::Saved)
    }
}
