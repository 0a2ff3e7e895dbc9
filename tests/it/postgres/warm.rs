//! `lockgate warm` of a project whose tasks stand in PostgreSQL: all that they name, each once, as the role that only
//! reads.

use std::process::Output;

use serde_json::Value;

use super::{ready, started};
use crate::cli::said;
use crate::postgres::server::Postgres;
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::process::run;
use crate::support::store::Store;

/// Past one page of what is asked for at once.
const OBJECTS: u64 = 1_100;
const PAGE: u64 = 1_000;

/// A project `many` with so many objects, ten of which two tasks name; another project's tasks name more.
const TASKS: &str = "
insert into lockgate.project values ('many', 'task');
insert into lockgate.project_storage (project, storage) values ('many', 'media');
insert into lockgate.member values ('many', 'anna');
insert into lockgate.task select 'many-' || n, 'many' from generate_series(1, 1110) n;
insert into lockgate.task_media select 'many-' || n, 0, 's3://media/' || n % 1100 || '.png' from generate_series(1, 1110) n;";

async fn with_tasks() -> Option<(Postgres, Store, Gateway)> {
    let (postgres, store) = started().await?;
    postgres.sql(TASKS).await;
    for n in 0..OBJECTS {
        store.put("media", &format!("{n}.png"), vec![1; 10], None);
    }
    let setup = postgres.setup().storage("media", &store.section("media"));
    let gateway = ready(setup).await;
    Some((postgres, store, gateway))
}

/// Runs the verb, while this thread serves.
async fn warm(gateway: &Gateway, more: &[&str]) -> Output {
    let config = gateway.directory().join("lockgate.toml");
    let mut arguments = vec![
        "warm".to_owned(),
        "--json".to_owned(),
        format!("--url={}", gateway.client().base()),
        format!("--config={}", config.display()),
    ];
    arguments.extend(more.iter().map(|it| it.to_string()));
    let ran = move || run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(ran).await.expect("no panic");
    crate::support::secrets::assert_none_in_text("warm", &said(&output));
    output
}

fn report(output: &Output) -> Value {
    let report = serde_json::from_slice(&output.stdout);
    report.unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[tokio::test]
async fn all_that_a_projects_tasks_name_is_read_once_by_the_role_that_only_reads() {
    let Some((_postgres, store, gateway)) = with_tasks().await else {
        return;
    };
    let output = warm(&gateway, &["--project=many", "--subject=anna"]).await;
    let report = report(&output);
    assert_eq!(output.status.code(), Some(0), "{report}");
    assert_eq!(report["objects"], OBJECTS, "{report}");
    assert_eq!(report["read"], OBJECTS, "{report}");
    for n in 0..OBJECTS {
        assert!(store.asked(&format!("{n}.png")) > 0, "{n}");
    }
    assert_eq!(store.asked("a.mp4"), 0, "another project's");
}

#[tokio::test]
async fn a_project_of_storages_is_listed_and_one_that_is_not_there_is_said() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let setup = postgres.setup().storage("media", &store.section("media"));
    let gateway = ready(setup).await;
    let output = warm(&gateway, &["--project=2", "--subject=dora"]).await;
    assert_eq!(report(&output)["read"], 3, "{}", said(&output));

    let output = warm(&gateway, &["--project=9", "--subject=dora"]).await;
    assert_eq!(output.status.code(), Some(2));
    let text = said(&output);
    assert!(text.contains("PostgreSQL has no project \"9\""), "{text}");
}

/// What had not been fetched of the list is missing then, and a run that says nothing of it would seem whole.
#[tokio::test]
async fn a_list_that_breaks_off_ends_the_run_and_is_said() {
    let Some((postgres, store, gateway)) = with_tasks().await else {
        return;
    };
    store.hold();
    let breaking = async {
        let client = postgres.client("lockgate").await;
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'fetch % from named' and state = 'idle'";
        eventually("the first page is being read", async || {
            client.query_opt(sql, &[]).await.expect("it says")
        })
        .await;
        store.release();
    };
    let arguments = ["--project=many", "--subject=anna", "--concurrency=1"];
    let (output, ()) = tokio::join!(warm(&gateway, &arguments), breaking);
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(report["read"], PAGE, "{report}");
    let stopped = report["stopped"].as_str().expect("a reason");
    assert!(stopped.contains("connection"), "{stopped}");
}
