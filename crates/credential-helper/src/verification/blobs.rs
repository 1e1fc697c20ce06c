//! Blobs and child manifests as the registry gives them, read to their end and hashed. Nothing is kept.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use atcr_atproto::egress::{EgressClient, EgressError, Limits, PaceWatch};
use atcr_oci::{
    BearerChallenge, Descriptor, Digest, DigestHasher, MAX_MANIFEST_BYTES, Manifest, Reference,
    RepositoryName, blob_path, manifest_path,
};
use bytes::Bytes;
use http::{Method, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::time::timeout_at;
use url::Url;

use super::{Refused, Unchecked, Unproven, coverage};
use crate::printer::plain;

/// How long a registry or store may take to begin an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Redirects from a registry to a hold's store.
const MAX_REDIRECTS: usize = 3;

/// Most manifests and blobs that are read of one image.
pub const MAX_NAMED: usize = 100_000;

/// Longest answer of a token endpoint.
const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashed {
    /// Blobs and manifests.
    pub count: usize,
    /// Their length in bytes.
    pub size_bytes: u64,
}

/// An account at the registry, for images that not everyone may pull.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Its name.
    pub username: String,
    /// Its secret. It goes to the registry itself and to no other host.
    pub secret: SecretString,
}

/// A repository at a registry.
pub struct RegistryBlobs<'a> {
    egress: &'a EgressClient,
    registry: Url,
    name: RepositoryName,
    credentials: Option<Credentials>,
    token: Option<SecretString>,
}

#[derive(Deserialize)]
struct TokenJson {
    token: Option<String>,
    access_token: Option<String>,
}

