//! Drawings that the server makes: bars, the chart of pulls, pictures of accounts without one. Plain SVG; style sheets colour it.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;
use sha2::{Digest as _, Sha256};

/// Backgrounds of letters, in the style sheet.
const GROUNDS: u8 = 8;

/// The share of something in a whole. The number stands beside it, so it says nothing to a screen reader.
#[derive(Clone, Copy, Debug)]
pub struct Bar {
    /// The part.
    pub part: u64,
    /// The whole.
    pub whole: u64,
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permille = if self.whole == 0 {
            0
        } else {
            (u128::from(self.part) * 1000 / u128::from(self.whole)).min(1000)
        };
        // What is there is seen, however small its share.
        let width = if self.part > 0 { permille.max(8) } else { 0 };
        f.write_str(
            "<svg class=\"bar\" viewBox=\"0 0 1000 6\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
        )?;
        f.write_str("<rect class=\"bar__ground\" width=\"1000\" height=\"6\"/>")?;
        write!(
            f,
            "<rect class=\"bar__fill\" width=\"{width}\" height=\"6\"/></svg>"
        )
    }
}

impl HtmlSafe for Bar {}

/// One day of a chart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartDay {
    /// How it is named: `12 May 2026`.
    pub name: String,
    /// The count; `None` where nothing was recorded.
    pub count: Option<u64>,
}

/// Counts by day. The caller gives the sentence that says the same, and a table.
#[derive(Clone, Debug)]
pub struct DayChart {
    /// The days, the oldest first.
    pub days: Vec<ChartDay>,
    /// What it shows, in a sentence.
    pub label: &'static str,
}

impl DayChart {
    /// All counts together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.days.iter().filter_map(|day| day.count).sum()
    }

    /// The day with the most, if any has some.
    #[must_use]
    pub fn busiest(&self) -> Option<&ChartDay> {
        self.days
            .iter()
            .filter(|day| day.count.is_some_and(|count| count > 0))
            .max_by_key(|day| day.count)
    }
}

impl fmt::Display for DayChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = self
            .days
            .iter()
            .filter_map(|day| day.count)
            .max()
            .unwrap_or(0)
            .max(1);
        write!(
            f,
            "<svg class=\"chart\" viewBox=\"0 0 {} 40\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
            self.days.len() * 3,
            self.label
        )?;
        for (index, day) in self.days.iter().enumerate() {
            let x = index * 3;
            match day.count {
                None => write!(
                    f,
                    "<rect class=\"chart__unknown\" x=\"{x}\" y=\"0\" width=\"2\" height=\"40\"/>"
                )?,
                Some(0) => write!(
                    f,
                    "<rect class=\"chart__ground\" x=\"{x}\" y=\"39\" width=\"2\" height=\"1\"/>"
                )?,
                Some(count) => {
                    let height = (u128::from(count) * 40 / u128::from(most)).clamp(1, 40);
                    write!(
                        f,
                        "<rect class=\"chart__bar\" x=\"{x}\" y=\"{}\" width=\"2\" height=\"{height}\"/>",
                        40 - height
                    )?;
                }
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for DayChart {}

/// The letter of an account or a repository on a ground that follows from its identifier. It stands beside the name, so it says nothing to a
/// screen reader.
#[derive(Clone, Copy, Debug)]
pub struct Initial<'a> {
    /// Whose name the letter is of.
    pub name: &'a str,
    /// What the ground follows from.
    pub id: &'a str,
    /// Further classes.
    pub class: &'static str,
}

impl fmt::Display for Initial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ground = Sha256::digest(self.id.as_bytes())[0] % GROUNDS;
        write!(
            f,
            "<svg class=\"avatar{}{}\" viewBox=\"0 0 32 32\" aria-hidden=\"true\"><rect class=\"avatar__ground--{ground}\" width=\"32\" height=\"32\"/><text class=\"avatar__letter\" x=\"16\" y=\"21\">",
            if self.class.is_empty() { "" } else { " " },
            self.class,
        )?;
        let letter = self.name.chars().find(|first| first.is_alphanumeric());
        for letter in letter.into_iter().flat_map(char::to_uppercase) {
            f.write_char(letter)?;
        }
        f.write_str("</text></svg>")
    }
}

// A letter or digit is no markup.
impl HtmlSafe for Initial<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_wide_as_its_share() {
        let width = |part, whole| {
            let svg = Bar { part, whole }.to_string();
            svg.rsplit("width=\"")
                .next()
                .and_then(|rest| rest.split('"').next())
                .map(str::to_owned)
        };
        assert_eq!(width(1, 2).as_deref(), Some("500"));
        assert_eq!(width(1, 1_000_000).as_deref(), Some("8"));
        assert_eq!(width(0, 5).as_deref(), Some("0"));
        assert_eq!(width(5, 0).as_deref(), Some("8"));
        assert_eq!(width(u64::MAX, 1).as_deref(), Some("1000"));
    }

    #[test]
    fn a_chart_tells_no_pulls_from_no_record() {
        let day = |count| ChartDay {
            name: "1 May 2026".to_owned(),
            count,
        };
        let chart = DayChart {
            days: vec![day(None), day(Some(0)), day(Some(4)), day(Some(1))],
            label: "Pulls",
        };
        let svg = chart.to_string();
        assert_eq!(
            (chart.total(), chart.busiest().and_then(|day| day.count)),
            (5, Some(4))
        );
        for class in [
            "chart__unknown\" x=\"0\"",
            "chart__ground\" x=\"3\"",
            "chart__bar\" x=\"6\" y=\"0\"",
            "chart__bar\" x=\"9\" y=\"30\"",
        ] {
            assert!(svg.contains(class), "{class} in {svg}");
        }
    }

    #[test]
    fn an_initial_is_one_letter_and_no_markup() {
        let svg = Initial {
            name: "<éa",
            id: "did:plc:a",
            class: "",
        }
        .to_string();
        assert!(svg.contains(">É</text>"), "{svg}");
        assert!(
            Initial {
                name: "\"<>&",
                id: "",
                class: ""
            }
            .to_string()
            .contains("></text>")
        );
    }
}
