use super::*;

fn html(text: &str) -> String {
    render(text, None).html.to_string()
}

fn html_of(text: &str, source: &str) -> String {
    render(text, Some(&source.parse().unwrap())).html.to_string()
}

#[test]
fn a_readme_is_shown_as_on_code_hosts() {
    let shown = html(
        "# App\n\nSee [usage](#usage) and https://example.com.\n\n## Usage\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- [x] done\n- [ ] open\n\n```sh\nrun <this>\n```\n\n> [!NOTE]\n> mind\n",
    );
    for part in [
        "<h3 id=\"readme-app\">App</h3>",
        "href=\"#readme-usage\"",
        "<h4 id=\"readme-usage\">Usage</h4>",
        "href=\"https://example.com\"",
        "<td>1</td>",
        "☑ done",
        "☐ open",
        "run &lt;this&gt;",
        "class=\"markdown-alert markdown-alert-note\"",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[test]
fn headings_go_down_one_level_at_a_time() {
    let shown = html("### Deep\n\n###### Deeper\n\n# Top\n\n<h1>Raw</h1>\n");
    let levels: Vec<&str> = shown.split("<h").skip(1).map(|rest| &rest[..1]).collect();
    assert_eq!(levels, ["3", "4", "3", "3"]);
}

#[test]
fn relative_links_lead_to_the_source() {
    let text = "[a](docs/a.md) [b](/LICENSE) [c](//other.example/x)";
    let shown = html_of(text, "https://github.com/alice/app.git");
    assert!(
        shown.contains("href=\"https://github.com/alice/app/blob/HEAD/docs/a.md\""),
        "{shown}"
    );
    assert!(
        shown.contains("href=\"https://github.com/alice/app/blob/HEAD/LICENSE\""),
        "{shown}"
    );
    assert!(!html(text).contains("href"), "{}", html(text));
    assert!(!html_of(text, "ftp://example.com/a").contains("href"));
}

#[test]
fn pictures_are_links_since_pages_load_nothing_from_elsewhere() {
    let shown = html(
        "![A diagram](https://example.com/a.png) [![Build](https://example.com/b.svg)](https://example.com/ci) <img src=https://example.com/c.png>",
    );
    assert!(!shown.contains("<img"), "{shown}");
    assert!(
        shown.contains(
            "<a href=\"https://example.com/a.png\" rel=\"nofollow noopener noreferrer ugc\">A diagram</a>"
        ),
        "{shown}"
    );
    assert!(
        shown.contains(">Build</em></a>") && !shown.contains("b.svg"),
        "{shown}"
    );
}

#[test]
fn a_long_text_is_cut_before_a_heading() {
    let text = format!(
        "# One\n\n{}\n# Two\n\n{}",
        "word ".repeat(15_000),
        "word ".repeat(15_000)
    );
    let rendered = render(&text, None);
    assert!(rendered.is_cut);
    assert!(!rendered.html.to_string().contains("Two"));
    assert!(render(&"é".repeat(MAX_LEN), None).is_cut);
}

#[test]
fn nothing_in_it_can_run_or_speak_to_the_server() {
    for text in [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)><animate onbegin=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java\tscript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](vbscript:x)",
        "<javascript:alert(1)>",
        "<a href=\"&#106;avascript:alert(1)\">x</a>",
        "<iframe src=https://example.com></iframe>",
        "<form action=/auth/logout method=post><button>go</button></form>",
        "<div hx-get=/settings hx-trigger=load data-hx-post=/x hx-on:click=alert(1)>x</div>",
        "<p style=\"position:fixed;inset:0\" class=\"notice\" id=main>x</p>",
        "<base href=https://example.com><meta http-equiv=refresh content=0>",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<details open ontoggle=alert(1)>x</details>",
        "<input autofocus onfocus=alert(1)>",
        "<object data=x></object><embed src=x><link rel=stylesheet href=x>",
        "<textarea></textarea><select><option>x</select>",
        "<template><script>1</script></template><slot></slot>",
        "```\"><script>alert(1)</script>\ncode\n```",
        "![x\" onerror=\"alert(1)](https://example.com/x)",
        "[^1]\n\n[^1]: <script>alert(1)</script>",
    ] {
        let shown = html(text).to_lowercase();
        for bad in [
            "<script",
            "<svg",
            "<img",
            "<iframe",
            "<form",
            "<button",
            "<input",
            "<style",
            "<base",
            "<meta",
            "<object",
            "<embed",
            "<link",
            "<template",
            "<textarea",
            "<math",
            " style=",
            " class=\"notice",
            "id=\"main",
            "href=\"javascript",
            "href=\"data:",
            "href=\"vbscript",
            "<div hx",
            "<div data-hx",
            " ontoggle",
            "<p style",
        ] {
            assert!(!shown.contains(bad), "{bad} of {text} in {shown}");
        }
    }
}

#[test]
fn a_text_that_is_nested_without_end_is_shown_as_it_is_written() {
    let shown = html(&format!("{}<b>x", "> ".repeat(500)));
    assert!(shown.starts_with("<pre tabindex=\"0\">&gt; &gt;"), "{shown}");
    assert!(shown.contains("&lt;b&gt;x</pre>"), "{shown}");
    let tags = html(&"<b>".repeat(3_000));
    assert!(tags.contains("&lt;b&gt;") && !tags.contains("<b>"));
}

#[test]
fn hostile_nesting_takes_no_time_to_speak_of() {
    for piece in [
        "> ", "- ", "[", "*a ", "<div>", "![", "`", "<b><i>", "|a", "[^a]", "a@",
    ] {
        let text = piece.repeat(MAX_LEN / piece.len());
        let _ = render(&text, None);
    }
}
