//! The OpenAPI 3.1 document. Shapes come from the types that answers are made of; a test holds answers against it.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::views::{
    Account, ApiError, Image, List, Manifest, Move, Repository, RepositoryDetails, SearchResults, Star, Tag,
};

/// Parameters of paths and queries: the name, where it is, and what it is.
type Parameter = (&'static str, &'static str, &'static str);

const IDENTITY: Parameter = ("identity", "path", "The owner: a handle or a DID.");
const REPOSITORY: Parameter = (
    "repository",
    "path",
    "The repository, without the owner. It may have slashes.",
);
const AFTER: Parameter = ("after", "query", "Where the page begins: follow `next`.");

/// The document of the server at `server`.
pub(super) fn document(server: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    let mut add = |path: &str, id: &str, what: &str, parameters: &[Parameter], schema: Schema| {
        paths.insert(path.to_owned(), operation(id, what, parameters, &schema));
    };
    add(
        "/api/v1/search",
        "search",
        "Repositories that are meant by a text, the best first.",
        &[
            ("q", "query", "The text."),
            ("kind", "query", "Only these: `image`, `chart` or `files`."),
            (
                "sort",
                "query",
                "`pushed`, `pulls` or `stars`; by how well they match without it.",
            ),
            AFTER,
        ],
        schema::<SearchResults>(&mut generator),
    );
    add(
        "/api/v1/u/{identity}",
        "account",
        "An account and its repositories.",
        &[IDENTITY, AFTER],
        schema::<Account>(&mut generator),
    );
    let repository = "/api/v1/r/{identity}/{repository}";
    let lists: [(&str, &str, &str, Schema); 5] = [
        (
            "tags",
            "tags",
            "Tags, the one moved last first; `sort=version` for the highest version first, `filter` for a text in the name.",
            schema::<List<Tag>>(&mut generator),
        ),
        (
            "manifests",
            "manifests",
            "Manifests, the newest first.",
            schema::<List<Manifest>>(&mut generator),
        ),
        (
            "referrers",
            "referrers",
            "Manifests that are about another one.",
            schema::<List<Manifest>>(&mut generator),
        ),
        (
            "activity",
            "activity",
            "Moves of tags, as this registry saw them, the last first.",
            schema::<List<Move>>(&mut generator),
        ),
        (
            "stars",
            "stars",
            "Stars, the last first.",
            schema::<List<Star>>(&mut generator),
        ),
    ];
    add(
        repository,
        "repository",
        "A repository.",
        &[IDENTITY, REPOSITORY],
        schema::<RepositoryDetails>(&mut generator),
    );
    for (separator, name, what) in [
        (":", "tag", "What a tag points at."),
        ("@", "digest", "A manifest."),
    ] {
        add(
            &format!("{repository}{separator}{{{name}}}"),
            &format!("imageBy{name}"),
            what,
            &[IDENTITY, REPOSITORY, (name, "path", what)],
            schema::<Image>(&mut generator),
        );
    }
    for (view, id, what, schema) in lists {
        let parameters = if view == "tags" {
            vec![
                IDENTITY,
                REPOSITORY,
                ("filter", "query", "A text in the name."),
                ("sort", "query", "`version`."),
                AFTER,
            ]
        } else {
            vec![IDENTITY, REPOSITORY, AFTER]
        };
        add(&format!("{repository}/-/{view}"), id, what, &parameters, schema);
    }
    // Named where they are not part of another shape.
    let _ = schema::<Repository>(&mut generator);
    let _ = schema::<ApiError>(&mut generator);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Images",
            "version": "1",
            "description": "What the pages of this registry show. Everything is public; no sign-in counts.",
        },
        "servers": [{ "url": server }],
        "paths": paths,
        "components": { "schemas": generator.take_definitions(true) },
    })
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn operation(id: &str, what: &str, parameters: &[Parameter], schema: &Schema) -> Value {
    let parameters = parameters.iter().map(|(name, place, what)| {
        json!({
            "name": name, "in": place, "required": *place == "path", "description": what,
            "schema": { "type": "string" },
        })
    });
    json!({
        "get": {
            "operationId": id,
            "summary": what,
            "parameters": parameters.collect::<Vec<_>>(),
            "responses": {
                "200": { "description": what, "content": { "application/json": { "schema": schema } } },
                "default": {
                    "description": "Why there is no answer.",
                    "content": { "application/json": { "schema": { "$ref": "#/components/schemas/ApiError" } } },
                },
            },
        }
    })
}
