//! PostgreSQL is killed, comes back, comes back elsewhere: never open, and no restart of Lockgate.

use super::{on_task, ready, replica, started};
use crate::postgres::server::{PASSWORD, Postgres, READER, setup};
use crate::support::client::Client;
use crate::support::process::Serving;
use crate::support::{eventually, uri};

async fn asked(client: &Client, subject: &str, task: &str, key: &str) -> u16 {
    let path = uri::task(task, &super::media(key));
    client.get(path).by(subject).answer().await.status
}

#[tokio::test]
async fn a_database_that_is_killed_opens_nothing_and_comes_back_without_a_restart() {
    let Some((mut postgres, store)) = started().await else {
        return;
    };
    let setup = postgres.setup().storage("media", &store.section("media"));
    let serving = Serving::start(setup.set("access.max_age", "3s")).await;
    let client = &serving.client;
    assert_eq!(asked(client, "anna", "7", "a.mp4").await, 200);
    assert_eq!(asked(client, "anna", "8", "b.mp4").await, 403);
    postgres.kill();
    // What was decided holds for its age at most; what was not is not decided.
    for _ in 0..5 {
        let known = asked(client, "anna", "7", "a.mp4").await;
        assert!([200, 503].contains(&known), "{known}");
        assert_ne!(asked(client, "anna", "8", "b.mp4").await, 200);
        assert_eq!(asked(client, "bo", "7", "a.mp4").await, 503);
    }
    eventually("decisions have aged out", async || {
        (asked(client, "anna", "7", "a.mp4").await == 503).then_some(())
    })
    .await;
    let answer = client
        .get(uri::task("7", &super::media("a.mp4")))
        .by("anna");
    let answer = answer.answer().await;
    assert_eq!(answer.status, 503);
    assert_ne!(answer.header("retry-after"), "");
    // Revoked before Lockgate can reach it: the first answer that is one says so.
    postgres.start_again(false).await;
    postgres
        .sql("delete from lockgate.member where subject = 'anna'")
        .await;
    postgres.start_again(true).await;
    let first = eventually("it is asked again", async || {
        let status = asked(client, "anna", "7", "a.mp4").await;
        (status != 503).then_some(status)
    })
    .await;
    assert_eq!(first, 403);
    assert_eq!(asked(client, "bo", "7", "a.mp4").await, 200);
    let log = serving.written("stderr");
    assert!(
        log.contains("changes in PostgreSQL are not heard of"),
        "{log}"
    );
}

/// With an hour of age what is remembered may hold while PostgreSQL is down, and not a moment after it is back.
#[tokio::test]
async fn nothing_from_before_an_outage_is_believed_after_it() {
    let Some((mut postgres, store)) = started().await else {
        return;
    };
    let gateway = replica(&postgres, &store).await;
    let of = async |subject: &str| on_task(&gateway, subject, "7", "a.mp4").await;
    assert_eq!((of("anna").await, of("bo").await), (200, 200));
    postgres.kill();
    assert_eq!(of("bo").await, 200, "an hour has not passed");
    assert_eq!(of("erik").await, 503);
    postgres.start_again(false).await;
    postgres
        .sql("delete from lockgate.member where project = '1'")
        .await;
    assert_eq!(of("bo").await, 200, "it cannot be asked");
    postgres.start_again(true).await;
    listened_to(&postgres).await;
    // Nobody has asked about anna meanwhile: what is remembered of her is from before.
    assert_eq!(of("anna").await, 403);
    eventually("the revocation is in force", async || {
        (of("bo").await == 403).then_some(())
    })
    .await;
}

/// A replica listens: its connection has said so, and is idle since.
async fn listened_to(postgres: &Postgres) {
    let client = postgres.client("lockgate").await;
    let sql = "select from pg_stat_activity
                where application_name = 'lockgate' and state = 'idle' and query like 'notify lockgate_%'";
    eventually("a replica listens", async || {
        client
            .query_opt(sql, &[])
            .await
            .expect("it says")
            .map(|_| ())
    })
    .await;
}

/// The connections are there and say nothing, as when a machine loses its network.
#[tokio::test]
async fn a_database_that_stands_still_is_noticed_and_well_again_when_it_goes_on() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let setup = postgres.setup().storage("media", &store.section("media"));
    let gateway = ready(setup.set("access.max_age", "2s")).await;
    let anna = async || on_task(&gateway, "anna", "7", "a.mp4").await;
    assert_eq!(anna().await, 200);
    postgres.signal_all("STOP");
    let refused = eventually("decisions age out", async || {
        let status = anna().await;
        (status != 200).then_some(status)
    })
    .await;
    assert_eq!(refused, 503);
    assert_eq!(on_task(&gateway, "bo", "7", "a.mp4").await, 503);
    postgres.signal_all("CONT");
    eventually("it is well again", async || {
        (anna().await == 200).then_some(())
    })
    .await;
    assert_eq!(on_task(&gateway, "erik", "7", "a.mp4").await, 403);
}

