//! A hundred thousand tasks changed at once are one word, and whoever serves goes on serving.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::{AsyncMessage, NoTls};

use super::{on_task, replica, started};
use crate::support::eventually;
use crate::support::postgres::{OWNER, Postgres};

const TASKS: &str = "
insert into lockgate.task select 'bulk-' || n, '1' from generate_series(1, 100000) n;
insert into lockgate.task_media select 'bulk-' || n, 0, 's3://media/' || n || '.mp4' from generate_series(1, 100000) n;
insert into lockgate.task_assignee select 'bulk-' || n, 'bo' from generate_series(1, 100000) n;";

/// Counts the notifications that come.
async fn listen(postgres: &Postgres) -> (tokio_postgres::Client, Arc<AtomicUsize>) {
    let url = postgres.url(OWNER);
    let connecting = tokio_postgres::connect(&url, NoTls);
    let (client, mut connection) = connecting.await.expect("postgres lets us in");
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = heard.clone();
    // It ends with its client.
    tokio::spawn(async move {
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(_) = message {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    client
        .batch_execute("listen lockgate")
        .await
        .expect("it listens");
    (client, heard)
}

#[tokio::test]
async fn a_bulk_change_of_100_000_tasks_is_one_notification_a_statement_and_in_force() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let gateway = replica(&postgres, &store).await;
    let (client, heard) = listen(&postgres).await;
    // What a connection has heard, it has heard when it has answered.
    let all_heard = async || {
        client.batch_execute("select").await.expect("it answers");
        heard.swap(0, Ordering::SeqCst)
    };
    assert_eq!(on_task(&gateway, "bo", "bulk-5", "a.mp4").await, 403);
    postgres.sql(TASKS).await;
    // One transaction, one project: the same word is said once.
    assert_eq!(all_heard().await, 1);
    store.put("media", "5.mp4", b"five".to_vec(), None);
    eventually("bo sees it", async || {
        (on_task(&gateway, "bo", "bulk-5", "5.mp4").await == 200).then_some(())
    })
    .await;
    postgres
        .sql("update lockgate.task_assignee set subject = 'anna'")
        .await;
    assert_eq!(all_heard().await, 1);
    eventually("bo does not", async || {
        (on_task(&gateway, "bo", "bulk-5", "5.mp4").await == 403).then_some(())
    })
    .await;
    // A hundred projects are one word for all.
    postgres
        .sql("insert into lockgate.project select 'many ' || n from generate_series(1, 100) n")
        .await;
    assert_eq!(all_heard().await, 1);
    postgres
        .sql("delete from lockgate.task where project = '1'")
        .await;
    assert_eq!(all_heard().await, 1);
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 403);
}
