//! `Accept`: which media types a client takes, and which of them it prefers.

use crate::media_type::MediaType;

/// One member of an `Accept` header: `type/subtype`, `type/*` or `*/*`, with its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    main: String,
    sub: String,
    weight: u16,
}

impl MediaRange {
    /// Weight in thousandths, 0 to 1000; 0 means "not this one".
    #[must_use]
    pub fn weight(&self) -> u16 {
        self.weight
    }

    /// How exactly the range names `media_type`: 3 by name, 2 by its first half, 1 as anything; `None`: not at all.
    #[must_use]
    pub fn specificity(&self, media_type: &MediaType) -> Option<u8> {
        let (main, sub) = media_type.essence().split_once('/')?;
        match (self.main.as_str(), self.sub.as_str()) {
            ("*", "*") => Some(1),
            (range, "*") if range.eq_ignore_ascii_case(main) => Some(2),
            (range, exact) if range.eq_ignore_ascii_case(main) && exact.eq_ignore_ascii_case(sub) => Some(3),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        if main.is_empty() || sub.is_empty() || (main == "*" && sub != "*") {
            return None;
        }
        let weight = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1000), |(_, value)| parse_weight(value.trim()))?;
        Some(Self {
            main: main.to_owned(),
            sub: sub.to_owned(),
            weight,
        })
    }
}

/// RFC 9110 §12.4.2: `0` or `1` with up to three decimals.
fn parse_weight(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{decimals:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// Most members that are read; a client names a dozen.
const MAX_RANGES: usize = 100;

/// All `Accept` headers of a request together; members that are no media range are passed over.
///
/// # Spec
/// RFC 9110 §12.5.1. A request without any accepts everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accept(Vec<MediaRange>);

impl Accept {
    /// Reads the values of all `Accept` headers; each may hold several members.
    pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let members = headers.into_iter().flat_map(|header| header.split(','));
        Self(
            members
                .map(str::trim)
                .filter_map(MediaRange::parse)
                .take(MAX_RANGES)
                .collect(),
        )
    }

    /// The members in the order given.
    #[must_use]
    pub fn ranges(&self) -> &[MediaRange] {
        &self.0
    }

    /// Whether the client takes `media_type`.
    #[must_use]
    pub fn accepts(&self, media_type: &MediaType) -> bool {
        self.weight_of(media_type) > 0
    }

    /// The weight of `media_type` in thousandths: that of the member that names it most exactly, 0 if none does.
    #[must_use]
    pub fn weight_of(&self, media_type: &MediaType) -> u16 {
        if self.0.is_empty() {
            return 1000;
        }
        let named = self
            .0
            .iter()
            .filter_map(|range| Some((range.specificity(media_type)?, range.weight)));
        named
            .max_by_key(|(specificity, weight)| (*specificity, *weight))
            .map_or(0, |(_, weight)| weight)
    }
}
