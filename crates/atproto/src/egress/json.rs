//! JSON that others wrote, measured before it is parsed.
//!
//! Parsed, `[{"":0},{"":0},…]` takes ninety times its length: what a text will cost is worked out from the text alone, and a
//! text that costs too much is not parsed.

use serde::de::DeserializeOwned;

use crate::bounds::{MAX_JSON_COST_FACTOR, MAX_JSON_DEPTH, SMALL_JSON_COST};

/// What a value takes in memory as a [`serde_json::Value`], in bytes, rounded up: an object has room for eleven fields from the start,
/// a list for four items, and both grow by doubling.
pub(crate) const OBJECT_COST: usize = 640;
pub(crate) const LIST_COST: usize = 160;
pub(crate) const SCALAR_COST: usize = 64;

/// Why a JSON text is not parsed, or could not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Objects and lists nest deeper than [`MAX_JSON_DEPTH`].
    #[error("the JSON is nested too deeply")]
    TooDeep,
    /// Parsed, it would take far more memory than its length suggests.
    #[error("the JSON has too many values for its length")]
    TooManyValues,
    /// Not JSON, or not of the expected form. The parser's words are left out, since they may quote the text.
    #[error("the JSON is not of the expected form")]
    Malformed,
}

/// Parses `text` within the bounds of [`crate::bounds`]: depth, and memory for its length.
///
/// # Errors
/// [`JsonError`]; nothing was parsed if it is one of the first two.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    cost(text)?;
    serde_json::from_slice(text).map_err(|_| JsonError::Malformed)
}

/// What `text` costs when it is parsed, in bytes, its own length left out. A text that is no JSON has some cost as well.
///
/// # Errors
/// `TooDeep` and `TooManyValues`.
pub fn cost(text: &[u8]) -> Result<usize, JsonError> {
    let most = text
        .len()
        .saturating_mul(MAX_JSON_COST_FACTOR)
        .max(SMALL_JSON_COST);
    let (mut depth, mut cost) = (0_usize, SCALAR_COST);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        cost += match byte {
            b'"' => {
                skip_string(&mut bytes);
                0
            }
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(JsonError::TooDeep);
                }
                if *byte == b'{' { OBJECT_COST } else { LIST_COST }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                0
            }
            b',' | b':' => SCALAR_COST,
            _ => 0,
        };
        if cost > most {
            return Err(JsonError::TooManyValues);
        }
    }
    Ok(cost)
}

/// Moves past the end of a string whose opening quote is behind.
fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Reads no field.
    #[derive(Debug, serde::Deserialize)]
    struct Nothing {}

    fn nested(depth: usize) -> String {
        format!("{}{}", "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse::<Value>(nested(MAX_JSON_DEPTH).as_bytes()).is_ok());
        for depth in [MAX_JSON_DEPTH + 1, 1_000_000] {
            let text = nested(depth);
            assert_eq!(parse::<Value>(text.as_bytes()), Err(JsonError::TooDeep));
            // Also where the reader would pass it over.
            let text = format!(r#"{{"x":{text}}}"#);
            assert_eq!(parse::<Nothing>(text.as_bytes()).unwrap_err(), JsonError::TooDeep);
        }
    }

    #[test]
    fn brackets_inside_strings_do_not_count() {
        let value = json!({ "a": "[".repeat(10_000), "b": "\\\"{[,:".repeat(10_000), "c\"[": "\\" });
        assert_eq!(parse::<Value>(value.to_string().as_bytes()), Ok(value));
    }

    #[test]
    fn many_small_values_in_a_long_text_are_refused() {
        let many = |item: &str| format!("[{}]", vec![item; 100_000].join(","));
        for item in [r#"{"":0}"#, "{}", "[0]", "[]", "0"] {
            let text = many(item);
            assert_eq!(
                parse::<Value>(text.as_bytes()),
                Err(JsonError::TooManyValues),
                "{item}"
            );
        }
    }

    #[test]
    fn a_manifest_record_with_the_most_layers_is_well_within() {
        let layer = json!({
            "digest": format!("sha256:{}", "a".repeat(64)), "size": 1,
            "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "annotations": { "a": "b" },
        });
        let record = json!({ "$type": "io.atcr.manifest", "layers": vec![layer; 4096] });
        assert!(parse::<Value>(record.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn short_texts_may_be_dense() {
        let text = format!("[{}]", vec![r#"{"":0}"#; 80].join(","));
        assert!(parse::<Value>(text.as_bytes()).is_ok());
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for text in ["", "\"", "\"\\", "{", "]", "{\"a\":}", "nul"] {
            assert_eq!(
                parse::<Value>(text.as_bytes()),
                Err(JsonError::Malformed),
                "{text}"
            );
        }
    }
}
