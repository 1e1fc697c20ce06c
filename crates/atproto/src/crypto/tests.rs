use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use secrecy::ExposeSecret as _;

use super::{CryptoError, Curve, PublicKey, SigningKey};

const CURVES: [Curve; 2] = [Curve::K256, Curve::P256];

#[test]
fn what_a_key_signs_its_public_key_verifies() {
    for curve in CURVES {
        let key = SigningKey::generate(curve);
        let signature = key.sign(b"message");
        let public = PublicKey::from_did_key(&key.public_key().to_did_key()).unwrap();
        assert_eq!(public, key.public_key());
        assert!(public.verify(b"message", &signature).is_ok());
        assert!(public.verify(b"massage", &signature).is_err());
        assert!(public.verify(b"message", &signature[..63]).is_err());
        assert!(
            SigningKey::generate(curve)
                .public_key()
                .verify(b"message", &signature)
                .is_err()
        );
    }
}

#[test]
fn the_other_half_of_a_malleable_signature_is_refused() {
    let key = SigningKey::generate(Curve::K256);
    let low = k256::ecdsa::Signature::from_slice(&key.sign(b"message")).unwrap();
    let high = k256::ecdsa::Signature::from_scalars(low.r(), -*low.s()).unwrap();
    assert!(matches!(
        key.public_key().verify(b"message", &high.to_bytes()),
        Err(CryptoError::BadSignature)
    ));

    let key = SigningKey::generate(Curve::P256);
    for message in [b"a", b"b", b"c", b"d", b"e", b"f"] {
        let low = p256::ecdsa::Signature::from_slice(&key.sign(message)).unwrap();
        let high = p256::ecdsa::Signature::from_scalars(low.r(), -*low.s()).unwrap();
        assert!(key.public_key().verify(message, &low.to_bytes()).is_ok());
        assert!(key.public_key().verify(message, &high.to_bytes()).is_err());
    }
}

#[test]
fn malformed_keys_are_refused() {
    for text in [
        "",
        "z",
        "m",
        "zQ3sh",
        "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
    ] {
        assert!(PublicKey::from_multikey(text).is_err(), "{text}");
    }
    assert!(matches!(
        PublicKey::from_multikey(&format!("z{}", "1".repeat(10_000))),
        Err(CryptoError::NotMultibase)
    ));
    let private = SigningKey::generate(Curve::K256).to_multikey();
    assert!(matches!(
        PublicKey::from_multikey(private.expose_secret()),
        Err(CryptoError::UnknownCurve)
    ));
    assert!(SigningKey::from_bytes(Curve::K256, &[0; 32]).is_err());
    assert!(SigningKey::from_bytes(Curve::P256, &[0xff; 32]).is_err());
}

#[test]
fn an_uncompressed_point_is_no_multikey() {
    let SigningKey::K256(key) = SigningKey::generate(Curve::K256) else {
        unreachable!()
    };
    let point = key.verifying_key().to_encoded_point(false);
    let mut bytes = vec![0xe7, 0x01];
    bytes.extend_from_slice(point.as_bytes());
    let text = multibase::encode(multibase::Base::Base58Btc, bytes);
    assert!(matches!(
        PublicKey::from_multikey(&text),
        Err(CryptoError::InvalidKey(Curve::K256))
    ));
}

#[test]
fn a_key_file_is_made_once_and_read_again() {
    let folder = tempfile::tempdir().unwrap();
    for curve in CURVES {
        let path = folder.path().join(format!("keys/{curve:?}.key"));
        let made = SigningKey::load_or_create(&path, curve).unwrap();
        let read = SigningKey::load_or_create(&path, curve).unwrap();
        assert_eq!(made.public_key(), read.public_key());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let names: Vec<_> = fs::read_dir(folder.path().join("keys"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 2, "nothing is left beside the keys: {names:?}");
}

#[test]
fn several_that_start_at_once_agree_on_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing.key");
    let mut keys: Vec<String> = std::thread::scope(|scope| {
        let load = || {
            SigningKey::load_or_create(&path, Curve::K256)
                .unwrap()
                .public_key()
                .to_did_key()
        };
        let workers: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    keys.dedup();
    assert_eq!(keys.len(), 1);
}

#[test]
fn hex_and_raw_key_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing.key");
    let write = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        SigningKey::load_or_create(&path, Curve::K256)
            .unwrap()
            .public_key()
            .to_did_key()
    };
    let expected = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
    let hex = "9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c";
    assert_eq!(write(format!("{hex}\n").as_bytes()), expected);
    assert_eq!(
        write(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()),
        expected
    );
}

#[test]
fn a_key_file_that_is_not_the_expected_key_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing.key");
    SigningKey::load_or_create(&path, Curve::P256).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(
        SigningKey::load_or_create(&path, Curve::K256),
        Err(CryptoError::KeyFileContent {
            curve: Curve::K256,
            ..
        })
    ));
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(
        SigningKey::load_or_create(&path, Curve::P256),
        Err(CryptoError::KeyFile { .. })
    ));
}

#[test]
fn a_private_key_does_not_print_itself() {
    let key = SigningKey::generate(Curve::K256);
    let secret = key.to_multikey();
    assert!(!format!("{key:?}").contains(secret.expose_secret()));
    assert!(SigningKey::from_multikey(secret.expose_secret()).is_ok());
}
