//! How a scanner shows that it is one of this hold's.

use aws_lc_rs::{constant_time, digest};

/// The header with the secret, in lower case.
pub const SECRET_HEADER: &str = "x-scanner-secret";

/// The query parameters that may have it instead, of which the first is the documented one.
pub const SECRET_PARAMETERS: [&str; 2] = ["secret", "token"];

/// Whether `given` is the secret. Takes as long for any text of one length. An empty secret is nobody's.
#[must_use]
pub fn is_same_secret(secret: &str, given: &str) -> bool {
    let hash = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
    !secret.is_empty()
        && constant_time::verify_slices_are_equal(hash(secret).as_ref(), hash(given).as_ref()).is_ok()
}
