//! Bounds on the values that tokens, devices and authorization servers name. [`atcr_atproto::bounds`] has the bounds of
//! other answers.
//!
//! Times in tokens are compared with our own time, moved by our own margins: arithmetic on a peer's time can leave the calendar.
//!
//! | Peer names | Bound | Beyond |
//! |---|---|---|
//! | a service or AppView token's length | [`MAX_TOKEN_BYTES`] | refused |
//! | a registry token's length | [`MAX_REGISTRY_TOKEN_BYTES`] | refused |
//! | the end of a service token | [`SERVICE_TOKEN_LIFE`] from now | refused |
//! | the end of an AppView token | [`APPVIEW_TOKEN_LIFE`] after its beginning | refused |
//! | the end of a service token that we hold | [`SERVICE_TOKEN_REUSE`] | clamped |
//! | `expires_in` of an OAuth token | nothing to [`MAX_ACCESS_LIFE`] | clamped |
//! | `Retry-After` of an authorization server | [`MAX_OAUTH_RETRY_AFTER`] | clamped |
//! | an authorization server's documents and answers | [`MAX_OAUTH_ANSWER_BYTES`], [`METADATA_TIMEOUT`] | refused |
//! | its tokens, codes, scopes and identifiers | [`MAX_OAUTH_TOKEN_BYTES`], [`MAX_OAUTH_TEXT_BYTES`] | refused |
//! | its words | [`MAX_DESCRIPTION_CHARS`] | cut |

use std::time::Duration;

use chrono::TimeDelta;

/// Tolerated difference between two clocks.
pub const LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// Longest service or AppView token that is read; real ones are below 1 KiB.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Longest registry token that is read: room for a few hundred scopes.
pub const MAX_REGISTRY_TOKEN_BYTES: usize = 64 * 1024;

/// Longest life of a service token that is accepted.
pub const SERVICE_TOKEN_LIFE: TimeDelta = TimeDelta::minutes(5);

/// Longest reuse of one service token: 50 of the 60 seconds that a PDS gives by default.
pub const SERVICE_TOKEN_REUSE: TimeDelta = TimeDelta::seconds(50);

/// What must be left of a service token's life when it is used.
pub const SERVICE_TOKEN_MARGIN: TimeDelta = TimeDelta::seconds(10);

/// Life of an AppView token.
pub const APPVIEW_TOKEN_LIFE: TimeDelta = TimeDelta::seconds(60);

/// The longest life of an OAuth access token, 30 days; a longer one is clamped. Real ones live an hour.
pub const MAX_ACCESS_LIFE: TimeDelta = TimeDelta::days(30);

/// The longest wait that an authorization server may ask for; a longer one is clamped.
pub const MAX_OAUTH_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Longest document or answer of an authorization server.
pub const MAX_OAUTH_ANSWER_BYTES: usize = 64 * 1024;

/// Time limit for one whole metadata document.
pub const METADATA_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest access token, refresh token or scope that is kept: it goes into a header, and servers refuse headers of 16 KiB.
pub const MAX_OAUTH_TOKEN_BYTES: usize = 12 * 1024;

/// Longest issuer, endpoint or request URI of an authorization server.
pub const MAX_OAUTH_TEXT_BYTES: usize = 2048;

/// Characters of a server's error description that are kept.
pub const MAX_DESCRIPTION_CHARS: usize = 200;
