//! How a hold has images scanned.

use std::time::Duration;

use atcr_server::Secret;
use url::Url;

use super::Room;

const GIB: u64 = 1 << 30;

/// Which results become records, which everybody can read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publication {
    /// Those of a public hold.
    #[default]
    IfPublic,
    /// All; a private hold's without the documents.
    Always,
    /// None.
    Never,
}

/// How a hold has images scanned.
#[derive(Clone, Debug)]
pub struct ScanOptions {
    /// What scanners show; empty for no scanners.
    pub secret: Secret,
    /// After how long an image is scanned again when there is nothing else to do; `None` for never.
    pub rescan_interval: Option<Duration>,
    /// How many images in a minute are looked up again when there is nothing else to do, once a scanner has a newer vulnerability database.
    pub rematches: u32,
    /// Which results become records.
    pub publication: Publication,
    /// The hold's own address.
    pub public_url: Url,
    /// How long a scanner that renews its leases may be silent about a job.
    pub lease: Duration,
    /// How long an original scanner, which renews none, may take.
    pub original_lease: Duration,
    /// How long a job rests after each failure or loss in a row, and up to a quarter longer. One more, and it is given up.
    pub rests: [Duration; 4],
    /// Jobs of one account that are not over; what it pushes beyond is not scanned until it is pushed again.
    pub jobs_of_owner: u32,
    /// How many bytes of documents are kept; of a result beyond that only the counts.
    pub room: Room,
    /// How long the upload of one document may take.
    pub upload_within: Duration,
    /// How often a scanner is pinged.
    pub ping_interval: Duration,
    /// How long a scanner may give no sign of life.
    pub pong_within: Duration,
}

impl ScanOptions {
    /// The usual times, for scanners that show `secret`.
    #[must_use]
    pub fn new(secret: Secret, public_url: Url) -> Self {
        Self {
            secret,
            rescan_interval: None,
            rematches: 0,
            publication: Publication::default(),
            public_url,
            lease: Duration::from_mins(2),
            original_lease: Duration::from_mins(10),
            rests: [1, 5, 30, 120].map(Duration::from_mins),
            jobs_of_owner: 1000,
            room: Room {
                of_owner: 4 * GIB,
                in_all: 64 * GIB,
            },
            upload_within: Duration::from_mins(10),
            ping_interval: Duration::from_secs(30),
            pong_within: Duration::from_mins(1),
        }
    }
}
