//! The digests in JSON that others wrote.
//!
//! They are taken out as the text is read: a tree of `[{"":0},{"":0},…]` would take ninety times its length.

use std::fmt;

use atcr_oci::Digest;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// What one manifest, or its record, names.
pub(super) const MAX_NAMES: usize = 100_000;

/// Every digest in a record, whatever the field is called; no more once there are [`MAX_NAMES`].
pub(crate) fn digests_in(value: &Value, found: &mut Vec<Digest>) {
    // Nothing in a value is of a kind that the visitor refuses.
    let _ = Names(found).deserialize(value);
}

/// Every digest in a manifest's bytes, as far as they are JSON.
pub(super) fn digests_in_text(text: &[u8], found: &mut Vec<Digest>) {
    let _ = Names(found).deserialize(&mut serde_json::Deserializer::from_slice(text));
}

struct Names<'a>(&'a mut Vec<Digest>);

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if self.0.len() < MAX_NAMES {
            self.0.extend(text.parse::<Digest>());
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Names(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key_seed(Names(self.0))?.is_some() {
            fields.next_value_seed(Names(self.0))?;
        }
        Ok(())
    }
}
