//! A small client of the distribution API, for what real clients do not do on request: cut a push in two, repeat a
//! call, look at a header.

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::network::Account;

/// The media type of an OCI image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// `sha256:<hex>` of `bytes`.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    format!(
        "sha256:{}",
        data_encoding::HEXLOWER.encode(&Sha256::digest(bytes))
    )
}

/// The bytes of an image manifest with one config and `layers`, each given as (digest, size).
#[must_use]
pub fn image_manifest(config: (&str, usize), layers: &[(String, usize)]) -> Vec<u8> {
    let layers: Vec<_> = layers
        .iter()
        .map(|(digest, size)| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size,
            })
        })
        .collect();
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.0, "size": config.1 },
        "layers": layers,
    })
    .to_string()
    .into_bytes()
}

/// A caller of one registry, with or without an account.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    http: reqwest::Client,
    base: String,
    credentials: Option<(String, String)>,
    token: Option<String>,
}

impl RegistryClient {
    /// An anonymous caller of the registry at `base`.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn anonymous(base: &str) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().build()?;
        Ok(Self {
            http,
            base: base.trim_end_matches('/').to_owned(),
            credentials: None,
            token: None,
        })
    }

    /// A caller who signs in with `account`'s app password.
    ///
    /// # Errors
    /// If no HTTP client can be made.
    pub fn new(base: &str, account: &Account) -> Result<Self> {
        let mut client = Self::anonymous(base)?;
        client.credentials = Some((account.handle.clone(), account.app_password.clone()));
        Ok(client)
    }

    /// Gets a registry token for `actions` on `name` and uses it from now on.
    ///
    /// # Errors
    /// What the token endpoint answered, if it refused.
    pub async fn authorize(&mut self, name: &str, actions: &str) -> Result<()> {
        let mut request = self.http.get(format!("{}/auth/token", self.base)).query(&[
            ("service", "registry"),
            ("scope", &format!("repository:{name}:{actions}")),
        ]);
        if let Some((user, password)) = &self.credentials {
            request = request.basic_auth(user, Some(password));
        }
        let answer = success(request.send().await?, StatusCode::OK).await?;
        let body: serde_json::Value = answer.json().await?;
        self.token = Some(
            body["token"]
                .as_str()
                .context("the answer has no token")?
                .to_owned(),
        );
        Ok(())
    }

    /// A request to `path` of the registry, with the token if there is one.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        };
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// Opens an upload session; returns its location.
    ///
    /// # Errors
    /// What the registry answered, if not 202.
    pub async fn start_upload(&self, name: &str) -> Result<String> {
        let request = self.request(Method::POST, &format!("/v2/{name}/blobs/uploads/"));
        location(
            &success(
                request.header(CONTENT_LENGTH, 0).send().await?,
                StatusCode::ACCEPTED,
            )
            .await?,
        )
    }

    /// Sends `body` to the session; returns its next location.
    ///
    /// # Errors
    /// What the registry answered, if not 202.
    pub async fn patch_upload(&self, at: &str, body: impl Into<Body>) -> Result<String> {
        let request = self
            .request(Method::PATCH, at)
            .header(CONTENT_TYPE, "application/octet-stream");
        location(&success(request.body(body).send().await?, StatusCode::ACCEPTED).await?)
    }

    /// Finishes the session under `digest`.
    ///
    /// # Errors
    /// What the registry answered, if not 201.
    pub async fn finish_upload(&self, at: &str, digest: &str) -> Result<()> {
        let separator = if at.contains('?') { '&' } else { '?' };
        let request = self.request(Method::PUT, &format!("{at}{separator}digest={digest}"));
        success(
            request.header(CONTENT_LENGTH, 0).send().await?,
            StatusCode::CREATED,
        )
        .await?;
        Ok(())
    }

    /// Uploads `bytes` as docker does: POST, one PATCH, PUT. Returns the digest.
    ///
    /// # Errors
    /// The first answer that was not as expected.
    pub async fn push_blob(&self, name: &str, bytes: Vec<u8>) -> Result<String> {
        let digest = digest(&bytes);
        let at = self.start_upload(name).await?;
        let at = self.patch_upload(&at, bytes).await?;
        self.finish_upload(&at, &digest).await?;
        Ok(digest)
    }

    /// Stores `manifest` under `reference`; returns its digest.
    ///
    /// # Errors
    /// What the registry answered, if not 201.
    pub async fn push_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        manifest: Vec<u8>,
    ) -> Result<String> {
        let digest = digest(&manifest);
        let request = self.request(Method::PUT, &format!("/v2/{name}/manifests/{reference}"));
        let answer = request
            .header(CONTENT_TYPE, media_type)
            .body(manifest)
            .send()
            .await?;
        let answer = success(answer, StatusCode::CREATED).await?;
        let given = answer
            .headers()
            .get("docker-content-digest")
            .and_then(|v| v.to_str().ok());
        ensure!(
            given == Some(digest.as_str()),
            "the registry computed {given:?}, not {digest}"
        );
        Ok(digest)
    }

    /// The manifest under `reference`, its bytes checked against the digest the registry names; `None` for 404.
    ///
    /// # Errors
    /// What the registry answered, if neither 200 nor 404; or if the bytes do not match.
    pub async fn manifest(&self, name: &str, reference: &str) -> Result<Option<Vec<u8>>> {
        let answer = self
            .request(Method::GET, &format!("/v2/{name}/manifests/{reference}"))
            .send()
            .await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = success(answer, StatusCode::OK).await?;
        let named = answer
            .headers()
            .get("docker-content-digest")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let bytes = answer.bytes().await?.to_vec();
        ensure!(
            named.as_deref() == Some(digest(&bytes).as_str()),
            "the manifest's bytes do not match its digest"
        );
        Ok(Some(bytes))
    }

    /// The blob `digest`, through the redirect, its bytes hashed; `None` for 404.
    ///
    /// # Errors
    /// What the registry or the store answered, if neither 200 nor 404; or if the bytes do not match.
    pub async fn blob(&self, name: &str, digest: &str) -> Result<Option<Vec<u8>>> {
        let answer = self
            .request(Method::GET, &format!("/v2/{name}/blobs/{digest}"))
            .send()
            .await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let bytes = success(answer, StatusCode::OK).await?.bytes().await?.to_vec();
        ensure!(
            self::digest(&bytes) == digest,
            "the blob's bytes do not match its digest"
        );
        Ok(Some(bytes))
    }
}

/// `answer`, if it has the expected status; else an error with what it said.
///
/// # Errors
/// Status and body of any other answer.
pub async fn success(answer: Response, expected: StatusCode) -> Result<Response> {
    if answer.status() == expected {
        return Ok(answer);
    }
    // A redirect's target may carry a signature.
    let (status, path) = (answer.status(), answer.url().path().to_owned());
    bail!(
        "{path}: {status} where {expected} was due: {}",
        answer.text().await.unwrap_or_default()
    )
}

fn location(answer: &Response) -> Result<String> {
    let location = answer
        .headers()
        .get(LOCATION)
        .context("the answer has no Location")?;
    Ok(location.to_str()?.to_owned())
}
