//! What is missing is said plainly, by `check` and in the log, and nothing is opened for the want of it; Lockgate's own
//! role can do no more than read.

use super::{on_task, started};
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::postgres::{OWNER, PASSWORD, Postgres, READER, setup};
use crate::support::process::Serving;

async fn check(setup: Setup) -> (Option<i32>, String) {
    let run = move || {
        let directory = tempfile::tempdir().expect("a directory");
        crate::cli::run_with(&setup, directory.path(), &["check"])
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let text = crate::cli::said(&output);
    crate::support::secrets::assert_none_in_text("check", &text);
    (output.status.code(), text)
}

#[tokio::test]
async fn check_says_what_is_missing_and_what_to_do() {
    let Some(postgres) = Postgres::empty().await else {
        return;
    };
    let owner = setup(&postgres.url(OWNER));
    let (code, said) = check(owner).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("run lockgate db migrate"), "{said}");
    postgres.verb(&["db", "migrate"]).await;
    let bare = format!("create role bare login password '{PASSWORD}'");
    postgres.sql(&bare).await;
    postgres.reader().await;

    let (code, said) = check(setup(&postgres.url("bare"))).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("permission denied for schema lockgate"),
        "{said}"
    );
    assert!(said.contains("lockgate db roles prints it"), "{said}");

    let wrong = postgres.url(READER).replace(PASSWORD, "another");
    let (code, said) = check(setup(&wrong)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("password authentication failed")
            && said.contains("correct user and password"),
        "{said}"
    );

    let url = postgres.url(READER);
    let nowhere = format!(
        "{}/nowhere",
        url.strip_suffix("/lockgate").expect("its database")
    );
    let (_, said) = check(setup(&nowhere)).await;
    assert!(said.contains("correct the database's name"), "{said}");

    let (code, said) = check(setup(&postgres.url(OWNER))).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("owner is a superuser"), "{said}");

    let (code, said) = check(postgres.setup()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("version 2") && !said.contains("warn    rights"),
        "{said}"
    );

    // What stands in the tables and means nothing here.
    postgres
        .sql("insert into lockgate.project values ('1'); insert into lockgate.project_storage values ('1', 0, 'gone');
              insert into lockgate.task values ('7', '1');
              insert into lockgate.task_media values ('7', 0, 'https://b.s3.eu-central-1.amazonaws.com/a%20b')")
        .await;
    let (code, said) = check(postgres.setup()).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("not configured: gone"), "{said}");
    assert!(said.contains("is asked for as \"s3://b/a b\""), "{said}");
}

#[tokio::test]
async fn a_role_without_rights_opens_nothing_and_the_log_says_what_to_grant() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    postgres
        .sql("revoke select on lockgate.task_assignee from lockgate_reader")
        .await;
    let setup = postgres.setup().storage("media", &store.section("media"));
    let serving = Serving::start(setup).await;
    let path = crate::support::uri::task("7", "s3://media/a.mp4");
    let ask = async || serving.client.get(&path).by("anna").answer().await.status;
    assert_eq!(ask().await, 503);
    let log = serving.written("stderr");
    assert!(
        log.contains("permission denied for table task_assignee"),
        "{log}"
    );
    postgres
        .sql("grant select on lockgate.task_assignee to lockgate_reader")
        .await;
    eventually("it is asked again", async || {
        (ask().await == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_serves_can_write_to_no_table() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let gateway = super::replica(&postgres, &store).await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 200);
    let reader = postgres.url(READER);
    let arguments = ["grant", "eve", "--project", "1", "--database", &reader].map(str::to_owned);
    let run = move || crate::support::process::run(&arguments.each_ref().map(String::as_str));
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let said = crate::cli::said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("permission denied"), "{said}");
}
