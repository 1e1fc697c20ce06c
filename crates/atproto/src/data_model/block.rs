//! Records as blocks, DAG-CBOR, measured before they are read.
//!
//! Read, `[{"": null}, …]` takes hundreds of times its length: what a block will cost is counted first, without keeping any of it, and a
//! block that costs too much is not read.

use ipld_core::ipld::Ipld;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_ipld_dagcbor::de::Deserializer as CborDeserializer;
use serde_json::Value;

use super::{DataModelError, MAX_DEPTH, ipld_to_json};
use crate::bounds::{MAX_RECORD_BYTES, MAX_RECORD_COST_FACTOR, SMALL_JSON_COST};
use crate::egress::json::{LIST_COST, OBJECT_COST, SCALAR_COST};

/// Why a block is not read as a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordBlockError {
    /// Longer than [`MAX_RECORD_BYTES`].
    #[error("it is longer than {MAX_RECORD_BYTES} bytes")]
    TooLong,
    /// Read, it would take far more memory than its length suggests.
    #[error("it has too many values for its length")]
    TooManyValues,
    /// Not DAG-CBOR.
    #[error("it is not DAG-CBOR")]
    NotDagCbor,
    /// A value that the data model does not have.
    #[error(transparent)]
    DataModel(#[from] DataModelError),
}

/// The JSON form of the record whose block has the content `bytes`.
///
/// # Errors
/// [`RecordBlockError`]; nothing was kept in memory if it is one of the first two.
pub fn record_from_block(bytes: &[u8]) -> Result<Value, RecordBlockError> {
    if bytes.len() > MAX_RECORD_BYTES {
        return Err(RecordBlockError::TooLong);
    }
    let mut meter = Meter {
        left: (bytes.len() * MAX_RECORD_COST_FACTOR).max(SMALL_JSON_COST),
        refused: None,
    };
    let measured = Measure {
        meter: &mut meter,
        depth: MAX_DEPTH,
    }
    .deserialize(&mut CborDeserializer::from_slice(bytes));
    measured.map_err(|_| meter.refused.unwrap_or(RecordBlockError::NotDagCbor))?;
    let value: Ipld = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| RecordBlockError::NotDagCbor)?;
    Ok(ipld_to_json(&value)?)
}

/// What may still be spent, and why counting ended.
struct Meter {
    left: usize,
    refused: Option<RecordBlockError>,
}

/// Counts one value and what is in it.
struct Measure<'a> {
    meter: &'a mut Meter,
    /// How much deeper it may go.
    depth: usize,
}

impl Measure<'_> {
    fn spend<E: Error>(&mut self, cost: usize) -> Result<(), E> {
        let left = self.meter.left.checked_sub(cost);
        self.meter.left = left.ok_or_else(|| self.refuse(RecordBlockError::TooManyValues))?;
        Ok(())
    }

    fn refuse<E: Error>(&mut self, why: RecordBlockError) -> E {
        self.meter.refused = Some(why);
        E::custom(why)
    }

    fn inside<E: Error>(&mut self) -> Result<Measure<'_>, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Measure {
                meter: self.meter,
                depth,
            }),
            None => Err(self.refuse(DataModelError::TooDeep.into())),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Measure<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Measure<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value of the data model")
    }

    fn visit_none<E: Error>(mut self) -> Result<(), E> {
        self.spend(SCALAR_COST)
    }

    fn visit_bool<E: Error>(mut self, _: bool) -> Result<(), E> {
        self.spend(SCALAR_COST)
    }

    fn visit_i64<E: Error>(mut self, _: i64) -> Result<(), E> {
        self.spend(SCALAR_COST)
    }

    fn visit_i128<E: Error>(mut self, _: i128) -> Result<(), E> {
        self.spend(SCALAR_COST)
    }

    fn visit_u64<E: Error>(mut self, _: u64) -> Result<(), E> {
        self.spend(SCALAR_COST)
    }

    fn visit_f64<E: Error>(mut self, _: f64) -> Result<(), E> {
        self.spend(SCALAR_COST)
    }

    fn visit_str<E: Error>(mut self, _: &str) -> Result<(), E> {
        self.spend(SCALAR_COST)
    }

    fn visit_bytes<E: Error>(mut self, _: &[u8]) -> Result<(), E> {
        // In JSON an object with one field.
        self.spend(OBJECT_COST)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(mut self, link: D) -> Result<(), D::Error> {
        self.spend(OBJECT_COST)?;
        link.deserialize_bytes(IgnoredAny)?;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.spend(LIST_COST)?;
        while items.next_element_seed(self.inside()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.spend(OBJECT_COST)?;
        while fields.next_key_seed(self.inside()?)?.is_some() {
            fields.next_value_seed(self.inside()?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::data_model::record_to_ipld;

    fn block(value: &Value) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(&record_to_ipld(value).unwrap()).unwrap()
    }

    #[test]
    fn a_block_of_many_small_values_is_not_read() {
        // `{"a": [{"": null}, …]}` and the like.
        for item in [
            &b"\xa1\x60\xf6"[..],
            b"\xa0",
            b"\x81\xf6",
            b"\xf6",
            b"\x00",
            b"\x60",
            b"\x40",
        ] {
            let count = 1_000_000 / item.len();
            let mut bytes = b"\xa1\x61a\x9a".to_vec();
            bytes.extend(u32::try_from(count).unwrap().to_be_bytes());
            bytes.extend(item.repeat(count));
            assert_eq!(
                record_from_block(&bytes),
                Err(RecordBlockError::TooManyValues),
                "{item:?}"
            );
        }
    }

    #[test]
    fn a_record_with_the_most_layers_is_read() {
        let layer = json!({
            "digest": format!("sha256:{}", "a".repeat(64)), "size": 1,
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "annotations": { "a": "b" },
        });
        let link = json!({ "$link": "bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity" });
        let record = json!({ "$type": "io.atcr.manifest", "layers": vec![layer; 4096], "link": link });
        assert_eq!(record_from_block(&block(&record)), Ok(record));
    }

    #[test]
    fn long_deep_and_broken_blocks_are_refused() {
        let long = json!({ "text": "a".repeat(MAX_RECORD_BYTES) });
        assert_eq!(record_from_block(&block(&long)), Err(RecordBlockError::TooLong));
        let deep = [b"\x81".repeat(MAX_DEPTH + 1), b"\xf6".to_vec()].concat();
        assert_eq!(
            record_from_block(&deep),
            Err(RecordBlockError::DataModel(DataModelError::TooDeep))
        );
        for broken in [&b""[..], b"\xa1\x61a", b"\xf6\xf6", b"\x9a\xff\xff\xff\xff"] {
            assert_eq!(
                record_from_block(broken),
                Err(RecordBlockError::NotDagCbor),
                "{broken:?}"
            );
        }
        // A number with a fraction.
        let float = b"\xa1\x61a\xfb\x3f\xf8\0\0\0\0\0\0";
        assert_eq!(
            record_from_block(float),
            Err(RecordBlockError::DataModel(DataModelError::Float))
        );
    }
}
