//! What is changed in one place is in force on three replicas: because it was notified, for what they remember would
//! hold for an hour.

use std::time::{Duration, Instant};

use super::{media, on_project, on_task, replica, started, status_in_group};
use crate::support::content::Pattern;
use crate::support::gateway::Gateway;
use crate::support::{eventually, uri};

/// Asks all of them until each has answered so; how long that took.
async fn until(all: &[Gateway], expected: u16, ask: impl AsyncFn(&Gateway) -> u16) -> Duration {
    let begun = Instant::now();
    for gateway in all {
        let what = format!("{expected} on every replica");
        eventually(&what, async || {
            (ask(gateway).await == expected).then_some(())
        })
        .await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_grant_and_a_revocation_are_in_force_on_three_replicas_within_a_second() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let all = [
        replica(&postgres, &store).await,
        replica(&postgres, &store).await,
        replica(&postgres, &store).await,
    ];
    let of_anna = async |gateway: &Gateway| on_task(gateway, "anna", "7", "a.mp4").await;
    let of_erik = async |gateway: &Gateway| on_task(gateway, "erik", "7", "a.mp4").await;
    for gateway in &all {
        assert_eq!((of_anna(gateway).await, of_erik(gateway).await), (200, 403));
    }
    // By the verbs.
    postgres.verb(&["revoke", "anna", "--project", "1"]).await;
    let revoked = until(&all, 403, of_anna).await;
    postgres.verb(&["grant", "erik", "--project", "1"]).await;
    let granted = until(&all, 200, of_erik).await;
    // By statements.
    postgres
        .sql("delete from lockgate.member where subject = 'erik'")
        .await;
    let again = until(&all, 403, of_erik).await;
    for took in [revoked, granted, again] {
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test]
async fn every_kind_of_change_is_heard_of() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let all = [replica(&postgres, &store).await];
    let chen = async |gateway: &Gateway| status_in_group(gateway, "labelers", "7", "a.mp4").await;
    let anna_on_b = async |gateway: &Gateway| on_task(gateway, "anna", "8", "b.mp4").await;
    let anna_on_c = async |gateway: &Gateway| on_task(gateway, "anna", "7", "c.mp4").await;
    let dora = async |gateway: &Gateway| on_task(gateway, "dora", "7", "a.mp4").await;
    let on_route = async |gateway: &Gateway| on_project(gateway, "anna", "1", "c.mp4").await;
    let new = async |gateway: &Gateway| on_task(gateway, "anna", "9", "a.mp4").await;
    // Each is asked before, so that the other answer is remembered.
    until(&all, 200, chen).await;
    postgres.sql("delete from lockgate.project_group").await;
    until(&all, 403, chen).await;

    until(&all, 403, anna_on_b).await;
    postgres
        .sql("update lockgate.task_assignee set subject = 'anna'")
        .await;
    until(&all, 200, anna_on_b).await;

    until(&all, 403, anna_on_c).await;
    until(&all, 403, on_route).await;
    postgres
        .sql("insert into lockgate.task_media values ('7', 1, 's3://media/c.mp4')")
        .await;
    until(&all, 200, anna_on_c).await;
    until(&all, 200, on_route).await;

    until(&all, 403, dora).await;
    postgres
        .sql("update lockgate.task set project = '2' where id = '7'")
        .await;
    until(&all, 200, dora).await;
    until(&all, 403, anna_on_c).await;

    // Of a task that nobody knew.
    until(&all, 403, new).await;
    postgres
        .sql("insert into lockgate.task values ('9', '1'); insert into lockgate.task_media values ('9', 0, 's3://media/a.mp4')")
        .await;
    until(&all, 200, new).await;
    postgres
        .sql("delete from lockgate.project_storage where project = '1'")
        .await;
    until(&all, 403, new).await;
    postgres.sql("truncate lockgate.project cascade").await;
    until(&all, 403, dora).await;
}

/// The other half of the proof: without a word of it, what is remembered holds, and PostgreSQL is not asked.
#[tokio::test]
async fn without_a_notification_what_is_remembered_holds_for_max_age() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let gateway = replica(&postgres, &store).await;
    let anna = async || on_task(&gateway, "anna", "7", "a.mp4").await;
    assert_eq!(anna().await, 200);
    postgres
        .sql("alter table lockgate.member disable trigger user; delete from lockgate.member where subject = 'anna'")
        .await;
    for _ in 0..20 {
        assert_eq!(anna().await, 200);
    }
    postgres.sql("notify lockgate, '1'").await;
    eventually("the notification is heard", async || {
        (anna().await == 403).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_running_body_is_cut_when_its_annotator_is_revoked_in_the_database() {
    const CONTENT: Pattern = Pattern(3);
    const LENGTH: u64 = 64 << 20;
    let Some((postgres, store)) = started().await else {
        return;
    };
    store.generate("media", "long.mp4", CONTENT, LENGTH);
    postgres
        .sql("insert into lockgate.task_media values ('7', 1, 's3://media/long.mp4')")
        .await;
    let gateway = replica(&postgres, &store).await;
    let mut reply = gateway.get(uri::task("7", &media("long.mp4"))).send().await;
    assert_eq!(reply.status(), 200);
    reply.next().await.expect("it begins").expect("with bytes");
    postgres.verb(&["revoke", "anna", "--project", "1"]).await;
    let of_anna = async |gateway: &Gateway| on_task(gateway, "anna", "7", "a.mp4").await;
    until(std::slice::from_ref(&gateway), 403, of_anna).await;
    let (read, whole) = {
        let mut read = 0;
        let whole = loop {
            match reply.next().await {
                Some(Ok(piece)) => read += piece.len() as u64,
                Some(Err(_)) => break false,
                None => break true,
            }
        };
        (read, whole)
    };
    assert!(!whole && read < LENGTH / 2, "{read} bytes, whole: {whole}");
}
