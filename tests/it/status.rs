//! The status page: what it says, what it never says, and how it looks to a person in a browser.
//!
//! The browser's steps are in `tests/browser/status.mjs`. With `LOCKGATE_SCREENSHOTS=1` they also take the pictures of
//! `docs/images`, after a few minutes of traffic.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::content::Pattern;
use crate::support::garage::{is_ci, tools};
use crate::support::gateway::{Gateway, Setup};
use crate::support::process::is_there;
use crate::support::store::{self, Store};
use crate::support::wild_store::WildStore;
use crate::support::{eventually, token, uri};

const MIB: u64 = 1 << 20;
/// How long the pictures' traffic goes on: most of a plot's width.
const WORK: Duration = Duration::from_secs(600);
const PROJECTS: &str = "[[project]]\nid = '1'\nstorages = ['recordings', 'scans', 'vault']\nmembers = ['anna', 'ben']\n\
    media = 'storage'\n";

fn path(key: &str) -> String {
    uri::project("1", key)
}

/// A gateway over three storages, of which the last can be taken down.
async fn house() -> (Store, WildStore, Gateway) {
    let (store, vault) = (Store::start().await, WildStore::start().await);
    let vault_section = vault
        .section()
        .replace("bucket = 'media'", "bucket = 'vault'");
    let gateway = Setup::bare()
        .storage(
            "recordings",
            &(store.section("recordings") + "prefix = 'wards/'\n"),
        )
        .storage(
            "scans",
            &(store.section("scans") + "delivery = 'redirect'\n"),
        )
        .storage("vault", &vault_section)
        .projects(PROJECTS)
        .set("server.limits.requests_per_second", 500)
        .start()
        .await;
    for n in 0..40 {
        store.generate(
            "recordings",
            &format!("wards/{n}.mp4"),
            Pattern(n),
            (1 + n % 5) * MIB,
        );
    }
    store.generate("scans", "a.png", Pattern(1), 100_000);
    (store, vault, gateway)
}

async fn status(gateway: &Gateway) -> Value {
    let answer = gateway.admin().get("/status.json").answer().await;
    assert_eq!(
        (answer.status, answer.header("cache-control")),
        (200, "no-store")
    );
    answer.json()
}

/// What fills a plot: busy and quiet minutes, and a storage that goes down at last. Gives how many rounds it was.
async fn minutes_of_work(gateway: &Gateway, vault: &WildStore) -> u64 {
    let begun = Instant::now();
    for n in 0.. {
        round(gateway, n).await;
        let worked = begun.elapsed();
        vault.set_down(worked > WORK * 4 / 5);
        if worked > WORK {
            return n;
        }
        tokio::time::sleep(Duration::from_millis(
            100 + 250 * (worked.as_secs() / 50 % 3),
        ))
        .await;
    }
    0
}

/// One round of what annotators do in a minute: some look again, some are new, one may not, one storage is down.
async fn round(gateway: &Gateway, n: u64) {
    let watch = async |n: u64, who: &str| {
        let ask = gateway
            .client()
            .get(path(&format!("s3://recordings/wards/{}.mp4", n % 40)));
        ask.by(who).answer().await.status
    };
    for again in [n / 3, n / 4, n / 5, n] {
        assert_eq!(watch(again, "anna").await, 200);
    }
    if n.is_multiple_of(4) {
        assert_eq!(watch(n, "eve").await, 403);
        let outside = gateway.get(path("s3://recordings/payroll.csv"));
        assert_eq!(outside.answer().await.status, 403);
        gateway.get(path("s3://scans/a.png")).answer().await;
        gateway
            .client()
            .get(path("s3://scans/a.png"))
            .answer()
            .await;
    }
    if n.is_multiple_of(6) {
        gateway.get(path("s3://vault/sealed.mp4")).answer().await;
    }
}

fn named<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let list = list.as_array().expect("a list");
    let found = list.iter().find(|it| it[key] == name);
    found.unwrap_or_else(|| panic!("no {name} in {list:?}"))
}

