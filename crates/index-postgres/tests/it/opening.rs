//! What a database has to be.

use std::error::Error as _;

use atcr_index::ports::{IndexAudit as _, Leases as _};
use atcr_index_postgres::{DatabaseUrl, OpenError, PostgresIndex};

use crate::store::{SERVER, new_name, url};

fn created(options: &str) -> String {
    let name = new_name();
    SERVER
        .run("postgres", &format!("CREATE DATABASE {name} {options}"))
        .unwrap();
    name
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    // Nothing listens at this port: it was free, and is the listener's until its end.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let text = format!("postgres://atcr:s3cr3t@127.0.0.1:{port}/atcr");
    let error = PostgresIndex::open(&DatabaseUrl::parse(&text).unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot connect to the database postgres://127.0.0.1:{port}/atcr")
    );
    assert!(matches!(error, OpenError::Unreachable { .. }));
    let whole = format!("{error:?} {:?}", error.source());
    assert!(!whole.contains("s3cr3t"), "{whole}");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_said() {
    let error = PostgresIndex::open(&url("nowhere")).await.unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(source.contains("\"nowhere\" does not exist"), "{source}");
}

#[tokio::test]
async fn texts_in_another_encoding_are_refused() {
    let name = created("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let error = PostgresIndex::open(&url(&name)).await.unwrap_err();
    assert!(error.to_string().contains("has the encoding LATIN1"), "{error}");
}

#[tokio::test]
async fn a_database_that_knows_no_letters_but_a_to_z_is_refused() {
    let name = created("ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0");
    let error = PostgresIndex::open(&url(&name)).await.unwrap_err();
    assert!(error.to_string().contains("has the character type C,"), "{error}");
    // Nothing is left there.
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'atcr_index'";
    assert_eq!(SERVER.run(&name, schemas).unwrap().trim(), "0");
}

#[tokio::test]
async fn a_user_who_cannot_make_the_extension_is_told_to_have_it_made() {
    let name = created("");
    let user = format!("{name}_user");
    SERVER
        .run(&name, &format!("CREATE USER {user}; GRANT CREATE ON SCHEMA public TO {user}; CREATE SCHEMA atcr_index AUTHORIZATION {user}"))
        .unwrap();
    let text = SERVER.url(&name).replace("//atcr@", &format!("//{user}@"));
    let url = DatabaseUrl::parse(&text).unwrap();
    let error = PostgresIndex::open(&url).await.unwrap_err();
    assert!(error.to_string().contains("no extension pg_trgm"), "{error}");

    SERVER.run(&name, "CREATE EXTENSION pg_trgm").unwrap();
    let index = PostgresIndex::open(&url).await.unwrap();
    index.check().await.unwrap();
}

#[tokio::test]
async fn servers_that_start_at_once_make_the_tables_once() {
    let name = created("");
    let opened = futures(&name).await;
    for index in &opened {
        assert_eq!(index.stats().await.unwrap().accounts, 0);
    }
    let first = opened[0]
        .hold_lease("x", "a", std::time::Duration::from_mins(1))
        .await
        .unwrap();
    let second = opened[1]
        .hold_lease("x", "b", std::time::Duration::from_mins(1))
        .await
        .unwrap();
    assert!(first && !second);
}

async fn futures(name: &str) -> Vec<PostgresIndex> {
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let url = url(name);
        opening.spawn(async move { PostgresIndex::open(&url).await.unwrap() });
    }
    opening.join_all().await
}
