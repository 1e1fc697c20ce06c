//! What a crew record can allow, in its wire spelling.

use std::fmt;

/// One permission of a crew record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// `blob:read`: download from a private hold.
    BlobRead,
    /// `blob:write`: upload; implies reading.
    BlobWrite,
    /// `crew:admin`: manage the crew and the hold's records; implies the other two.
    CrewAdmin,
}

impl Permission {
    /// Every permission there is.
    pub const ALL: [Self; 3] = [Self::BlobRead, Self::BlobWrite, Self::CrewAdmin];

    /// The permission written as `text`; `None` for words this version does not know, which allow nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|permission| permission.as_str() == text)
    }

    /// The wire spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BlobRead => "blob:read",
            Self::BlobWrite => "blob:write",
            Self::CrewAdmin => "crew:admin",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::BlobRead => 1,
            Self::BlobWrite => 1 << 1,
            Self::CrewAdmin => 1 << 2,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions, exactly as granted; [`Permissions::imply`] says what follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// No permission.
    pub const NONE: Self = Self(0);

    /// The set a crew record's words make; unknown words are passed over.
    #[must_use]
    pub fn from_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        words.into_iter().filter_map(Permission::parse).collect()
    }

    /// Whether `permission` is in the set.
    #[must_use]
    pub const fn contains(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// Whether `permission` is in the set or follows from one that is: any of them allows reading, and `crew:admin` allows writing.
    #[must_use]
    pub const fn imply(self, permission: Permission) -> bool {
        match permission {
            Permission::BlobRead => !self.is_empty(),
            Permission::BlobWrite => {
                self.contains(Permission::BlobWrite) || self.contains(Permission::CrewAdmin)
            }
            Permission::CrewAdmin => self.contains(Permission::CrewAdmin),
        }
    }

    /// What is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether nothing is allowed.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The wire spellings, in the order of [`Permission::ALL`].
    #[must_use]
    pub fn to_words(self) -> Vec<String> {
        Permission::ALL
            .into_iter()
            .filter(|permission| self.contains(*permission))
            .map(|permission| permission.as_str().to_owned())
            .collect()
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(
            permissions
                .into_iter()
                .fold(0, |bits, permission| bits | permission.bit()),
        )
    }
}
