//! Pages of a list that is ordered by a key: a page begins after or before a position, never at a number of rows.

use std::fmt;
use std::str::FromStr;

/// Most rows of one page.
pub const MAX_PAGE: u32 = 200;

/// Longest text of a position, in bytes.
const MAX_POSITION: usize = 512;

/// Where a row is in its list: the key that the list is ordered by. Its text (`Display`, `FromStr`) goes into the address of a page.
///
/// A position stays good when rows come and go, also the row that it was taken from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The first part of the key: an instant in microseconds, a count, or 0.
    pub rank: i64,
    /// The second part: a number or a name, which makes the key unique.
    pub key: String,
}

impl Position {
    /// The position with this key.
    #[must_use]
    pub fn new(rank: i64, key: impl ToString) -> Self {
        Self {
            rank,
            key: key.to_string(),
        }
    }

    /// The second part as a number; 0 for one that is none, as in an address that was edited by hand.
    #[must_use]
    pub fn id(&self) -> i64 {
        self.key.parse().unwrap_or(0)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.rank, self.key)
    }
}

/// A text that is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position in a list")]
pub struct InvalidPosition;

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        if text.len() > MAX_POSITION || text.chars().any(char::is_control) {
            return Err(InvalidPosition);
        }
        let (rank, key) = text.split_once('.').ok_or(InvalidPosition)?;
        Ok(Self {
            rank: rank.parse().map_err(|_| InvalidPosition)?,
            key: key.to_owned(),
        })
    }
}

/// Where a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the top of the list.
    #[default]
    Top,
    /// With the row behind this position ("Older").
    After(Position),
    /// With the rows that end before this position ("Newer").
    Before(Position),
}

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Where it begins.
    pub start: Start,
    /// Rows, at most; clamped to 1 to [`MAX_PAGE`].
    pub limit: u32,
}

impl PageRequest {
    /// The first `limit` rows.
    #[must_use]
    pub const fn top(limit: u32) -> Self {
        Self {
            start: Start::Top,
            limit,
        }
    }

    /// `limit` rows from `start`.
    #[must_use]
    pub const fn from(start: Start, limit: u32) -> Self {
        Self { start, limit }
    }

    /// The limit that holds.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.limit.clamp(1, MAX_PAGE)
    }
}

/// A page of a list, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// What [`Start::Before`] takes for the page above; `None` on the first page.
    pub newer: Option<Position>,
    /// What [`Start::After`] takes for the page below; `None` on the last page.
    pub older: Option<Position>,
}

impl<T> Page<T> {
    /// A page without rows.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            items: Vec::new(),
            newer: None,
            older: None,
        }
    }

    /// The page of `rows`, which were asked for with one more than `request` wants, in the direction of its start: away from the
    /// position. `position` says where a row is.
    pub fn of(mut rows: Vec<T>, request: &PageRequest, position: impl Fn(&T) -> Position) -> Self {
        let wanted = request.rows() as usize;
        let has_more = rows.len() > wanted;
        rows.truncate(wanted);
        let is_backward = matches!(request.start, Start::Before(_));
        if is_backward {
            rows.reverse();
        }
        let (above, below) = match request.start {
            Start::Top => (false, has_more),
            Start::After(_) => (true, has_more),
            Start::Before(_) => (has_more, true),
        };
        Self {
            newer: rows.first().filter(|_| above).map(&position),
            older: rows.last().filter(|_| below).map(&position),
            items: rows,
        }
    }

    /// The same page with each row made into something else.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            newer: self.newer,
            older: self.older,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[i64], start: Start, limit: u32) -> Page<i64> {
        Page::of(rows.to_vec(), &PageRequest { start, limit }, |row| {
            Position::new(0, row)
        })
    }

    #[test]
    fn a_page_says_whether_there_is_one_above_and_below() {
        let at = |row: i64| Position::new(0, row);
        let top = page(&[9, 8, 7], Start::Top, 2);
        assert_eq!((top.items, top.newer, top.older), (vec![9, 8], None, Some(at(8))));
        let last = page(&[7], Start::After(at(8)), 2);
        assert_eq!((last.items, last.newer, last.older), (vec![7], Some(at(7)), None));
        // Going up, rows come nearest first.
        let up = page(&[8, 9], Start::Before(at(7)), 2);
        assert_eq!((up.items, up.newer, up.older), (vec![9, 8], None, Some(at(8))));
        let empty = page(&[], Start::After(at(1)), 2);
        assert_eq!((empty.items, empty.newer, empty.older), (vec![], None, None));
    }

    #[test]
    fn a_position_is_a_text_and_anything_else_is_refused() {
        let position = Position::new(-5, "v1.0.2");
        assert_eq!(position.to_string().parse(), Ok(position));
        for text in ["", "x", "1", "a.b", "9999999999999999999999.a", "1.a\u{0}"] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
