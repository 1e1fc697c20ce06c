//! Made-up records.

use std::collections::BTreeMap;

use atcr_atproto::data_model::{DAG_CBOR, RAW, cid_of_sha256};
use atcr_atproto::lexicon::{
    crew as crew_record, repo_page, star as star_record, stats as stats_record, tag,
};
use atcr_atproto::syntax::{Cid, Did, RecordKey};
use atcr_oci::{Algorithm, Digest};
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use rand::rngs::StdRng;

use super::{Plan, hold_did, known, words};
use crate::change::Change;
use crate::collection::Collection;
use crate::fact::{
    CaptainFact, ChildFact, CrewFact, Fact, Kind, ManifestFact, PageFact, PlatformFact, ProfileFact,
    RecordFact, StarFact, StatsFact, TagFact,
};

const PLATFORMS: [(&str, &str, &str); 4] = [
    ("linux", "amd64", ""),
    ("linux", "arm64", "v8"),
    ("linux", "arm", "v7"),
    ("linux", "s390x", ""),
];

/// The hold of account `owner`.
pub(super) fn hold_of(owner: usize, holds: usize) -> usize {
    owner % holds.max(1)
}

fn hash(rng: &mut StdRng) -> [u8; 32] {
    let mut hash = [0; 32];
    rng.fill(&mut hash);
    hash
}

fn cid(rng: &mut StdRng) -> Cid {
    cid_of_sha256(DAG_CBOR, &hash(rng))
}

fn put(rng: &mut StdRng, collection: Collection, rkey: RecordKey, fact: Fact) -> Change {
    Change::Put(RecordFact {
        collection,
        rkey,
        cid: cid(rng),
        fact,
    })
}

/// The records of one account, being made.
pub(super) struct Records<'r> {
    rng: &'r mut StdRng,
    hold: Did,
    now: DateTime<Utc>,
    changes: Vec<Change>,
}

