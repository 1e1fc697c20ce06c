//! Bodies of the list answers. The referrers answer is an [`ImageIndex`](crate::ImageIndex).

use serde::{Deserialize, Serialize};

use crate::json::null_as_default;

/// Answer to a tags request.
///
/// # Spec
/// distribution-spec v1.1, Listing Tags, end-8a.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagList {
    /// The repository's name.
    pub name: String,
    /// Tags in lexical order; text, because one bad name in a foreign list must not cost the page.
    #[serde(default, deserialize_with = "null_as_default")]
    pub tags: Vec<String>,
}

/// Answer to a catalog request.
///
/// # Spec
/// Docker Registry HTTP API V2, Catalog; not part of the OCI specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogBody {
    /// Names of repositories in lexical order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub repositories: Vec<String>,
}
