//! Method and URL → [`RegistryRequest`]: the serving side of the grammar in `path.rs`.
//!
//! The path is taken as it came, percent-encoded. It is split at its real slashes from the right, so that a repository
//! may be called `a/blobs/uploads`; keywords and the name are compared undecoded, since no legal name needs an escape
//! and `%2f` must not become a separator. Only the last segment is decoded: some clients write `sha256%3A…`.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::digest::Digest;
use crate::error::{InvalidReference, InvalidRepositoryName, RequestError};
use crate::pagination::Page;
use crate::path::{
    ARTIFACT_TYPE, BLOBS, CATALOG, DIGEST, DIGEST_ALGORITHM, FROM, LAST, LIST, MANIFESTS, MOUNT, N,
    REFERRERS, ROOT, TAG, TAGS, UPLOADS,
};
use crate::reference::Reference;
use crate::repository_name::RepositoryName;
use crate::request::{
    BlobRequest, MAX_EXTRA_TAGS, ManifestRequest, Mount, RegistryRequest, RepositoryRequest, UploadRequest,
};
use crate::tag::Tag;

/// Longest `last` in bytes: no name in a list is longer.
const MAX_LAST_LEN: usize = 255;
/// Longest `artifactType` in bytes: two names of 127 characters and a slash.
const MAX_ARTIFACT_TYPE_LEN: usize = 255;

impl RegistryRequest {
    /// Reads a request. `path` is the path as it came, percent-encoded; `query` is what followed the `?`. Unknown query parameters are passed over, known ones must occur once (`tag` excepted).
    ///
    /// HEAD is taken for GET where the specification does not tell them apart.
    ///
    /// # Errors
    /// [`RequestError`], which knows status and code. The name is checked before the method and both before the rest.
    pub fn parse(method: &str, path: &str, query: Option<&str>) -> Result<Self, RequestError> {
        let query = Query(query.unwrap_or_default());
        let (name, request) = match Endpoint::find(path)? {
            Endpoint::Ping => return list(method, || Ok(Self::Ping)),
            Endpoint::Catalog => return list(method, || Ok(Self::Catalog { page: query.page()? })),
            Endpoint::Manifest { name, reference } => (name, manifest(method, &reference, query)?.into()),
            Endpoint::Blob { name, digest } => (name, blob(method, &digest)?.into()),
            Endpoint::Uploads { name } => (name, upload_start(method, query)?.into()),
            Endpoint::Upload { name, session } => (name, upload(method, &session, query)?.into()),
            Endpoint::Tags { name } => {
                let tags = list(method, || Ok(RepositoryRequest::Tags { page: query.page()? }))?;
                (name, tags)
            }
            Endpoint::Referrers { name, digest } => {
                let referrers = list(method, || {
                    Ok(RepositoryRequest::Referrers {
                        digest: parse_digest(&digest)?,
                        artifact_type: query.artifact_type()?,
                    })
                })?;
                (name, referrers)
            }
        };
        Ok(Self::Repository { name, request })
    }
}

fn list<T>(method: &str, read: impl FnOnce() -> Result<T, RequestError>) -> Result<T, RequestError> {
    match method {
        "GET" | "HEAD" => read(),
        _ => Err(RequestError::MethodNotAllowed { allow: "GET, HEAD" }),
    }
}

fn manifest(method: &str, reference: &str, query: Query<'_>) -> Result<ManifestRequest, RequestError> {
    let reference = || {
        reference.parse::<Reference>().map_err(|error| match error {
            InvalidReference::Digest(error) => RequestError::Digest(error),
            InvalidReference::Tag(error) if method == "PUT" => RequestError::Tag(error),
            InvalidReference::Tag(error) => RequestError::TagUnknown(error),
        })
    };
    match method {
        "GET" => Ok(ManifestRequest::Get {
            reference: reference()?,
        }),
        "HEAD" => Ok(ManifestRequest::Head {
            reference: reference()?,
        }),
        "PUT" => Ok(ManifestRequest::Put {
            reference: reference()?,
            tags: query.tags()?,
        }),
        "DELETE" => Ok(ManifestRequest::Delete {
            reference: reference()?,
        }),
        _ => Err(RequestError::MethodNotAllowed {
            allow: "GET, HEAD, PUT, DELETE",
        }),
    }
}

