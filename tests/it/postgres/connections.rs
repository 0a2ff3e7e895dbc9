//! What becomes of the connections that questions are put over: who leaves, what PostgreSQL refuses, a listener that is
//! lost, a session that forgets. Each has one connection, so that one which is lost for good would be missed at once.

use tokio_postgres::Client;

use super::{media, on_task, ready, started};
use crate::postgres::server::Postgres;
use crate::support::gateway::Gateway;
use crate::support::store::Store;
use crate::support::{eventually, uri};

/// The annotator `slow` is looked for longer than anybody waits, and than the session's own time-out.
const SLOW: &str = "
insert into lockgate.member values ('1', 'slow');
alter table lockgate.member rename to member_of;
create view lockgate.member as select project, subject from lockgate.member_of
 where case subject when 'slow' then pg_sleep(60) is null else true end";

/// Whoever looks for `bo` has the session forget what was prepared in it, as a pooler does between two clients.
const FORGETFUL: &str = "
create function lockgate.forget() returns boolean language plpgsql as $$
    begin execute 'deallocate all'; return true; end $$;
alter table lockgate.member rename to member_of;
create view lockgate.member as select project, subject from lockgate.member_of
 where case subject when 'bo' then lockgate.forget() else true end";

/// A gateway with one connection for its questions, and one that listens.
async fn with_one(postgres: &Postgres, store: &Store) -> Gateway {
    let setup = postgres.setup().storage("media", &store.section("media"));
    ready(setup.set("access.postgres.connections", 1)).await
}

/// The server's processes that have answered questions, or have one under way.
async fn asking(client: &Client) -> Vec<i32> {
    let sql = "select pid from pg_stat_activity
                where application_name = 'lockgate' and query like '%lockgate.project_storage%'";
    let rows = client.query(sql, &[]).await.expect("it says");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Waits until so many questions sleep at the server.
async fn asleep(client: &Client, questions: i64) {
    let sql = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    eventually("questions are under way, or none", async || {
        let row = client.query_one(sql, &[]).await.expect("it says");
        (row.get::<_, i64>(0) == questions).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_leaves_before_the_answer_leaves_neither_a_question_nor_a_connection() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    postgres.sql(SLOW).await;
    let gateway = with_one(&postgres, &store).await;
    let client = postgres.client("lockgate").await;
    for (subject, task, key) in [
        ("bo", "7", "a.mp4"),
        ("bo", "8", "b.mp4"),
        ("anna", "7", "a.mp4"),
    ] {
        let path = uri::task("7", &media("a.mp4"));
        tokio::select! {
            answer = gateway.client().get(path).by("slow").answer() => panic!("{answer:?}"),
            () = asleep(&client, 1) => {}
        }
        asleep(&client, 0).await;
        // Not remembered, so that it wants the connection that was in use.
        assert_eq!(on_task(&gateway, subject, task, key).await, 200);
    }
    eventually("who was cancelled is gone", async || {
        (asking(&client).await.len() == 1).then_some(())
    })
    .await;
    let log = postgres.log();
    let cancelled = log.matches("canceling statement due to user request");
    assert_eq!(cancelled.count(), 3, "{log}");
}

#[tokio::test]
async fn what_postgresql_refuses_costs_no_connection() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let gateway = with_one(&postgres, &store).await;
    let client = postgres.client("lockgate").await;
    assert_eq!(on_task(&gateway, "bo", "7", "a.mp4").await, 200);
    let before = asking(&client).await;
    let right = "on lockgate.task_assignee";
    postgres
        .sql(&format!("revoke select {right} from lockgate_reader"))
        .await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 503);
    postgres
        .sql(&format!("grant select {right} to lockgate_reader"))
        .await;
    eventually("it is asked again", async || {
        (on_task(&gateway, "anna", "7", "a.mp4").await == 200).then_some(())
    })
    .await;
    assert_eq!(asking(&client).await, before);
}

/// They may lead to another server than the one that is listened to from then on.
#[tokio::test]
async fn no_connection_outlives_the_listening_session_before_it() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let gateway = with_one(&postgres, &store).await;
    let client = postgres.client("lockgate").await;
    assert_eq!(on_task(&gateway, "bo", "7", "a.mp4").await, 200);
    assert_eq!(asking(&client).await.len(), 1);
    let sql = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'notify lockgate_%'";
    client.query_one(sql, &[]).await.expect("it is ended");
    // Nobody asks meanwhile: it is closed for the listener's sake.
    eventually("the connection is closed", async || {
        asking(&client).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 200);
}

#[tokio::test]
async fn what_a_session_has_forgotten_is_prepared_anew() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    postgres.sql(FORGETFUL).await;
    let gateway = with_one(&postgres, &store).await;
    let client = postgres.client("lockgate").await;
    assert_eq!(on_task(&gateway, "bo", "7", "a.mp4").await, 200);
    let before = asking(&client).await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 200);
    assert_eq!(asking(&client).await, before, "the same session");
}
