//! The JSON of what pages show, held against its own description.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::harness::{Answer, TestAppView, sha256};
use crate::image_pages::{image, index};

/// What in `value` the description does not allow: a field that it does not have, one that is missing, another type.
fn undescribed(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#'));
        return undescribed(document, schema.unwrap_or(&Value::Null), value, at, found);
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if let Some(variants) = schema["oneOf"].as_array() {
        if !variants.iter().any(|variant| variant["const"] == *value) {
            found.push(format!("{at}: {value} is no variant"));
        }
        return;
    }
    if let Some(variants) = schema["anyOf"].as_array() {
        let fits = |variant: &&Value| {
            let mut wrong = Vec::new();
            undescribed(document, variant, value, at, &mut wrong);
            wrong.is_empty()
        };
        if variants.iter().find(fits).is_none() {
            found.push(format!("{at}: fits no variant"));
        }
        return;
    }
    if !types.contains(&is) {
        found.push(format!("{at}: {is} instead of {types:?}"));
        return;
    }
    match value {
        Value::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                undescribed(
                    document,
                    &schema["items"],
                    item,
                    &format!("{at}[{number}]"),
                    found,
                );
            }
        }
        Value::Object(fields) => {
            for name in schema["required"].as_array().into_iter().flatten() {
                if !fields.contains_key(name.as_str().unwrap_or_default()) {
                    found.push(format!("{at}: no {name}"));
                }
            }
            for (name, field) in fields {
                let described = &schema["properties"][name];
                let described = if described.is_null() {
                    &schema["additionalProperties"]
                } else {
                    described
                };
                undescribed(document, described, field, &format!("{at}.{name}"), found);
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn every_answer_is_what_its_description_says() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let name = "alice.test/tools/app";
    let sailor = appview.sailor("alice.test", &[name]).await;
    let (amd64, arm64) = (image(&appview, "amd64"), image(&appview, "arm64"));
    for image in [&amd64, &arm64] {
        sailor.push(name, sha256(image).as_str(), image).await;
    }
    let both = index(
        &[("amd64", &amd64), ("arm64", &arm64)],
        &[("description", "Says hello")],
    );
    for tag in ["1.0", "latest"] {
        sailor.push(name, tag, &both).await;
    }
    sailor.push(name, "1.0", &amd64).await;
    let bob = Browser::signed_in(&appview, "bob.test", &appview.bob).await;
    bob.submit("/r/alice.test/tools/app/-/star", &[("star", "true")])
        .await
        .assert_status(303);

    let get = async |path: &str| Answer::of(appview.get(path)).await;
    let document = get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], json!("3.1.0"));
    let paths = document["paths"].as_object().unwrap();
    let repository = "/api/v1/r/alice.test/tools/app";
    let digest = sha256(&both);
    let mut asked = Vec::new();
    for (described, path, rows) in [
        ("/api/v1/search", "/api/v1/search?q=hello".to_owned(), 1),
        ("/api/v1/u/{identity}", "/api/v1/u/alice.test".to_owned(), 1),
        ("/api/v1/r/{identity}/{repository}", repository.to_owned(), 0),
        (
            "/api/v1/r/{identity}/{repository}:{tag}",
            format!("{repository}:latest"),
            0,
        ),
        (
            "/api/v1/r/{identity}/{repository}@{digest}",
            format!("{repository}@{digest}"),
            0,
        ),
        (
            "/api/v1/r/{identity}/{repository}/-/tags",
            format!("{repository}/-/tags?sort=version"),
            2,
        ),
        (
            "/api/v1/r/{identity}/{repository}/-/manifests",
            format!("{repository}/-/manifests"),
            3,
        ),
        (
            "/api/v1/r/{identity}/{repository}/-/referrers",
            format!("{repository}/-/referrers"),
            0,
        ),
        (
            "/api/v1/r/{identity}/{repository}/-/activity",
            format!("{repository}/-/activity"),
            1,
        ),
        (
            "/api/v1/r/{identity}/{repository}/-/stars",
            format!("{repository}/-/stars"),
            1,
        ),
    ] {
        let answer = get(&path).await;
        answer.assert_status(200);
        assert_eq!(answer.header("access-control-allow-origin"), "*", "{path}");
        let schema = &paths[described]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let mut wrong = Vec::new();
        undescribed(&document, schema, &answer.json(), "", &mut wrong);
        assert!(wrong.is_empty(), "{path}: {wrong:?} in {}", answer.text());
        if rows > 0 {
            let items = answer.json()["items"].as_array().map_or(0, Vec::len);
            assert!(items >= rows, "{path}: {}", answer.text());
        }
        asked.push(described);
    }
    let unasked: Vec<&String> = paths
        .keys()
        .filter(|path| !asked.contains(&path.as_str()))
        .collect();
    assert!(unasked.is_empty(), "{unasked:?}");
    let image = get(&format!("{repository}:latest")).await.json();
    assert_eq!(
        (
            &image["digest"],
            &image["kind"],
            &image["children"][0]["platform"]
        ),
        (
            &json!(digest.as_str()),
            &json!("imageIndex"),
            &json!("linux/amd64")
        )
    );
    for path in [
        "/api/v1/u/nobody.test",
        "/api/v1/r/alice.test/none",
        "/api/v1/r/alice.test/tools/app:none",
    ] {
        let missing = get(path).await;
        missing.assert_status(404);
        let mut wrong = Vec::new();
        let schema = json!({ "$ref": "#/components/schemas/ApiError" });
        undescribed(&document, &schema, &missing.json(), "", &mut wrong);
        assert!(wrong.is_empty(), "{path}: {wrong:?} in {}", missing.text());
    }
}

#[tokio::test]
async fn search_engines_find_every_repository() {
    let appview = TestAppView::start_with(|config| config.index.enabled = true).await;
    let sailor = appview.sailor("alice.test", &["alice.test/app"]).await;
    sailor.push("alice.test/app", "1", &appview.image("mapped")).await;
    let get = async |path: &str| Answer::of(appview.get(path)).await.text();
    assert!(
        get("/robots.txt")
            .await
            .contains(&format!("Sitemap: {}/sitemap.xml\n", appview.url))
    );
    let index = get("/sitemap.xml").await;
    assert!(
        index.contains(&format!("<loc>{}/sitemap/0.xml</loc>", appview.url)),
        "{index}"
    );
    let map = get("/sitemap/0.xml").await;
    for path in ["/", "/learn-more", "/r/alice.test/app"] {
        assert!(
            map.contains(&format!("<loc>{}{path}</loc>", appview.url)),
            "{path}: {map}"
        );
    }
    assert!(!get("/sitemap/1.xml").await.contains("<url>"));
}
