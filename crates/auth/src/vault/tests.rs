use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

fn vault() -> Vault {
    Vault::new(&[7; KEY_LEN]).unwrap()
}

fn does_not_open(answer: &Result<Vec<u8>, VaultError>) -> bool {
    matches!(answer, Err(VaultError::DoesNotOpen))
}

#[test]
fn what_is_sealed_opens_under_the_same_context_and_key_only() {
    let sealed = vault().seal(b"sessions/1", b"refresh token").unwrap();
    assert_eq!(vault().open(b"sessions/1", &sealed).unwrap(), b"refresh token");
    assert!(does_not_open(&vault().open(b"sessions/2", &sealed)));
    assert!(does_not_open(&vault().open(b"", &sealed)));
    assert!(does_not_open(
        &Vault::new(&[8; KEY_LEN]).unwrap().open(b"sessions/1", &sealed)
    ));
}

#[test]
fn the_same_secret_is_never_sealed_the_same_way_twice() {
    let vault = vault();
    assert_ne!(
        vault.seal(b"", b"secret").unwrap(),
        vault.seal(b"", b"secret").unwrap()
    );
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for length in [0, 16, 31, 33] {
        assert!(matches!(
            Vault::new(&vec![0; length]),
            Err(VaultError::InvalidKey)
        ));
    }
}

#[test]
fn the_key_file_is_made_once_private_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    let sealed = Vault::load_or_create(&path)
        .unwrap()
        .seal(b"", b"secret")
        .unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        Vault::load_or_create(&path).unwrap().open(b"", &sealed).unwrap(),
        b"secret"
    );
    std::fs::write(&path, "c2hvcnQ=\n").unwrap();
    assert!(matches!(
        Vault::load_or_create(&path),
        Err(VaultError::KeyFile(SecretFileError::Content { .. }))
    ));
}

#[test]
fn processes_that_start_at_once_agree_on_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault.key");
    let vaults: Vec<Vault> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| Vault::load_or_create(&path).unwrap()))
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let sealed = vaults[0].seal(b"", b"secret").unwrap();
    assert!(vaults.iter().all(|vault| vault.open(b"", &sealed).is_ok()));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

proptest! {
    #[test]
    fn round_trip(context: Vec<u8>, secret: Vec<u8>) {
        let sealed = vault().seal(&context, &secret).unwrap();
        prop_assert_eq!(sealed.len(), secret.len() + 29);
        prop_assert_eq!(vault().open(&context, &sealed).unwrap(), secret);
    }

    #[test]
    fn damage_is_noticed(secret: Vec<u8>, at: prop::sample::Index, flip in 1u8..) {
        let mut sealed = vault().seal(b"context", &secret).unwrap();
        let at = at.index(sealed.len());
        sealed[at] ^= flip;
        prop_assert!(does_not_open(&vault().open(b"context", &sealed)));
        sealed[at] ^= flip;
        sealed.truncate(at);
        prop_assert!(does_not_open(&vault().open(b"context", &sealed)));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        prop_assert!(does_not_open(&vault().open(b"", &bytes)));
    }
}