fn blob(method: &str, digest: &str) -> Result<BlobRequest, RequestError> {
    match method {
        "GET" => Ok(BlobRequest::Get {
            digest: parse_digest(digest)?,
        }),
        "HEAD" => Ok(BlobRequest::Head {
            digest: parse_digest(digest)?,
        }),
        "DELETE" => Ok(BlobRequest::Delete {
            digest: parse_digest(digest)?,
        }),
        _ => Err(RequestError::MethodNotAllowed {
            allow: "GET, HEAD, DELETE",
        }),
    }
}

fn upload_start(method: &str, query: Query<'_>) -> Result<UploadRequest, RequestError> {
    if method != "POST" {
        return Err(RequestError::MethodNotAllowed { allow: "POST" });
    }
    let digest_algorithm = query
        .one(DIGEST_ALGORITHM)?
        .map(|text| text.parse().map_err(|_| RequestError::AlgorithmUnsupported))
        .transpose()?;
    Ok(UploadRequest::Start {
        mount: query.mount()?,
        digest: query.digest(DIGEST)?,
        digest_algorithm,
    })
}

fn upload(method: &str, session: &str, query: Query<'_>) -> Result<UploadRequest, RequestError> {
    let session = || session.parse().map_err(|_| RequestError::UploadUnknown);
    match method {
        "GET" | "HEAD" => Ok(UploadRequest::Status { session: session()? }),
        "PATCH" => Ok(UploadRequest::Patch { session: session()? }),
        "PUT" => {
            let session = session()?;
            let digest = query.digest(DIGEST)?.ok_or(RequestError::DigestMissing)?;
            Ok(UploadRequest::Complete { session, digest })
        }
        "DELETE" => Ok(UploadRequest::Cancel { session: session()? }),
        _ => Err(RequestError::MethodNotAllowed {
            allow: "GET, HEAD, PATCH, PUT, DELETE",
        }),
    }
}

/// Which endpoint a path leads to; its last segment decoded, but not yet read.
enum Endpoint<'a> {
    Ping,
    Catalog,
    Manifest {
        name: RepositoryName,
        reference: Cow<'a, str>,
    },
    Blob {
        name: RepositoryName,
        digest: Cow<'a, str>,
    },
    Uploads {
        name: RepositoryName,
    },
    Upload {
        name: RepositoryName,
        session: Cow<'a, str>,
    },
    Tags {
        name: RepositoryName,
    },
    Referrers {
        name: RepositoryName,
        digest: Cow<'a, str>,
    },
}

impl<'a> Endpoint<'a> {
    fn find(path: &'a str) -> Result<Self, RequestError> {
        if path == ROOT.trim_end_matches('/') {
            return Ok(Self::Ping);
        }
        let rest = path.strip_prefix(ROOT).ok_or(RequestError::UnknownEndpoint)?;
        match rest {
            "" => return Ok(Self::Ping),
            CATALOG => return Ok(Self::Catalog),
            _ => {}
        }
        let (front, last) = rest.rsplit_once('/').ok_or(RequestError::UnknownEndpoint)?;
        let (name, keyword) = front.rsplit_once('/').ok_or(RequestError::UnknownEndpoint)?;
        match (keyword, last) {
            (MANIFESTS, _) => Ok(Self::Manifest {
                name: parse_name(name)?,
                reference: decode(last),
            }),
            (BLOBS, UPLOADS) => Ok(Self::Uploads {
                name: parse_name(name)?,
            }),
            (BLOBS, _) => Ok(Self::Blob {
                name: parse_name(name)?,
                digest: decode(last),
            }),
            (TAGS, LIST) => Ok(Self::Tags {
                name: parse_name(name)?,
            }),
            (REFERRERS, _) => Ok(Self::Referrers {
                name: parse_name(name)?,
                digest: decode(last),
            }),
            (UPLOADS, _) => match name.rsplit_once('/') {
                Some((name, BLOBS)) if last.is_empty() => Ok(Self::Uploads {
                    name: parse_name(name)?,
                }),
                Some((name, BLOBS)) => Ok(Self::Upload {
                    name: parse_name(name)?,
                    session: decode(last),
                }),
                _ => Err(RequestError::UnknownEndpoint),
            },
            _ => Err(RequestError::UnknownEndpoint),
        }
    }
}

