//! How a hold answers where the protocol leaves room, and where original holds differ from ours.

/// How a plain HEAD of a blob is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadAnswer {
    /// 200 with the blob's length.
    Length,
    /// 200 with the head of a JSON `{url}`: the length is that of the JSON.
    Json,
    /// A redirect to a URL that is signed for HEAD.
    Redirect,
    /// A redirect to a URL that is signed for GET, with which the store refuses a HEAD.
    RedirectSignedForGet,
    /// 405: the route takes GET only.
    GetOnly,
}

/// How a GET that names a method is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlAnswer {
    /// With a JSON `{url}`, signed for that method.
    Json,
    /// With a redirect to the URL, signed for GET whatever was named.
    Redirect,
    /// With the bytes themselves.
    Bytes,
}

/// The answers of one hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// To a plain HEAD.
    pub head: HeadAnswer,
    /// To a GET that names a method.
    pub url: UrlAnswer,
    /// A private hold answers 403 to a caller without a token, not 401.
    pub forbids_strangers: bool,
    /// URLs are signed without a look at whether the blob is there.
    pub signs_blindly: bool,
    /// Where the URLs of blobs lead, if not to the hold's own store.
    pub elsewhere: Option<&'static str>,
}

impl Spelling {
    /// What our own hold says.
    #[must_use]
    pub fn ours() -> Self {
        Self {
            head: HeadAnswer::Length,
            url: UrlAnswer::Json,
            forbids_strangers: false,
            signs_blindly: false,
            elsewhere: None,
        }
    }

    /// What an original hold is taken to say at its most different.
    #[must_use]
    pub fn original() -> Self {
        Self {
            head: HeadAnswer::Json,
            url: UrlAnswer::Json,
            forbids_strangers: true,
            signs_blindly: true,
            elsewhere: None,
        }
    }
}
