//! Digests and the hasher that makes them in pieces.

use atcr_oci::{Algorithm, Digest, DigestHasher, InvalidDigest};
use proptest::prelude::*;

use crate::strategies;

proptest! {
    #[test]
    fn digests_print_as_they_were_written(digest in strategies::digest()) {
        prop_assert_eq!(digest.to_string().parse(), Ok(digest.clone()));
        prop_assert_eq!(Digest::from_hash_bytes(digest.algorithm(), &digest.hash_bytes()), Some(digest.clone()));
        let json = serde_json::to_string(&digest).expect("json");
        prop_assert_eq!(serde_json::from_str::<Digest>(&json).expect("digest"), digest);
    }

    #[test]
    fn a_hasher_put_away_anywhere_gives_the_digest_of_the_whole(
        algorithm in strategies::algorithm(),
        content in prop::collection::vec(any::<u8>(), 0..700),
        splits in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut at: Vec<usize> = splits.iter().map(|split| split.index(content.len() + 1)).collect();
        at.sort_unstable();
        let mut hasher = DigestHasher::new(algorithm);
        let mut done = 0;
        for split in at {
            hasher.update(&content[done..split]);
            done = split;
            hasher = DigestHasher::restore(&hasher.save()).expect("our own state");
            prop_assert_eq!(hasher.len(), done as u64);
        }
        hasher.update(&content[done..]);
        prop_assert_eq!(hasher.len(), content.len() as u64);
        prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &content));
    }

    #[test]
    fn a_damaged_state_is_refused(
        algorithm in strategies::algorithm(),
        content in prop::collection::vec(any::<u8>(), 0..300),
        place in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut hasher = DigestHasher::new(algorithm);
        hasher.update(&content);
        let mut saved = hasher.save();
        let place = place.index(saved.len());
        prop_assert!(DigestHasher::restore(&saved[..place]).is_err());
        saved[place] ^= flip;
        prop_assert!(DigestHasher::restore(&saved).is_err());
    }

    #[test]
    fn foreign_states_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(DigestHasher::restore(&bytes).is_err());
    }
}

#[test]
fn known_answers() {
    assert_eq!(
        Digest::of(Algorithm::Sha256, b"").as_str(),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(
        Digest::of(Algorithm::Sha512, b"abc").as_str(),
        "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
         2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    );
}

#[test]
fn every_split_of_two_blocks_and_more_is_the_same() {
    let content: Vec<u8> = (0..=255).cycle().take(300).collect();
    for algorithm in Algorithm::ALL {
        let whole = Digest::of(algorithm, &content);
        for split in 0..=content.len() {
            let mut hasher = DigestHasher::new(algorithm);
            hasher.update(&content[..split]);
            let mut hasher = DigestHasher::restore(&hasher.save()).expect("our own state");
            assert_eq!(hasher.algorithm(), algorithm);
            hasher.update(&content[split..]);
            assert_eq!(hasher.finish(), whole, "{algorithm} {split}");
        }
    }
}

#[test]
fn a_digest_knows_its_content() {
    let digest = Digest::of(Algorithm::Sha512, b"content");
    assert!(digest.matches(b"content"));
    assert!(!digest.matches(b"Content"));
    assert_eq!(digest.hex().len(), 128);
    assert_eq!(digest.algorithm(), Algorithm::Sha512);
}

#[test]
fn texts_that_are_no_digest_say_why() {
    let hex = "0".repeat(64);
    let refused = |text: &str| text.parse::<Digest>().expect_err(text);
    assert_eq!(refused(""), InvalidDigest::Format);
    assert_eq!(refused(&hex), InvalidDigest::Format);
    assert_eq!(
        refused(&format!("md5:{hex}")),
        InvalidDigest::UnsupportedAlgorithm
    );
    assert_eq!(
        refused(&format!("Sha256:{hex}")),
        InvalidDigest::UnsupportedAlgorithm
    );
    assert_eq!(
        refused(&format!("sha256:{}", "A".repeat(64))),
        InvalidDigest::Encoding
    );
    assert_eq!(
        refused(&format!("sha256:{}", &hex[..63])),
        InvalidDigest::Encoding
    );
    assert_eq!(refused(&format!("sha512:{hex}")), InvalidDigest::Encoding);
    assert_eq!(
        refused(&format!(" sha256:{hex}")),
        InvalidDigest::UnsupportedAlgorithm
    );
    assert_eq!(refused(&format!("sha256:{hex} ")), InvalidDigest::Encoding);
}
