//! Health, reloads that drop nothing, and an end without a cut body.

use crate::support::client::Client;
use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::process::{Serving, run};
use crate::support::store::Store;
use crate::support::{eventually, gateway_over_store, uri};

const MIB: u64 = 1 << 20;

fn path(key: &str) -> String {
    uri::project("1", &format!("s3://media/{key}"))
}

#[tokio::test]
async fn sigterm_lets_running_bodies_finish_and_exits_with_0() {
    let store = Store::start().await;
    store.generate("media", "a.mp4", Pattern(1), 100 * MIB);
    let mut serving = Serving::start(Setup::over(&store.section("media"))).await;
    store.hold_bodies_after(MIB);
    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(serving.client.get(path("a.mp4")).by("anna").send().await);
    }
    serving.signal("TERM");
    eventually("it is not ready", async || {
        (serving.admin.get("/readyz").status().await != Some(200)).then_some(())
    })
    .await;
    eventually("it accepts no more", async || {
        let fresh = Client::new(serving.client.base());
        (fresh.get("/").status().await.is_none()).then_some(())
    })
    .await;
    store.release();
    for body in bodies {
        assert_eq!(body.compare(Pattern(1), 0).await, (100 * MIB, true));
    }
    assert_eq!(serving.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_drain_that_is_over_cuts_what_still_runs() {
    let store = Store::start().await;
    store.generate("media", "a.mp4", Pattern(1), 100 * MIB);
    let setup = Setup::over(&store.section("media")).set("server.drain", "100ms");
    let mut serving = Serving::start(setup).await;
    store.hold_bodies_after(MIB);
    let body = serving.client.get(path("a.mp4")).by("anna").send().await;
    serving.signal("TERM");
    let (_, whole) = body.compare(Pattern(1), 0).await;
    assert!(!whole);
    assert_eq!(serving.ended().await.code(), Some(0));
    let log = serving.written("access.log");
    assert!(log.contains("\"aborted\":\"drained\""), "{log}");
    store.release();
}

#[tokio::test]
async fn sighup_takes_a_new_configuration_without_dropping_a_body() {
    let store = Store::start().await;
    store.generate("media", "a.mp4", Pattern(1), 20 * MIB);
    let serving = Serving::start(Setup::over(&store.section("media"))).await;
    store.hold_bodies_after(MIB);
    let body = serving.client.get(path("a.mp4")).by("anna").send().await;
    let file = serving.path("lockgate.toml");
    let config = std::fs::read_to_string(&file).expect("it is there");
    let changed = format!("{config}\n[delivery]\ncache_control = 'private, max-age=7'\n");
    std::fs::write(&file, changed).expect("it is written");
    serving.signal("HUP");
    eventually("the new configuration is in force", async || {
        let answer = serving.client.head(path("a.mp4")).by("anna").answer().await;
        (answer.header("cache-control") == "private, max-age=7").then_some(())
    })
    .await;
    store.release();
    assert_eq!(body.compare(Pattern(1), 0).await, (20 * MIB, true));
}

#[tokio::test]
async fn a_bad_reload_keeps_the_old_configuration_and_says_so() {
    let store = Store::start().await;
    store.generate("media", "a.mp4", Pattern(1), 10);
    let serving = Serving::start(Setup::over(&store.section("media"))).await;
    let file = serving.path("lockgate.toml");
    let config = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, format!("{config}\n[delivery]\nno_such_key = 1\n"))
        .expect("it is written");
    serving.signal("HUP");
    eventually("the metric says so", async || {
        let metrics = serving.admin.get("/metrics").answer().await;
        metrics
            .text()
            .contains("lockgate_config_last_reload_successful 0")
            .then_some(())
    })
    .await;
    assert!(
        serving.written("stderr").contains("no_such_key"),
        "{}",
        serving.written("stderr")
    );
    assert_eq!(
        serving
            .client
            .get(path("a.mp4"))
            .by("anna")
            .answer()
            .await
            .status,
        200
    );
    std::fs::write(&file, config).expect("it is written");
    serving.signal("HUP");
    eventually("the metric says it is well again", async || {
        let metrics = serving.admin.get("/metrics").answer().await;
        metrics
            .text()
            .contains("lockgate_config_last_reload_successful 1")
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_changed_configuration_is_taken_without_a_signal() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", Pattern(1), 10);
    let file = gateway.directory().join("lockgate.toml");
    let config = std::fs::read_to_string(&file).expect("it is there");
    let changed = format!("{config}\n[delivery]\ncache_control = 'private, max-age=9'\n");
    std::fs::write(gateway.directory().join("new"), changed).expect("it is written");
    std::fs::rename(gateway.directory().join("new"), &file).expect("it is renamed");
    eventually("the new configuration is in force", async || {
        let answer = gateway.head(path("a.mp4")).answer().await;
        (answer.header("cache-control") == "private, max-age=9").then_some(())
    })
    .await;
}

#[tokio::test]
async fn health_readiness_and_metrics_are_on_the_admin_listener_alone() {
    let (store, gateway) = gateway_over_store().await;
    let admin = gateway.admin();
    assert_eq!(admin.get("/healthz").answer().await.status, 200);
    assert_eq!(admin.get("/metrics").answer().await.status, 200);
    assert_eq!(admin.get("/nowhere").answer().await.status, 404);
    drop(store);
    gateway.get(path("a.mp4")).answer().await;
    let ready = admin.get("/readyz").answer().await;
    assert_eq!(ready.status, 200, "a storage that is down does not flip it");
}

#[tokio::test]
async fn the_health_verb_says_whether_traffic_may_come() {
    let setup = Setup::over("kind = 'local'\nroot = 'desk'\n").file("desk/a.txt", "here");
    let mut serving = Serving::start(setup).await;
    let admin = serving
        .admin
        .base()
        .trim_start_matches("http://")
        .to_owned();
    let asked = |arguments: &[&str]| {
        let output = run(&[&["health"], arguments].concat());
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    assert_eq!(asked(&["--admin-listen", &admin]), (Some(0), String::new()));
    // The configuration's own, which the system chose no port of.
    let file = serving.path("lockgate.toml");
    let config = std::fs::read_to_string(&file).expect("it is there");
    let everywhere = admin.replace("127.0.0.1", "0.0.0.0");
    let named = serving.path("named.toml");
    let from = "admin_listen = \"127.0.0.1:0\"";
    let to = format!("admin_listen = \"{everywhere}\"");
    assert!(config.contains(from), "{config}");
    std::fs::write(&named, config.replace(from, &to)).expect("it is written");
    let named = named.to_string_lossy().into_owned();
    assert_eq!(asked(&["--config", &named]), (Some(0), String::new()));
    serving.signal("TERM");
    assert!(serving.ended().await.success());
    let (code, said) = asked(&["--admin-listen", &admin]);
    assert_eq!(code, Some(1));
    assert!(said.contains("does not answer"), "{said}");
}
