//! What the questions make the server do, and what many projects do to them.

use super::{ready, started, status};
use crate::support::uri;

/// A question of the project's route, by somebody.
fn explained(subject: &str) -> String {
    let [_, of_project, _] = lockgate::authority::postgres::QUESTIONS;
    let values = [
        ("$1", format!("'{subject}'")),
        ("$2", "'{}'".to_owned()),
        ("$3", "'s3://media/a.mp4'".to_owned()),
        ("$4", "'1'".to_owned()),
    ];
    let question = values
        .iter()
        .fold(of_project.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        });
    format!("explain (analyze, costs off, timing off) {question}")
}

/// A project of a million tasks would else be work for anybody with a token.
#[tokio::test]
async fn who_is_no_member_makes_the_server_look_for_no_media() {
    let Some((postgres, _store)) = started().await else {
        return;
    };
    let client = postgres.client("lockgate").await;
    for (subject, is_member) in [("anna", true), ("eve", false)] {
        let rows = client.query(&explained(subject), &[]).await;
        let rows = rows.expect("it is planned");
        let plan: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
        let mut scans = plan.iter().filter(|line| line.contains("on task_media"));
        let scan = scans.next().expect("it is in the plan");
        let is_looked_for = !scan.contains("never executed");
        assert_eq!(is_looked_for, is_member, "{subject}: {}", plan.join("\n"));
    }
}

/// Local files name no project, so all of somebody's permit; they come back as one of each list of storages first.
#[tokio::test]
async fn many_projects_of_one_storage_do_not_hide_the_one_of_another() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    postgres
        .sql(
            "insert into lockgate.project select 'many-' || n, 'storage' from generate_series(1, 1500) n;
             insert into lockgate.project_storage select 'many-' || n, 0, 'media' from generate_series(1, 1500) n;
             insert into lockgate.member select 'many-' || n, 'fay' from generate_series(1, 1500) n;
             insert into lockgate.project values ('the last', 'storage');
             insert into lockgate.project_storage values ('the last', 0, 'desk');
             insert into lockgate.member values ('the last', 'fay'), ('the last', 'gil')",
        )
        .await;
    let setup = postgres.setup().storage("media", &store.section("media"));
    let setup = setup.storage("desk", "kind = 'local'\nroot = 'desk'\n");
    let gateway = ready(setup.file("desk/a.txt", "here")).await;
    let path = || format!("/data/local-files/?d={}", uri::key("a.txt"));
    assert_eq!(status(&gateway, "gil", path()).await, 200);
    assert_eq!(status(&gateway, "fay", path()).await, 200);
    assert_eq!(status(&gateway, "eve", path()).await, 403);
}
