//! Reading JSON from untrusted peers: each key once and in one spelling, bounded lists, bounded depth.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Reads `null` like an absent field: clients written in Go send it for empty lists and maps.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// How large a JSON text is as a structure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Deepest nesting of arrays and objects.
    pub(crate) depth: usize,
    /// An upper bound of the number of values.
    pub(crate) values: usize,
}

/// Measures a JSON text without allocating: looks at brackets and commas outside strings only, the parser checks the rest.
pub(crate) fn measure(bytes: &[u8]) -> Extent {
    let mut extent = Extent { depth: 0, values: 1 };
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                extent.depth = extent.depth.max(depth);
                extent.values += 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => extent.values += 1,
            _ => {}
        }
    }
    extent
}

/// What a parser found and where, in a few words: its own message may repeat as much of the input as there is.
pub(crate) fn reason_of(error: &serde_json::Error) -> String {
    const MAX_CHARS: usize = 160;
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let what = text.strip_suffix(&position).unwrap_or(&text);
    match what.char_indices().nth(MAX_CHARS) {
        Some((cut, _)) => format!("{}…{position}", &what[..cut]),
        None => format!("{what}{position}"),
    }
}

/// Reads an object's key: the known key it is, or `None`.
///
/// Refuses a key that equals a known one but for case. Clients in Go match keys without regard to case, the last one
/// wins there, so `{"layers": […], "Layers": […]}` would be one image to this registry and another to them.
pub(crate) struct KnownKey(pub(crate) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KnownKey {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KnownKey {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if let Some(known) = self.0.iter().find(|known| **known == text) {
            return Ok(Some(known));
        }
        match self.0.iter().find(|known| folds_to(text, known)) {
            Some(known) => Err(E::custom(format_args!(
                "a key that differs from \"{known}\" only in case"
            ))),
            None => Ok(None),
        }
    }
}

/// Case folding as Go's JSON decoder does it: ASCII, and the two letters outside ASCII that fold into it.
fn folds_to(text: &str, known: &str) -> bool {
    let folded = text.chars().map(|c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    });
    folded.eq(known.chars().map(|c| c.to_ascii_lowercase()))
}

/// A field of an object that may be there once.
pub(crate) struct Field<T> {
    seen: bool,
    value: Option<T>,
}

impl<T> Default for Field<T> {
    fn default() -> Self {
        Self {
            seen: false,
            value: None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Field<T> {
    /// Takes the value of `key` from `map`; refuses the second one.
    pub(crate) fn read<A: MapAccess<'de>>(&mut self, map: &mut A, key: &'static str) -> Result<(), A::Error> {
        if self.seen {
            return Err(A::Error::duplicate_field(key));
        }
        self.seen = true;
        self.value = map.next_value()?;
        Ok(())
    }

    /// The value; `None` when it was absent or `null`.
    pub(crate) fn get(self) -> Option<T> {
        self.value
    }

    /// The value; refuses an object that does not have it.
    pub(crate) fn require<E: Error>(self, key: &'static str) -> Result<T, E> {
        self.get().ok_or_else(|| E::missing_field(key))
    }
}

/// A list that keeps at most `LIMIT` items and remembers that there were more, without room for them.
pub(crate) struct BoundedList<T, const LIMIT: usize> {
    pub(crate) items: Vec<T>,
    pub(crate) overflowed: bool,
}

impl<'de, T: Deserialize<'de>, const LIMIT: usize> Deserialize<'de> for BoundedList<T, LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const LIMIT: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const LIMIT: usize> Visitor<'de> for ListVisitor<T, LIMIT> {
            type Value = BoundedList<T, LIMIT>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while items.len() < LIMIT {
                    match seq.next_element()? {
                        Some(item) => items.push(item),
                        None => {
                            return Ok(BoundedList {
                                items,
                                overflowed: false,
                            });
                        }
                    }
                }
                let mut overflowed = false;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    overflowed = true;
                }
                Ok(BoundedList { items, overflowed })
            }
        }
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}
