//! The positions of a JSON object's members in its text.
//!
//! A real parser has accepted the text first, so this reader only finds positions and does not validate.

use std::ops::Range;

/// An object of valid JSON.
#[derive(Debug)]
pub(super) struct Object {
    /// In the order of the text.
    pub(super) members: Vec<Member>,
    /// What is between the braces.
    pub(super) inside: Range<usize>,
}

/// A member of an object.
#[derive(Debug)]
pub(super) struct Member {
    /// The name, unescaped.
    pub(super) name: String,
    /// From the opening quote of the name to behind the closing one.
    pub(super) name_span: Range<usize>,
    /// The value.
    pub(super) value: Range<usize>,
}

impl Object {
    /// Reads the object that begins at `start`; `None` if another kind of value does.
    pub(super) fn read(text: &str, start: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.get(start) != Some(&b'{') {
            return None;
        }
        let mut members = Vec::new();
        let mut at = skip_space(bytes, start + 1);
        while bytes.get(at) == Some(&b'"') {
            let name_end = skip_string(bytes, at);
            let colon = skip_space(bytes, name_end);
            let value_start = skip_space(bytes, colon + 1);
            let value_end = skip_value(bytes, value_start);
            members.push(Member {
                name: serde_json::from_str(text.get(at..name_end)?).ok()?,
                name_span: at..name_end,
                value: value_start..value_end,
            });
            at = skip_space(bytes, value_end);
            if bytes.get(at) == Some(&b',') {
                at = skip_space(bytes, at + 1);
            }
        }
        (bytes.get(at) == Some(&b'}')).then_some(Self {
            members,
            inside: start + 1..at,
        })
    }

    /// The position of the member called `name`.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| member.name == name)
    }
}

/// The first position from `at` that is no white space.
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(|byte| b" \t\r\n".contains(byte)) {
        at += 1;
    }
    at
}

fn skip_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn skip_value(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = skip_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' if depth == 0 => return at,
            _ => at += 1,
        }
        // A string or a bracket ends the value; numbers and words end at what follows them.
        if depth == 0 && matches!(byte, b'"' | b'}' | b']') {
            return at;
        }
    }
    at
}
