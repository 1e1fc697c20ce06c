//! Repository names, tags, references, sessions, media types and platforms: text in, the same text out.

use atcr_oci::{InvalidRepositoryName, MediaType, Platform, Reference, RepositoryName, Tag, UploadSessionId};
use proptest::prelude::*;

use crate::strategies;

proptest! {
    #[test]
    fn names_print_as_they_were_written(name in strategies::repository_name()) {
        prop_assert_eq!(name.to_string().parse(), Ok(name.clone()));
        prop_assert_eq!(RepositoryName::new(name.identity(), name.image()), Ok(name.clone()));
        let json = serde_json::to_string(&name).expect("json");
        prop_assert_eq!(serde_json::from_str::<RepositoryName>(&json).expect("name"), name);
    }

    #[test]
    fn references_print_as_they_were_written(reference in strategies::reference()) {
        prop_assert_eq!(reference.to_string().parse(), Ok(reference.clone()));
        let json = serde_json::to_string(&reference).expect("json");
        prop_assert_eq!(serde_json::from_str::<Reference>(&json).expect("reference"), reference);
    }

    #[test]
    fn sessions_print_as_they_were_written(session in strategies::session()) {
        prop_assert_eq!(session.as_str().len(), 43);
        prop_assert_eq!(session.to_string().parse(), Ok(session.clone()));
        let shown = format!("{session:?}");
        prop_assert!(!shown.contains(session.as_str()));
    }

    #[test]
    fn the_name_grammar_is_the_specifications(text in "[a-z0-9._/-]{1,24}") {
        // The specification's expression, read by backtracking over words and separators.
        let component = |c: &str| {
            let words: Vec<&str> = c.split(['.', '_', '-']).filter(|w| !w.is_empty()).collect();
            let mut rest = c;
            for (index, word) in words.iter().enumerate() {
                let at = rest.find(word).unwrap_or_default();
                let separator = &rest[..at];
                let legal = if index == 0 {
                    separator.is_empty()
                } else {
                    matches!(separator, "." | "_" | "__") || (!separator.is_empty() && separator.bytes().all(|b| b == b'-'))
                };
                if !legal {
                    return false;
                }
                rest = &rest[at + word.len()..];
            }
            !words.is_empty() && rest.is_empty()
        };
        let legal = text.split('/').all(component);
        let parsed = text.parse::<RepositoryName>();
        match parsed {
            Ok(_) => prop_assert!(legal && text.contains('/')),
            Err(InvalidRepositoryName::NoIdentity) => prop_assert!(legal && !text.contains('/')),
            Err(_) => prop_assert!(!legal),
        }
    }

    #[test]
    fn media_types_print_as_they_were_written(
        main in "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,20}",
        sub in "[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,60}",
        parameter in prop::option::of("[ -~]{0,30}"),
    ) {
        let essence = format!("{main}/{sub}");
        let text = parameter.map_or(essence.clone(), |parameter| format!("{essence};{parameter}"));
        let media_type: MediaType = text.parse().expect("a media type");
        prop_assert_eq!(media_type.as_str(), &text);
        prop_assert_eq!(media_type.essence(), &essence);
        prop_assert!(media_type.same_type(&essence.to_uppercase().parse().expect("a media type")));
    }

    #[test]
    fn platforms_print_as_they_were_written(
        os in "[a-z]{1,8}",
        architecture in "[a-z0-9]{1,8}",
        variant in prop::option::of("v[0-9]"),
    ) {
        let platform = Platform { variant, ..Platform::new(&os, &architecture) };
        prop_assert_eq!(platform.to_string().parse(), Ok(platform));
    }
}

#[test]
fn a_name_is_split_at_its_first_slash() {
    let name: RepositoryName = "did-web-example.com/team/app".parse().expect("a name");
    assert_eq!(
        (name.identity(), name.image()),
        ("did-web-example.com", "team/app")
    );
    assert!(RepositoryName::new("alice.test/team", "app").is_err());
    assert!(RepositoryName::new("alice.test", "").is_err());
}

#[test]
fn a_name_has_at_most_255_characters() {
    let longest = format!("alice.test/{}", "a".repeat(244));
    assert!(longest.parse::<RepositoryName>().is_ok());
    assert_eq!(
        format!("{longest}a").parse::<RepositoryName>(),
        Err(InvalidRepositoryName::TooLong)
    );
}

#[test]
fn a_tag_has_at_most_128_characters() {
    assert!("a".repeat(128).parse::<Tag>().is_ok());
    assert!("a".repeat(129).parse::<Tag>().is_err());
}

#[test]
fn what_has_a_colon_is_meant_as_a_digest() {
    assert!(matches!(
        "sha256:x".parse::<Reference>(),
        Err(atcr_oci::InvalidReference::Digest(_))
    ));
    assert!(matches!("latest".parse::<Reference>(), Ok(Reference::Tag(_))));
    assert!(matches!("sha256-abc".parse::<Reference>(), Ok(Reference::Tag(_))));
}

#[test]
fn two_random_sessions_differ() {
    assert_ne!(UploadSessionId::random(), UploadSessionId::random());
}

#[test]
fn texts_that_are_no_media_type_are_refused() {
    let long = format!("application/{}", "a".repeat(128));
    for text in [
        "", "json", "/", "a/", "/b", "a b/c", "a/b c", "a/b/c", "a/b\n", "a/b;x\n", " a/b", ".a/b", &long,
    ] {
        assert!(text.parse::<MediaType>().is_err(), "{text:?}");
    }
}

#[test]
fn foreign_layers_are_known_by_their_type() {
    assert!(MediaType::DOCKER_FOREIGN_LAYER.is_nondistributable());
    let oci: MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        .parse()
        .expect("a media type");
    assert!(oci.is_nondistributable());
    assert!(!MediaType::OCI_LAYER_TAR_GZIP.is_nondistributable());
}