#[tokio::test]
async fn it_fails_over_to_another_address_without_a_restart() {
    let Some((mut primary, store)) = started().await else {
        return;
    };
    let standby = primary.standby().await;
    // The standby stands first: it is passed over while it is one, as it may lag behind.
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", standby.port(), primary.port());
    let url = format!("postgres://{READER}:{PASSWORD}@{hosts}/lockgate");
    let setup = setup(&url).storage("media", &store.section("media"));
    let gateway = ready(setup).await;
    let anna = async || on_task(&gateway, "anna", "7", "a.mp4").await;
    assert_eq!(anna().await, 200);
    replicated(&primary, &standby).await;
    primary.kill();
    assert_eq!(
        on_task(&gateway, "bo", "7", "a.mp4").await,
        503,
        "a standby is not asked"
    );
    standby.promote().await;
    standby
        .sql("delete from lockgate.member where subject = 'anna'")
        .await;
    eventually("the new primary is asked", async || {
        (on_task(&gateway, "bo", "7", "a.mp4").await == 200).then_some(())
    })
    .await;
    eventually("and heard", async || (anna().await == 403).then_some(())).await;
    // And what changes from then on is notified by the new one.
    standby
        .sql("insert into lockgate.member values ('1', 'anna')")
        .await;
    eventually("a grant is in force", async || {
        (anna().await == 200).then_some(())
    })
    .await;
}

/// The standby has all that the primary has.
async fn replicated(primary: &Postgres, standby: &Postgres) {
    let client = primary.client("lockgate").await;
    let sql = "select pg_current_wal_lsn()::text";
    let written: String = client.query_one(sql, &[]).await.expect("it says").get(0);
    let client = standby.client("lockgate").await;
    let sql = format!("select pg_last_wal_replay_lsn() >= '{written}'");
    eventually("the standby has caught up", async || {
        let row = client.query_one(&sql, &[]).await.expect("it says");
        row.get::<_, bool>(0).then_some(())
    })
    .await;
}

/// A start does not wait for a database that is down: it may come later than its replicas.
#[tokio::test]
async fn a_replica_starts_before_its_database_and_is_ready_with_it() {
    let Some((mut postgres, store)) = started().await else {
        return;
    };
    postgres.kill();
    let setup = postgres.setup().storage("media", &store.section("media"));
    let gateway = setup.start().await;
    let ready = async || gateway.admin().get("/readyz").status().await;
    assert_eq!(ready().await, Some(503));
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 503);
    postgres.start_again(true).await;
    eventually("it is ready", async || {
        (ready().await == Some(200)).then_some(())
    })
    .await;
    assert_eq!(on_task(&gateway, "anna", "7", "a.mp4").await, 200);
}

#[tokio::test]
async fn a_reload_to_a_database_that_is_not_there_leaves_the_old_one_in_force() {
    let Some((postgres, store)) = started().await else {
        return;
    };
    let setup = postgres.setup().storage("media", &store.section("media"));
    let serving = Serving::start(setup).await;
    eventually("it hears of changes", async || {
        let metrics = serving.admin.get("/metrics").answer().await;
        let heard = metrics.text().contains("lockgate_access_changes_heard 1");
        let ready = serving.admin.get("/readyz").status().await == Some(200);
        (heard && ready).then_some(())
    })
    .await;
    let file = serving.path("lockgate.toml");
    let config = std::fs::read_to_string(&file).expect("it is there");
    let (here, nowhere) = (
        format!(":{}/", postgres.port()),
        format!(":{}/", crate::support::free_ports::<1>()[0]),
    );
    assert!(config.contains(&here), "the URL is in the file");
    std::fs::write(&file, config.replace(&here, &nowhere)).expect("it is written");
    serving.signal("HUP");
    eventually("it is not taken", async || {
        let metrics = serving.admin.get("/metrics").answer().await;
        metrics
            .text()
            .contains("lockgate_config_last_reload_successful 0")
            .then_some(())
    })
    .await;
    assert_eq!(asked(&serving.client, "anna", "7", "a.mp4").await, 200);
    assert_eq!(asked(&serving.client, "erik", "7", "a.mp4").await, 403);
}