impl<'r> Records<'r> {
    pub(super) fn new(rng: &'r mut StdRng, did: Did, now: DateTime<Utc>, holds: usize) -> Self {
        // The number that the DID was made of.
        let letters = did.as_str().bytes().skip("did:plc:".len());
        let number = letters.fold(0_usize, |number, letter| {
            let digit = if letter.is_ascii_lowercase() {
                letter - b'a'
            } else {
                letter - b'2' + 26
            };
            number.wrapping_mul(32).wrapping_add(usize::from(digit))
        });
        Self {
            rng,
            hold: hold_did(hold_of(number, holds)),
            now,
            changes: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Vec<Change> {
        self.changes
    }

    fn put(&mut self, collection: Collection, rkey: RecordKey, fact: Fact) {
        let change = put(self.rng, collection, rkey, fact);
        self.changes.push(change);
    }

    pub(super) fn profile(&mut self) {
        let fact = Fact::Profile(ProfileFact {
            default_hold: Some(self.hold.clone()),
            auto_remove_untagged: false,
        });
        self.put(Collection::Profile, RecordKey::literal_self(), fact);
    }

    fn digest(&mut self) -> Digest {
        let hash = hash(self.rng);
        #[expect(clippy::expect_used, reason = "32 bytes are a SHA-256")]
        Digest::from_hash_bytes(Algorithm::Sha256, &hash).expect("32 bytes are a SHA-256")
    }

    /// Some time in the last two years.
    fn time(&mut self) -> DateTime<Utc> {
        self.now - TimeDelta::seconds(self.rng.random_range(0..63_000_000))
    }

    pub(super) fn repository(&mut self, plan: &Plan) {
        let mut digests: Vec<Digest> = Vec::new();
        let mut tagged: Vec<Digest> = Vec::new();
        for _ in 0..plan.manifests {
            let fact = self.manifest(&plan.name, &digests);
            digests.push(fact.digest.clone());
            if fact.kind.is_main() && fact.subject.is_none() {
                tagged.push(fact.digest.clone());
            }
            let rkey = known::<RecordKey>(fact.digest.hex());
            self.put(Collection::Manifest, rkey, Fact::Manifest(Box::new(fact)));
        }
        let targets = if tagged.is_empty() { digests } else { tagged };
        let mut names = std::collections::BTreeSet::new();
        for number in 0..plan.tags {
            let name = words::tag(self.rng, number);
            if !names.insert(name.clone()) {
                continue;
            }
            let target = targets[self.rng.random_range(0..targets.len())].clone();
            let fact = TagFact {
                repository: plan.name.clone(),
                tag: known(&name),
                digest: Some(target),
                claimed_at: self.time(),
            };
            if let Ok(rkey) = tag::rkey(&plan.name, &name) {
                self.put(Collection::Tag, rkey, Fact::Tag(fact));
            }
        }
        if self.rng.random_bool(0.5) {
            self.page(&plan.name);
        }
    }

    fn page(&mut self, repository: &str) {
        let words = if self.rng.random_bool(0.01) {
            15_000
        } else {
            self.rng.random_range(50..400)
        };
        let description = format!("# {repository}\n\n{}.\n", words::text(self.rng, words));
        let fact = PageFact {
            repository: repository.to_owned(),
            summary: words::text(self.rng, 12),
            description: description.chars().take(90_000).collect(),
            avatar: None,
            updated_at: self.time(),
        };
        if let Ok(rkey) = repo_page::rkey(repository) {
            self.put(Collection::RepoPage, rkey, Fact::Page(fact));
        }
    }

    fn manifest(&mut self, repository: &str, before: &[Digest]) -> ManifestFact {
        let kind = match self.rng.random_range(0..100) {
            0..55 => Kind::Image,
            55..70 => Kind::ImageIndex,
            70..80 => Kind::Signature,
            80..85 => Kind::Attestation,
            85..90 => Kind::Sbom,
            90..96 => Kind::HelmChart,
            _ => Kind::BuildCache,
        };
        let is_referrer = matches!(kind, Kind::Signature | Kind::Attestation | Kind::Sbom);
        let subject = (is_referrer && !before.is_empty())
            .then(|| before[self.rng.random_range(0..before.len())].clone());
        let children = if kind == Kind::ImageIndex {
            self.children(before)
        } else {
            Vec::new()
        };
        let layers = if children.is_empty() {
            self.rng.random_range(1..=12)
        } else {
            0
        };
        let mut annotations = BTreeMap::new();
        if kind.is_main() {
            let mut annotate = |key: &str, value: String| {
                annotations.insert(format!("org.opencontainers.image.{key}"), value);
            };
            annotate("title", repository.replace(['-', '/', '_'], " "));
            annotate("description", words::text(self.rng, 10));
            annotate("licenses", "MIT".to_owned());
            annotate("source", format!("https://code.example/{repository}"));
        }
        let blob = cid_of_sha256(RAW, &hash(self.rng));
        ManifestFact {
            repository: repository.to_owned(),
            digest: self.digest(),
            media_type: if children.is_empty() {
                "application/vnd.oci.image.manifest.v1+json".to_owned()
            } else {
                "application/vnd.oci.image.index.v1+json".to_owned()
            },
            artifact_type: is_referrer.then(|| "application/vnd.example.statement.v1".to_owned()),
            kind,
            claimed_at: self.time(),
            hold: Some(self.hold.clone()),
            subject,
            config: children.is_empty().then(|| self.digest()),
            layers,
            content_size: u64::from(layers) * self.rng.random_range(1_000_000..9_000_000),
            blob: Some(blob),
            size: Some(self.rng.random_range(500..3_000)),
            children,
            annotations,
        }
    }

    fn children(&mut self, before: &[Digest]) -> Vec<ChildFact> {
        let count = self.rng.random_range(1..=PLATFORMS.len());
        let mut children: Vec<ChildFact> = PLATFORMS
            .into_iter()
            .take(count)
            .map(|platform| {
                let digest = match before.last() {
                    Some(digest) if self.rng.random_bool(0.5) => digest.clone(),
                    _ => self.digest(),
                };
                child(digest, platform, false)
            })
            .collect();
        let attested = self.digest();
        children.push(child(attested, ("unknown", "unknown", ""), true));
        children
    }
}

fn child(digest: Digest, (os, architecture, variant): (&str, &str, &str), is_attestation: bool) -> ChildFact {
    ChildFact {
        digest,
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size: 1_200,
        platform: Some(PlatformFact {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            os_version: String::new(),
        }),
        is_attestation,
    }
}

/// A star for a repository.
pub(super) fn star(rng: &mut StdRng, owner: &Did, repository: &str, now: DateTime<Utc>) -> Change {
    let fact = Fact::Star(StarFact {
        owner: owner.clone(),
        repository: repository.to_owned(),
        claimed_at: now - TimeDelta::seconds(rng.random_range(0..30_000_000)),
    });
    let rkey = star_record::rkey(owner, repository).unwrap_or_else(|_| RecordKey::literal_self());
    put(rng, Collection::Star, rkey, fact)
}

/// The CID of a record that is only made once.
fn cid_of(text: &str) -> Cid {
    atcr_atproto::data_model::cid_of(DAG_CBOR, text.as_bytes())
}

/// A hold's captain record.
pub(super) fn captain(owner: &Did, number: usize, now: DateTime<Utc>) -> Change {
    Change::Put(RecordFact {
        collection: Collection::Captain,
        rkey: RecordKey::literal_self(),
        cid: cid_of(&format!("captain {number}")),
        fact: Fact::Captain(CaptainFact {
            owner: owner.clone(),
            is_public: number.is_multiple_of(2),
            allow_all_crew: number.is_multiple_of(3),
            region: "eu-central-1".to_owned(),
            successor: None,
            deployed_at: now - TimeDelta::days(700),
        }),
    })
}

/// A hold's crew record.
pub(super) fn crew(member: &Did, now: DateTime<Utc>) -> Change {
    Change::Put(RecordFact {
        collection: Collection::Crew,
        rkey: crew_record::rkey(member).unwrap_or_else(|_| RecordKey::literal_self()),
        cid: cid_of(&format!("crew {member}")),
        fact: Fact::Crew(CrewFact {
            member: member.clone(),
            role: "member".to_owned(),
            permissions: vec![
                crew_record::BLOB_READ.to_owned(),
                crew_record::BLOB_WRITE.to_owned(),
            ],
            tier: "deckhand".to_owned(),
            added_at: now - TimeDelta::days(300),
        }),
    })
}

/// A hold's count of a repository.
pub(super) fn stats(owner: &Did, repository: &str, pulls: f64, now: DateTime<Utc>) -> Change {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a made-up count, not negative"
    )]
    let pulls = pulls as u64;
    Change::Put(RecordFact {
        collection: Collection::Stats,
        rkey: stats_record::rkey(owner, repository).unwrap_or_else(|_| RecordKey::literal_self()),
        cid: cid_of(&format!("stats {owner}/{repository}")),
        fact: Fact::Stats(StatsFact {
            owner: owner.clone(),
            repository: repository.to_owned(),
            pulls,
            pushes: pulls / 50 + 1,
            last_pull: (pulls > 0).then(|| now - TimeDelta::hours(1)),
            last_push: Some(now - TimeDelta::days(1)),
            updated_at: now,
        }),
    })
}
