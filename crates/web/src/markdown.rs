//! An owner's text (a README) as HTML: CommonMark with GitHub's extensions, and of the result only what does no harm.
//!
//! # Security
//! The text is untrusted. Markup is made from a list of allowed elements and attributes: no script, style, form, frame, `hx-*` or event
//! attribute is on it. Identifiers get a prefix, so that they cannot stand for an element of the page. Pictures of other hosts become
//! links, since a page loads nothing from elsewhere.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{LazyLock, Mutex, PoisonError};

use ammonia::{Builder, UrlRelative, UrlRelativeEvaluate};
use askama::filters::HtmlSafe;
use comrak::adapters::{HeadingAdapter, HeadingMeta};
use comrak::arena_tree::NodeEdge;
use comrak::nodes::{Node, NodeLink, NodeValue, Sourcepos};
use comrak::options::Plugins;
use comrak::{Anchorizer, Arena, Options, html, parse_document};
use url::Url;

/// Longest text that is rendered, in bytes; a longer one is cut before a heading.
pub const MAX_LEN: usize = 100 * 1024;

/// Elements in elements, at most. Every browser and every reader gets lost far earlier, and the sanitiser's work grows with the depth.
const MAX_DEPTH: usize = 100;

/// `<` in a text, at most: a README has some hundred tags at most. A text with more shows them as they are written.
const MAX_TAGS: usize = 2_000;

/// What identifiers begin with.
const ID_PREFIX: &str = "readme-";

/// The level of the first heading: the page and the section have theirs above.
const FIRST_LEVEL: u8 = 3;

/// HTML that is safe to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl fmt::Display for Markup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Markup {}

/// A rendered text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The HTML.
    pub html: Markup,
    /// The text was longer than [`MAX_LEN`] and is cut.
    pub is_cut: bool,
}

/// Renders `text`. `source` is where its relative links lead to: the address of a repository of source code, as its owner claims it; without
/// one they are plain text.
#[must_use]
pub fn render(text: &str, source: Option<&Url>) -> Rendered {
    let (text, is_cut) = cut(text);
    let mut options = Options::default();
    let extension = &mut options.extension;
    extension.table = true;
    extension.strikethrough = true;
    extension.autolink = true;
    extension.tasklist = true;
    extension.footnotes = true;
    extension.alerts = true;
    // What HTML there is in it goes through the list of what is allowed, like everything else.
    options.render.r#unsafe = true;
    options.render.escape = text.bytes().filter(|byte| *byte == b'<').count() > MAX_TAGS;

    let arena = Arena::new();
    let root = parse_document(&arena, text, &options);
    if depth(root) > MAX_DEPTH {
        return Rendered {
            html: plain(text),
            is_cut,
        };
    }
    adapt(&arena, root);
    let headings = Headings::default();
    let mut plugins = Plugins::default();
    plugins.render.heading_adapter = Some(&headings);
    let mut raw = String::with_capacity(text.len() * 2);
    if html::format_document_with_plugins(root, &options, &mut raw, &plugins).is_err() {
        // Writing to a string does not fail.
        raw.clear();
    }
    let base = source.and_then(links_base);
    Rendered {
        html: Markup(sanitised(&raw, base)),
        is_cut,
    }
}

/// At most [`MAX_LEN`] bytes of `text`, up to a heading where there is one in the second half.
fn cut(text: &str) -> (&str, bool) {
    if text.len() <= MAX_LEN {
        return (text, false);
    }
    let text = &text[..text.floor_char_boundary(MAX_LEN)];
    let end = text.rfind("\n#").filter(|end| *end > MAX_LEN / 2);
    (&text[..end.unwrap_or(text.len())], true)
}

