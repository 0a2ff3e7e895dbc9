//! A platform's own tables: the views of `docs/postgres.md`, run as they stand there.

use super::{on_project, on_task, ready};
use crate::postgres::server::{PASSWORD, Postgres};
use crate::support::eventually;
use crate::support::store::Store;

const DOCUMENT: &str = include_str!("../../../docs/postgres.md");

/// What stands in the fence that the marker is before.
fn fenced(marker: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(marker).expect("the marker is there");
    let (_, rest) = rest.split_once("```sql\n").expect("a fence follows");
    rest.split_once("```").expect("it ends").0
}

/// A database with the documentation's tables, views and triggers, and media.
async fn platform() -> Option<(Postgres, Store)> {
    let postgres = Postgres::empty().await?;
    postgres.sql(fenced("<!-- own tables -->")).await;
    postgres.sql(fenced("<!-- views -->")).await;
    postgres.sql(fenced("<!-- notify -->")).await;
    let login = format!("create role lockgate login password '{PASSWORD}'");
    postgres.sql(&login).await;
    postgres.sql(fenced("<!-- grants -->")).await;
    postgres
        .sql(
            "insert into app_user (id, email) values (1, 'anna'), (2, 'bo');
              insert into app_project (id, bucket) values (42, 'media');
              insert into app_membership (project_id, user_id) values (42, 1), (42, 2);
              insert into app_task (id, project_id, video, assigned_to) values
                  (7, 42, 's3://media/a.mp4', null), (8, 42, 's3://media/b.mp4', 2)",
        )
        .await;
    let store = Store::start().await;
    for key in ["a.mp4", "b.mp4"] {
        store.put("media", key, b"bytes".to_vec(), None);
    }
    Some((postgres, store))
}

/// A null is an assignee that is nobody, and not the lack of one.
#[tokio::test]
async fn a_task_whose_assignee_is_null_is_nobodys() {
    let Some((postgres, store)) = platform().await else {
        return;
    };
    postgres
        .sql(
            "create or replace view lockgate.task_assignee as
             select t.id::text as task, u.email as subject from app_task t left join app_user u on u.id = t.assigned_to",
        )
        .await;
    let setup = postgres.setup().storage("media", &store.section("media"));
    let gateway = ready(setup).await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 403);
    assert_eq!(on_project(&gateway, "anna", "42", "a.mp4").await, 403);
    assert_eq!(on_task(&gateway, "bo", "8", "b.mp4").await, 200);
    assert_eq!(on_project(&gateway, "bo", "42", "b.mp4").await, 200);
}

#[tokio::test]
async fn a_platforms_own_tables_are_read_by_the_views_of_the_documentation() {
    let Some((postgres, store)) = platform().await else {
        return;
    };
    let setup = postgres.setup().storage("media", &store.section("media"));
    let gateway = ready(setup).await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 200);
    assert_eq!(on_task(&gateway, "anna", "7", "b.mp4").await, 403);
    assert_eq!(on_task(&gateway, "anna", "8", "b.mp4").await, 403);
    assert_eq!(on_task(&gateway, "bo", "8", "b.mp4").await, 200);
    assert_eq!(on_project(&gateway, "anna", "42", "a.mp4").await, 200);
    assert_eq!(on_project(&gateway, "anna", "42", "b.mp4").await, 403);
    // Their own triggers say what changed.
    postgres
        .sql("delete from app_membership where user_id = 1")
        .await;
    eventually("the revocation is in force", async || {
        (on_task(&gateway, "anna", "7", "a.mp4").await == 403).then_some(())
    })
    .await;
    postgres
        .sql("update app_task set assigned_to = 1 where id = 8")
        .await;
    eventually("the assignment is in force", async || {
        (on_task(&gateway, "bo", "8", "b.mp4").await == 403).then_some(())
    })
    .await;
    let migrated = crate::cli::said(&postgres.try_verb(&["db", "migrate"]).await);
    assert!(migrated.contains("views of your own"), "{migrated}");
    // An index of theirs answers: no table is read from end to end.
    postgres
        .sql("insert into app_task (id, project_id, video) select n, 42, 's3://media/' || n from generate_series(100, 20000) n;
              analyze")
        .await;
    let client = postgres.client("lockgate").await;
    for question in lockgate::authority::postgres::QUESTIONS {
        let rows = client
            .query(&format!("explain {}", literal(question)), &[])
            .await
            .expect("it is planned");
        let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let plan = plan.join("\n");
        assert!(!plan.contains("Seq Scan on app_task"), "{plan}");
    }
}

/// A question about somebody, with its values in it.
fn literal(question: &str) -> String {
    let values = [
        ("$1", "'anna'"),
        ("$2", "'{}'"),
        ("$3", "'s3://media/200'"),
        ("$4", "'200'"),
    ];
    values
        .iter()
        .fold(question.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
}