impl<'a> RegistryBlobs<'a> {
    /// The repository `name` at `registry`.
    #[must_use]
    pub fn new(
        egress: &'a EgressClient,
        registry: Url,
        name: RepositoryName,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            egress,
            registry,
            name,
            credentials,
            token: None,
        }
    }

    /// Reads and hashes everything that `manifest` names: of an index the manifests, and what these name, indexes again among it.
    ///
    /// # Errors
    /// [`Refused::BlobDiffers`] for other bytes than the digest's; [`Unchecked`] for what cannot be had, for a manifest that cannot be
    /// read, and for more than [`MAX_NAMED`].
    pub async fn hash_all(&mut self, manifest: &Manifest) -> Result<Hashed, Unproven> {
        let mut blobs = coverage::blobs(manifest);
        let mut known: HashSet<Digest> = blobs.iter().map(|blob| blob.digest.clone()).collect();
        let mut hashed = Hashed::default();
        let mut waiting = VecDeque::from(coverage::children(manifest));
        let mut seen: HashSet<Digest> = waiting.iter().map(|child| child.digest.clone()).collect();
        while let Some(child) = waiting.pop_front() {
            let bytes = self.child(&child).await?;
            hashed.count += 1;
            hashed.size_bytes += bytes.len() as u64;
            let media_type = &child.media_type;
            match Manifest::parse(bytes, Some(media_type.as_str())) {
                Ok(manifest) => {
                    let named = coverage::blobs(&manifest).into_iter();
                    blobs.extend(named.filter(|blob| known.insert(blob.digest.clone())));
                    let named = coverage::children(&manifest).into_iter();
                    waiting.extend(named.filter(|child| seen.insert(child.digest.clone())));
                }
                Err(_) if media_type.is_index() || media_type.is_image_manifest() => {
                    let reason = "it is no manifest, so what it names is not known";
                    return Err(self.unusable(&child.digest, reason).into());
                }
                // What is no manifest, as a cache's blobs in an index are none, names nothing.
                Err(_) => {}
            }
            if seen.len() + known.len() > MAX_NAMED {
                let reason = "with it, more is named than is read";
                return Err(self.unusable(&child.digest, reason).into());
            }
        }
        for blob in &blobs {
            let path = blob_path(&self.name, &blob.digest);
            self.hash(&path, blob, &mut |_| ()).await?;
            hashed.count += 1;
            hashed.size_bytes = hashed.size_bytes.saturating_add(blob.size);
        }
        Ok(hashed)
    }

    async fn child(&mut self, child: &Descriptor) -> Result<Bytes, Unproven> {
        if child.size > MAX_MANIFEST_BYTES as u64 {
            return Err(self
                .unusable(&child.digest, "it is too long for a manifest")
                .into());
        }
        let mut bytes = Vec::new();
        let path = manifest_path(&self.name, &Reference::Digest(child.digest.clone()));
        self.hash(&path, child, &mut |piece| bytes.extend_from_slice(piece))
            .await?;
        Ok(bytes.into())
    }

    /// Reads what is at `path`, which must be what `wanted` says.
    async fn hash(
        &mut self,
        path: &str,
        wanted: &Descriptor,
        keep: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), Unproven> {
        let differs = || Refused::BlobDiffers {
            digest: wanted.digest.clone(),
        };
        let mut answer = self.open(path, wanted).await?;
        let mut hasher = DigestHasher::new(wanted.digest.algorithm());
        let watch = PaceWatch::start(self.egress.pace());
        loop {
            let late = |_| self.unusable(&wanted.digest, "it comes too slowly");
            let deadline = watch.deadline(hasher.len());
            let piece = timeout_at(deadline, answer.chunk()).await.map_err(late)?;
            let Some(piece) = piece.map_err(EgressError::from_transport)? else {
                break;
            };
            hasher.update(&piece);
            if hasher.len() > wanted.size {
                return Err(differs().into());
            }
            keep(&piece);
        }
        if hasher.len() == wanted.size && hasher.finish() == wanted.digest {
            Ok(())
        } else {
            Err(differs().into())
        }
    }

    /// The answer with the bytes, after a token and a redirect if the registry asks for them.
    async fn open(&mut self, path: &str, wanted: &Descriptor) -> Result<reqwest::Response, Unproven> {
        let url = self
            .registry
            .join(path)
            .map_err(|_| self.unusable(&wanted.digest, "its URL is none"))?;
        let mut answer = self.ask(&url, wanted).await?;
        // The first answer asks for a token; a later one, that came after many layers, for a new one.
        if answer.status() == StatusCode::UNAUTHORIZED {
            let challenge = answer
                .headers()
                .get(header::WWW_AUTHENTICATE)
                .and_then(|value| value.to_str().ok()?.parse::<BearerChallenge>().ok())
                .ok_or_else(|| self.unusable(&wanted.digest, "it asks for no token that is understood"))?;
            self.token = Some(self.fetch_token(&challenge).await?);
            answer = self.ask(&url, wanted).await?;
        }
        for _ in 0..MAX_REDIRECTS {
            if !answer.status().is_redirection() {
                break;
            }
            let location = answer.headers().get(header::LOCATION);
            let next = location
                .and_then(|value| answer.url().join(value.to_str().ok()?).ok())
                .ok_or_else(|| self.unusable(&wanted.digest, "it redirects nowhere"))?;
            self.egress.check_redirect(answer.url(), &next)?;
            // Without the token, which is the registry's.
            let request = self.egress.request(Method::GET, &next)?;
            answer = self.egress.open(request, PATIENCE).await?;
        }
        match answer.status() {
            StatusCode::OK => Ok(answer),
            status => Err(self
                .unusable(&wanted.digest, &format!("status {}", status.as_u16()))
                .into()),
        }
    }

    async fn ask(&self, url: &Url, wanted: &Descriptor) -> Result<reqwest::Response, Unproven> {
        let mut request = self
            .egress
            .request(Method::GET, url)?
            .header(header::ACCEPT, wanted.media_type.as_str())
            .header(header::ACCEPT, "*/*");
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        Ok(self.egress.open(request, PATIENCE).await?)
    }

    async fn fetch_token(&self, challenge: &BearerChallenge) -> Result<SecretString, Unproven> {
        let failed = |reason: String| Unchecked::Registry {
            what: "a token".to_owned(),
            reason,
        };
        let mut realm = Url::parse(&challenge.realm).map_err(|_| failed("its realm is no URL".to_owned()))?;
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = &challenge.service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &format!("repository:{}:pull", self.name));
        }
        let mut request = self.egress.request(Method::GET, &realm)?;
        if let Some(credentials) = self
            .credentials
            .as_ref()
            .filter(|_| realm.origin() == self.registry.origin())
        {
            request = request.basic_auth(&credentials.username, Some(credentials.secret.expose_secret()));
        }
        let limits = Limits {
            max_bytes: MAX_TOKEN_BYTES,
            timeout: PATIENCE,
        };
        let answer = self.egress.send_capped(request, limits).await?;
        if answer.status != StatusCode::OK {
            return Err(failed(format!("status {}", answer.status.as_u16())).into());
        }
        let token: TokenJson = answer.json().map_err(|error| failed(error.to_string()))?;
        let token = token.token.or(token.access_token);
        token
            .map(SecretString::from)
            .ok_or_else(|| failed("the answer has none".to_owned()).into())
    }

    fn unusable(&self, digest: &Digest, reason: &str) -> Unchecked {
        Unchecked::Registry {
            what: format!("{digest} of {}", self.name),
            reason: plain(reason),
        }
    }
}