#[tokio::test]
async fn the_figures_are_what_happened() {
    let (_store, vault, gateway) = house().await;
    vault.set_down(true);
    for n in 0..12 {
        round(&gateway, n).await;
    }
    let said = eventually("a reading was taken since", async || {
        let said = status(&gateway).await;
        (said["recent"]["denials"].as_u64()? >= 9).then_some(said)
    })
    .await;
    let recordings = named(&said["storages"], "id", "recordings");
    assert_eq!(
        (&recordings["health"], &recordings["kind"]),
        (&json!("ok"), &json!("s3"))
    );
    assert_eq!(recordings["prefix"], "wards/");
    assert!(recordings["recent"]["p50"].as_f64().expect("a latency") > 0.0);
    assert!(recordings["answered_at"].is_f64() && recordings["failure"].is_null());
    // Nothing is evicted from so little: what is kept is what was read.
    assert!(
        recordings["cached"]["bytes"].as_u64() >= Some(12 * MIB),
        "{recordings}"
    );
    let vault = named(&said["storages"], "id", "vault");
    assert_eq!(vault["failure"]["outcome"], "unavailable", "{vault}");
    assert!(vault["answered_at"].is_null());
    assert!(["down", "failing"].contains(&vault["health"].as_str().unwrap_or_default()));
    let hits = said["recent"]["hits"]["memory"].as_f64().expect("a rate");
    assert!((0.1..1.0).contains(&hits), "{hits}");
    assert!(
        said["series"]["sent"]
            .as_array()
            .is_some_and(|it| !it.is_empty())
    );
    assert_eq!(
        (&said["streams"], &said["missing"]),
        (&json!(0), &json!([]))
    );
    let eve = named(&said["denials"], "subject", "eve");
    assert_eq!(
        (&eve["reason"], &eve["status"]),
        (&json!("not_member"), &json!(403))
    );
    assert_eq!(eve["object"], "s3://recordings/wards/8.mp4");
    let nobody = named(&said["denials"], "reason", "unauthenticated");
    assert_eq!(nobody["subject"], Value::Null);
    let limits = named(&said["configuration"], "section", "limits");
    let rate = json!(["requests_per_second (annotator)", 500]);
    assert!(
        limits["entries"]
            .as_array()
            .is_some_and(|it| it.contains(&rate)),
        "{limits}"
    );
}

#[tokio::test]
async fn the_figures_hold_no_secret() {
    let (_store, _vault, gateway) = house().await;
    let scoped = token::of("eve");
    let ask = gateway
        .client()
        .get(path("s3://recordings/wards/1.mp4?X-Amz-Signature=abcdef"));
    assert_eq!(ask.bearer(&scoped).answer().await.status, 403);
    let said = status(&gateway).await;
    assert_eq!(
        named(&said["denials"], "subject", "eve")["reason"],
        "not_member"
    );
    let said = said.to_string();
    for secret in [store::SECRET, token::SECRET, &scoped, "abcdef"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[tokio::test]
async fn bytes_of_a_running_body_are_counted_before_its_end() {
    let (store, _vault, gateway) = house().await;
    store.generate("recordings", "wards/long.mp4", Pattern(1), 100 * MIB);
    let mut reply = gateway
        .get(path("s3://recordings/wards/long.mp4"))
        .send()
        .await;
    let mut read = 0;
    while read < 20 * MIB {
        read += reply.next().await.expect("more").expect("bytes").len() as u64;
    }
    let metrics = gateway.metrics().await;
    let line = metrics
        .lines()
        .find_map(|it| it.strip_prefix("lockgate_http_response_bytes_total "));
    let counted: f64 = line.and_then(|it| it.parse().ok()).expect("a number");
    assert!(counted >= (18 * MIB) as f64, "{counted} of {read}");
    let said = status(&gateway).await;
    assert_eq!(said["streams"], 1);
    reply.whole().await;
    let all = format!("lockgate_http_response_bytes_total {}", 100 * MIB);
    eventually("each byte is counted once", async || {
        let metrics = gateway.metrics().await;
        metrics.lines().find(|line| *line == all).map(|_| ())
    })
    .await;
}

#[tokio::test]
async fn a_reload_shows_the_configuration_that_is_in_force() {
    let (_store, _vault, gateway) = house().await;
    let file = gateway.directory().join("lockgate.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    std::fs::write(&file, text.replace("wards/", "theatres/")).expect("it is written");
    assert!(gateway.reload().await);
    let said = status(&gateway).await;
    assert_eq!(
        named(&said["storages"], "id", "recordings")["prefix"],
        "theatres/"
    );
}

#[tokio::test]
async fn the_page_shows_it_to_a_person_in_a_browser_and_to_no_other_page() {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
    let driver = tools().join("node/node_modules/playwright-core");
    if !is_there(&chromium) || !is_there("node") || !driver.exists() {
        let missing = "chromium, node or playwright-core is not installed: run tests/servers";
        assert!(!is_ci(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return;
    }
    let pictures = std::env::var_os("LOCKGATE_SCREENSHOTS").is_some();
    let (_store, vault, gateway) = house().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut steps = Command::new("node");
    steps
        .arg(root.join("tests/browser/status.mjs"))
        .arg(gateway.admin().base())
        .env("LOCKGATE_TOOLS", tools())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A plot of nothing shows nothing: traffic first, for as long as it takes to be seen.
    let rounds = match pictures {
        true => minutes_of_work(&gateway, &vault).await,
        false => 24,
    };
    if !pictures {
        vault.set_down(true);
        for n in 0..rounds {
            round(&gateway, n).await;
        }
    }
    if pictures {
        steps.arg(root.join("docs/images"));
    }
    let output = steps.output();
    let going_on = async {
        for n in rounds.. {
            round(&gateway, n).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let output = tokio::select! {
        output = output => output.expect("node runs"),
        () = going_on => unreachable!("annotators never end"),
    };
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