fn parse_name(text: &str) -> Result<RepositoryName, RequestError> {
    text.parse().map_err(RequestError::Name)
}

fn parse_digest(text: &str) -> Result<Digest, RequestError> {
    text.parse().map_err(RequestError::Digest)
}

/// Decodes one segment or query value. What is not UTF-8 is replaced by a character that no grammar allows.
fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// A query string. `+` stands for itself: no value here contains a space, and clients leave `+json` unescaped.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn all(self, parameter: &'static str) -> impl Iterator<Item = Cow<'a, str>> {
        self.0
            .split('&')
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .filter(move |(name, _)| decode(name) == parameter)
            .map(|(_, value)| decode(value))
    }

    fn one(self, parameter: &'static str) -> Result<Option<Cow<'a, str>>, RequestError> {
        let mut values = self.all(parameter);
        let first = values.next();
        if values.next().is_some() {
            return Err(RequestError::Parameter { parameter });
        }
        Ok(first)
    }

    fn digest(self, parameter: &'static str) -> Result<Option<Digest>, RequestError> {
        self.one(parameter)?.map(|text| parse_digest(&text)).transpose()
    }

    fn mount(self) -> Result<Option<Mount>, RequestError> {
        let Some(digest) = self.digest(MOUNT)? else {
            return Ok(None);
        };
        match self
            .one(FROM)?
            .filter(|from| !from.is_empty())
            .map(|from| from.parse())
        {
            None => Ok(Some(Mount { digest, from: None })),
            Some(Ok(from)) => Ok(Some(Mount {
                digest,
                from: Some(from),
            })),
            // A name that other registries have: nothing to mount from here, so the client uploads.
            Some(Err(InvalidRepositoryName::NoIdentity)) => Ok(None),
            Some(Err(error)) => Err(RequestError::Name(error)),
        }
    }

    fn tags(self) -> Result<Vec<Tag>, RequestError> {
        let mut tags = Vec::new();
        for text in self.all(TAG) {
            let tag: Tag = text.parse().map_err(RequestError::Tag)?;
            if tags.contains(&tag) {
                continue;
            }
            if tags.len() == MAX_EXTRA_TAGS {
                return Err(RequestError::TooManyTags);
            }
            tags.push(tag);
        }
        Ok(tags)
    }

    fn page(self) -> Result<Page, RequestError> {
        let n = self.one(N)?.map(|text| parse_count(&text)).transpose()?;
        let last = self.one(LAST)?.filter(|last| !last.is_empty());
        if last
            .as_ref()
            .is_some_and(|last| last.len() > MAX_LAST_LEN || last.chars().any(char::is_control))
        {
            return Err(RequestError::Parameter { parameter: LAST });
        }
        Ok(Page {
            n,
            last: last.map(Cow::into_owned),
        })
    }

    fn artifact_type(self) -> Result<Option<String>, RequestError> {
        let text = self.one(ARTIFACT_TYPE)?;
        if text
            .as_ref()
            .is_some_and(|text| text.len() > MAX_ARTIFACT_TYPE_LEN || text.chars().any(char::is_control))
        {
            return Err(RequestError::Parameter {
                parameter: ARTIFACT_TYPE,
            });
        }
        Ok(text.map(Cow::into_owned))
    }
}

/// Digits only; more than fits means "all of them".
fn parse_count(text: &str) -> Result<usize, RequestError> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(RequestError::Parameter { parameter: N });
    }
    Ok(text.parse().unwrap_or(usize::MAX))
}