/// How deep the parsed text is nested.
fn depth(root: Node<'_>) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for edge in root.traverse() {
        match edge {
            NodeEdge::Start(_) => depth += 1,
            NodeEdge::End(_) => depth = depth.saturating_sub(1),
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The text as it is written.
fn plain(text: &str) -> Markup {
    let mut shown = String::from("<pre tabindex=\"0\">");
    if html::escape(&mut shown, text).is_err() {
        // Writing to a string does not fail.
        shown.clear();
    }
    Markup(shown + "</pre>")
}

/// Changes the parsed text to what fits in a page of ours.
fn adapt<'a>(arena: &'a Arena<'a>, root: Node<'a>) {
    let mut level = FIRST_LEVEL - 1;
    let nodes: Vec<Node<'a>> = root.descendants().collect();
    for node in nodes {
        let mut data = node.data_mut();
        match &mut data.value {
            NodeValue::Heading(heading) => {
                // A heading is at most one level below the one before it.
                heading.level = (heading.level + FIRST_LEVEL - 1)
                    .clamp(FIRST_LEVEL, level + 1)
                    .min(6);
                level = heading.level;
            }
            NodeValue::Image(image) => {
                let link = std::mem::take(image.as_mut());
                let is_linked = node
                    .ancestors()
                    .skip(1)
                    .any(|above| matches!(above.data().value, NodeValue::Link(_)));
                data.value = if is_linked {
                    NodeValue::Emph
                } else {
                    NodeValue::Link(Box::new(NodeLink {
                        url: link.url,
                        title: String::new(),
                    }))
                };
                drop(data);
                if node.first_child().is_none() {
                    node.append(arena.alloc(NodeValue::Text("picture".into()).into()));
                }
            }
            NodeValue::TaskItem(task) => {
                let mark = if task.symbol.is_some() { "☑ " } else { "☐ " };
                drop(data);
                if let Some(first) = node.first_child() {
                    let mark = arena.alloc(NodeValue::Text(mark.into()).into());
                    match first.first_child() {
                        Some(text) => text.insert_before(mark),
                        None => first.append(mark),
                    }
                }
            }
            NodeValue::HtmlBlock(block) => block.literal = lower_headings(&block.literal),
            NodeValue::HtmlInline(literal) => *literal = lower_headings(literal),
            _ => {}
        }
    }
}

/// Headings that are written as HTML, two levels down.
fn lower_headings(html: &str) -> String {
    let mut html = html.to_owned();
    for (from, to) in [("h4", "h6"), ("h3", "h5"), ("h2", "h4"), ("h1", "h3")] {
        for from in [from.to_owned(), from.to_uppercase()] {
            html = html.replace(&format!("<{from}"), &format!("<{to}"));
            html = html.replace(&format!("</{from}"), &format!("</{to}"));
        }
    }
    html
}

/// Gives headings the identifiers that links in READMEs expect.
#[derive(Default)]
struct Headings(Mutex<Anchorizer>);

impl HeadingAdapter for Headings {
    fn enter(&self, output: &mut dyn fmt::Write, heading: &HeadingMeta, _: Option<Sourcepos>) -> fmt::Result {
        let mut anchors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = anchors.anchorize(&heading.content);
        write!(output, "<h{} id=\"", heading.level)?;
        html::escape(output, &id)?;
        output.write_str("\">")
    }

    fn exit(&self, output: &mut dyn fmt::Write, heading: &HeadingMeta) -> fmt::Result {
        write!(output, "</h{}>", heading.level)
    }
}

/// Elements that the sanitiser's own list has and a README may not have: pictures, and landmarks of the page.
const NOT_IN_README: [&str; 11] = [
    "area", "article", "aside", "footer", "h1", "h2", "header", "hgroup", "img", "map", "nav",
];

static ALERTS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    HashSet::from([
        "markdown-alert",
        "markdown-alert-note",
        "markdown-alert-tip",
        "markdown-alert-important",
        "markdown-alert-warning",
        "markdown-alert-caution",
    ])
});

fn sanitised(html: &str, base: Option<Url>) -> String {
    let mut builder = Builder::default();
    builder
        .rm_tags(NOT_IN_README)
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .link_rel(Some("nofollow noopener noreferrer ugc"))
        .id_prefix(Some(ID_PREFIX))
        .add_tag_attributes("a", ["id", "aria-label"])
        .add_tag_attributes("li", ["id"])
        .add_allowed_classes("div", ALERTS.iter())
        // What scrolls sideways can be reached with the keyboard.
        .set_tag_attribute_value("pre", "tabindex", "0")
        .set_tag_attribute_value("table", "tabindex", "0")
        .url_relative(UrlRelative::Custom(Box::new(Links { base })));
    for heading in ["h3", "h4", "h5", "h6"] {
        builder.add_tag_attributes(heading, ["id"]);
    }
    builder.clean(html).to_string()
}

/// Relative links lead to the source.
struct Links {
    base: Option<Url>,
}

impl UrlRelativeEvaluate<'_> for Links {
    fn evaluate<'url>(&self, url: &'url str) -> Option<Cow<'url, str>> {
        resolved(url, self.base.as_ref()).map(Cow::Owned)
    }
}

/// Where a relative link leads to.
fn resolved(url: &str, base: Option<&Url>) -> Option<String> {
    if let Some(fragment) = url.strip_prefix('#') {
        return Some(format!("#{ID_PREFIX}{fragment}"));
    }
    let target = base?.join(url.trim_start_matches('/')).ok()?;
    matches!(target.scheme(), "http" | "https").then(|| target.to_string())
}

/// Where the files of the source repository `source` are shown.
fn links_base(source: &Url) -> Option<Url> {
    if !matches!(source.scheme(), "http" | "https") {
        return None;
    }
    let mut base = source.clone();
    base.set_query(None);
    base.set_fragment(None);
    let path = source
        .path()
        .trim_end_matches('/')
        .trim_end_matches(".git")
        .to_owned();
    let files = match source.host_str()? {
        "github.com" => "/blob/HEAD/",
        "gitlab.com" => "/-/blob/HEAD/",
        "codeberg.org" => "/src/",
        _ => "/",
    };
    // A path into the repository is already where files are.
    let is_repository = path.split('/').filter(|part| !part.is_empty()).count() == 2;
    base.set_path(&format!("{path}{}", if is_repository { files } else { "/" }));
    Some(base)
}

#[cfg(test)]
mod tests;
