//! The store's URLs: a path, an expiry and a signature over both and the method.
//!
//! ```text
//! <public url>/store/parts/<uuid>/<part>?exp=<Unix seconds>&sig=<base64url of HMAC-SHA-256>
//! <public url>/store/blobs/<object key>?exp=…&sig=…
//! ```

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretSlice};
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use super::durable;
use crate::blobs::{DownloadMethod, ObjectKey};

pub(crate) const PARTS: &str = "/store/parts/";
pub(crate) const BLOBS: &str = "/store/blobs/";

/// As long as the digest: more adds nothing.
const KEY_LEN: usize = 32;
const GROUP_OR_WORLD: u32 = 0o077;

/// Signs URLs and checks their signatures.
#[derive(Debug)]
pub(super) struct UrlSigner {
    key: hmac::Key,
    public_url: Url,
}

/// The query of a signed URL: a credential, which is never printed.
#[derive(Deserialize)]
pub struct UrlSignature {
    exp: i64,
    sig: String,
}

impl fmt::Debug for UrlSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlSignature")
            .field("exp", &self.exp)
            .finish_non_exhaustive()
    }
}

impl UrlSigner {
    /// Reads the key from the file at `path`, made when missing and readable by its owner only.
    pub(super) fn load_or_create(path: &Path, public_url: Url) -> io::Result<Self> {
        let key = match load(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => create(path),
            outcome => outcome,
        }
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.expose_secret()),
            public_url,
        })
    }

    pub(super) fn part_url(&self, upload: Uuid, part_number: u32, expires_at: DateTime<Utc>) -> Url {
        self.sign("PUT", &format!("{PARTS}{upload}/{part_number}"), expires_at)
    }

    pub(super) fn download_url(
        &self,
        key: &ObjectKey,
        method: DownloadMethod,
        expires_at: DateTime<Utc>,
    ) -> Url {
        self.sign(method.as_str(), &format!("{BLOBS}{key}"), expires_at)
    }

    fn sign(&self, method: &str, path: &str, expires_at: DateTime<Utc>) -> Url {
        let expires = expires_at.timestamp();
        let tag = hmac::sign(&self.key, signed_text(method, path, expires).as_bytes());
        let mut url = self.public_url.clone();
        // A `%` in a key is a character of the key, not an escape.
        url.set_path(&path.replace('%', "%25"));
        url.query_pairs_mut()
            .clear()
            .append_pair("exp", &expires.to_string())
            .append_pair("sig", &URL_SAFE_NO_PAD.encode(tag));
        url
    }

    /// Whether `signature` allows `method` on `path` (as signed: without escapes) at `now`. Takes the same time whatever is
    /// wrong with the signature.
    pub(super) fn allows(
        &self,
        method: &str,
        path: &str,
        signature: &UrlSignature,
        now: DateTime<Utc>,
    ) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(&signature.sig) else {
            return false;
        };
        let text = signed_text(method, path, signature.exp);
        hmac::verify(&self.key, text.as_bytes(), &tag).is_ok() && now.timestamp() < signature.exp
    }
}

fn signed_text(method: &str, path: &str, expires: i64) -> String {
    format!("{method}\n{path}\n{expires}")
}

fn load(path: &Path) -> io::Result<SecretSlice<u8>> {
    let mode = fs::metadata(path)?.mode();
    if mode & GROUP_OR_WORLD != 0 {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "other users may read it; run chmod 600 on it",
        ));
    }
    let key = fs::read(path)?;
    if key.len() != KEY_LEN {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "it is damaged; remove it, and URLs handed out before become invalid",
        ));
    }
    Ok(key.into())
}

fn create(path: &Path) -> io::Result<SecretSlice<u8>> {
    let key = rand::random::<[u8; KEY_LEN]>().to_vec();
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    if let Some(folder) = path.parent() {
        durable::sync_dirs(folder, folder)?;
    }
    Ok(key.into())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn signer(folder: &Path) -> UrlSigner {
        let url = "http://localhost:8080".parse().unwrap();
        UrlSigner::load_or_create(&folder.join("key"), url).unwrap()
    }

    fn signature(url: &Url) -> UrlSignature {
        let value = |name: &str| {
            url.query_pairs()
                .find(|(key, _)| key == name)
                .unwrap()
                .1
                .into_owned()
        };
        UrlSignature {
            exp: value("exp").parse().unwrap(),
            sig: value("sig"),
        }
    }

    #[test]
    fn a_signature_is_good_for_one_method_one_path_and_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let signer = signer(folder.path());
        let now = DateTime::UNIX_EPOCH;
        let url = signer.part_url(Uuid::nil(), 3, now + TimeDelta::minutes(15));
        let path = format!("{PARTS}{}/3", Uuid::nil());
        assert_eq!(url.path(), path);
        let mut signature = signature(&url);
        assert!(signer.allows("PUT", &path, &signature, now));
        assert!(signer.allows("PUT", &path, &signature, now + TimeDelta::seconds(899)));
        assert!(!signer.allows("PUT", &path, &signature, now + TimeDelta::seconds(900)));
        assert!(!signer.allows("GET", &path, &signature, now));
        assert!(!signer.allows("PUT", &format!("{PARTS}{}/4", Uuid::nil()), &signature, now));
        signature.exp += 1;
        assert!(!signer.allows("PUT", &path, &signature, now));
    }

    #[test]
    fn the_key_outlives_the_process_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let expires = DateTime::UNIX_EPOCH;
        let key: ObjectKey = "repos/did-web-localhost%3A8080/blobs/x/data".parse().unwrap();
        let url = signer(folder.path()).download_url(&key, DownloadMethod::Get, expires);
        assert!(url.as_str().contains("localhost%253A8080"), "{url}");
        let again = signer(folder.path()).download_url(&key, DownloadMethod::Get, expires);
        assert_eq!(url, again);
        let mode = fs::metadata(folder.path().join("key")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        signer(folder.path());
        let path = folder.path().join("key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = UrlSigner::load_or_create(&path, "http://localhost".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
}
