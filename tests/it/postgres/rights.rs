//! What is missing is said plainly, by `check` and in the log, and nothing is opened for the want of it; Lockgate's own
//! role can do no more than read.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{on_task, started};
use crate::postgres::server::{OWNER, PASSWORD, Postgres, READER, setup};
use crate::support::eventually;
use crate::support::gateway::Setup;
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

/// What a schema that anybody may write to could put before the server's own.
const OWN_OPERATORS: &str = "
create schema evil;
create function evil.pg_notify(text, text) returns void language plpgsql as $$
    begin raise exception 'not the one of the server'; end $$;
create function evil.same(text, text) returns boolean language sql as 'select true';
create operator evil.= (leftarg = text, rightarg = text, function = evil.same);
grant usage on schema evil to public;
alter role owner set search_path = evil, pg_catalog;
alter role lockgate set search_path = evil, pg_catalog;
alter role lockgate set default_transaction_read_only = on;
";

#[tokio::test]
async fn no_search_path_changes_what_runs_and_a_role_that_only_reads_is_ready() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    postgres.sql(OWN_OPERATORS).await;
    let gateway = super::replica(&postgres, &store).await;
    assert_eq!(on_task(&gateway, "erik", "7", "a.mp4").await, 403);
    // The platform's own session brings its path into the triggers.
    postgres
        .sql("insert into lockgate.member values ('1', 'erik')")
        .await;
    eventually("the grant is heard of", async || {
        (on_task(&gateway, "erik", "7", "a.mp4").await == 200).then_some(())
    })
    .await;
}

/// One question that takes long is one annotator's, and nobody else waits or is cut for it.
#[tokio::test]
async fn a_question_that_takes_long_does_not_refuse_others() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    postgres
        .sql(
            "insert into lockgate.member values ('1', 'slow');
             alter table lockgate.member rename to member_of;
             create view lockgate.member as select project, subject from lockgate.member_of
              where case subject when 'slow' then pg_sleep(60) is null else true end",
        )
        .await;
    let setup = postgres.setup().storage("media", &store.section("media"));
    let gateway = super::ready(setup.set("access.postgres.connections", 1)).await;
    assert_eq!(on_task(&gateway, "slow", "7", "a.mp4").await, 503);
    assert_eq!(on_task(&gateway, "bo", "7", "a.mp4").await, 200);
}

/// Passes all on but notifications, as a pooler does whose sessions end with the transaction.
async fn deaf_pooler(server: u16) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", server)).await;
            let (mut said, mut to_server) = server.expect("postgres is there").into_split();
            let (mut asked, mut to_client) = client.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut asked, &mut to_server).await });
            tokio::spawn(async move {
                // A byte for the kind, and the length of the rest with itself in it.
                while let Ok(kind) = said.read_u8().await {
                    let length = said.read_u32().await?;
                    let mut message = vec![0; length as usize - 4];
                    said.read_exact(&mut message).await?;
                    if kind != b'A' {
                        to_client.write_u8(kind).await?;
                        to_client.write_u32(length).await?;
                        to_client.write_all(&message).await?;
                    }
                }
                std::io::Result::Ok(())
            });
        }
    });
    address
}

#[tokio::test]
async fn behind_a_pooler_that_swallows_notifications_it_is_not_ready_and_says_why() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let pooler = deaf_pooler(postgres.port()).await;
    let url = format!("postgres://{READER}:{PASSWORD}@{pooler}/lockgate?sslmode=disable");
    let (code, said) = check(setup(&url)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("pool_mode = session"), "{said}");
    let setup = setup(&url).storage("media", &store.section("media"));
    let gateway = setup.start().await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 200);
    // Nothing is remembered that nobody would say the end of.
    postgres
        .sql("delete from lockgate.member where subject = 'anna'")
        .await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 403);
    let ready = gateway.admin().get("/readyz").status().await;
    assert_eq!(ready, Some(503));
}
