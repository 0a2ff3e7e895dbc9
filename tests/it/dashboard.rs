//! The dashboard and the alerts of `deploy/`, by a real Prometheus that scrapes two replicas at work: every query is
//! taken, every panel shows something, and an alert fires where a fault is.
//!
//! Grafana's server is in no package registry, so its component library draws the dashboard's file, in a browser. The
//! steps are in `tests/browser/dashboard.mjs`. With `LOCKGATE_SCREENSHOTS=1` they also take the picture of
//! `docs/images`, after ten minutes of traffic.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::browser::is_there;
use crate::identities;
use crate::support::client::Reply;
use crate::support::content::Pattern;
use crate::support::garage::{is_ci, tools};
use crate::support::gateway::{Gateway, Setup};
use crate::support::prometheus::Prometheus;
use crate::support::store::Store;
use crate::support::stub::Stub;
use crate::support::wild_store::WildStore;
use crate::support::{eventually, uri};

const RULES: &str = include_str!("../../deploy/prometheus/lockgate.rules.yml");
const MIB: u64 = 1 << 20;
/// How long annotators work before anybody looks; for the picture, a plot's width of minutes.
const SHORT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(600);
/// How many files there are to look at: more bytes than memory and disk keep, so that something is evicted.
const FILES: u64 = 60;
/// And how many in the vault: enough that some were not yet seen when it goes down.
const SEALED: u64 = 500;
const REPLICAS: [&str; 2] = ["lockgate-0", "lockgate-1"];
const PROJECTS: &str = "[[project]]\nid = '1'\nstorages = ['recordings', 'scans', 'vault', 'archive']\n\
    members = ['anna', 'ben']\nmedia = 'storage'\n";

/// Two replicas over four storages: one that sends elsewhere, one that can be taken down, and one with a role whose
/// credentials end.
struct Site {
    replicas: Vec<Gateway>,
    vault: WildStore,
    _store: Store,
    _archive: lockgate::cli::demo::s3::S3Server,
    _sts: Stub,
    _disks: [TempDir; 2],
}

impl Site {
    async fn start() -> Self {
        let (store, vault) = (Store::start().await, WildStore::start().await);
        let archive = identities::storage().await;
        let sts = Stub::start(|_| identities::assumed("AssumeRole")).await;
        let role = identities::with_role(&sts.endpoint, "");
        archive.put("archive", "a.mp4", vec![1; 10], Some("video/mp4"));
        let archived =
            identities::section(&archive, &role).replace("bucket = 'media'", "bucket = 'archive'");
        for n in 0..SEALED {
            vault.put(&format!("sealed/{n}.mp4"), MIB / 4);
        }
        let disks = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let mut replicas = Vec::new();
        for disk in &disks {
            let setup = Setup::bare()
                .storage("recordings", &store.section("recordings"))
                .storage(
                    "scans",
                    &(store.section("scans") + "delivery = 'redirect'\n"),
                )
                .storage("vault", &vault.section())
                .storage("archive", &archived)
                .projects(PROJECTS)
                .set("cache.memory", "64MiB")
                .set("cache.metadata_max_age", "2s")
                .set(
                    "cache.disk.path",
                    disk.path().join("cache").to_str().expect("UTF-8"),
                )
                .set("cache.disk.capacity", "64MiB")
                .set("server.limits.requests_per_second", 500);
            replicas.push(setup.start().await);
        }
        for n in 0..FILES {
            let length = (1 + n % 6) * MIB;
            store.generate("recordings", &format!("wards/{n}.mp4"), Pattern(n), length);
        }
        store.generate("scans", "a.png", Pattern(1), 100_000);
        Self {
            replicas,
            vault,
            _store: store,
            _archive: archive,
            _sts: sts,
            _disks: disks,
        }
    }

    /// A Prometheus that scrapes the replicas; its alerts fire as soon as what they say is so.
    async fn prometheus(&self) -> Option<Prometheus> {
        let addresses: Vec<_> = self
            .replicas
            .iter()
            .map(|it| it.admin().base().replace("http://", ""))
            .collect();
        let replicas: Vec<_> = REPLICAS
            .into_iter()
            .zip(addresses.iter().map(String::as_str))
            .collect();
        Prometheus::start(&replicas, &without_patience(RULES)).await
    }

    /// What annotators do, without end: `work` says how much of its time has passed, from 0 to 1 and beyond.
    async fn at_work(&self, work: impl Fn() -> f64) {
        let annotators = (0..4).map(|annotator| self.annotate(annotator, &work));
        tokio::join!(join_all(annotators), self.storage_comes_and_goes(&work));
    }

    async fn annotate(&self, annotator: u64, work: &impl Fn() -> f64) {
        for n in 0.. {
            self.round(annotator, n).await;
            let busy = 1.0 + (work() * 9.0).sin();
            tokio::time::sleep(Duration::from_millis(100 + (busy * 150.0) as u64)).await;
        }
    }

    async fn storage_comes_and_goes(&self, work: &impl Fn() -> f64) {
        loop {
            self.vault.set_down((0.55..0.8).contains(&work()));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One round: mostly the same as a moment ago, something new, and now and then what is not to be seen.
    async fn round(&self, annotator: u64, n: u64) {
        let replica = &self.replicas[(annotator % 2) as usize];
        let at = |key: &str| uri::project("1", &format!("s3://{key}"));
        let file = |n: u64| at(&format!("recordings/wards/{}.mp4", n % FILES));
        for n in [n / 4, n / 5, n + 17 * annotator] {
            let reply = replica.get(file(n)).send().await;
            assert_eq!(reply.status(), 200);
            match n % 9 {
                // Some leave before the end, and some are slow.
                3 => drop(reply),
                5 => linger(reply).await,
                _ => drop(reply.whole().await),
            }
        }
        replica
            .get(file(n))
            .range("bytes=1000-99999")
            .answer()
            .await;
        let sealed = at(&format!(
            "media/sealed/{}.mp4",
            (n * 7 + annotator) % SEALED
        ));
        match n % 6 {
            0 => drop(replica.get(sealed).answer().await),
            1 => drop(replica.client().get(file(n)).by("eve").answer().await),
            2 => drop(replica.get(at("scans/a.png")).answer().await),
            3 => drop(replica.get(at("recordings/wards/none.mp4")).answer().await),
            4 => drop(replica.client().get(file(n)).answer().await),
            _ => drop(replica.get(at("archive/a.mp4")).answer().await),
        }
    }
}

/// Reads as a player does whose buffer is full.
async fn linger(mut reply: Reply) {
    while let Some(bytes) = reply.next().await {
        bytes.expect("the body goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The rules, but for how long what they say has to be so before anybody is told.
fn without_patience(rules: &str) -> String {
    let lines = rules
        .lines()
        .filter(|line| !line.trim().starts_with("for: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Steps of a browser, which runs while the annotators work on.
async fn draw(prometheus: &Prometheus, begun: Instant, pictures: bool) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut steps = Command::new("node");
    steps
        .arg(root.join("tests/browser/dashboard.mjs"))
        .args([prometheus.url(), &begun.elapsed().as_secs().to_string()])
        .env("LOCKGATE_TOOLS", tools())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if pictures {
        steps.arg(root.join("docs/images"));
    }
    steps.output().await.expect("node runs")
}

/// The alerts that fire, by name and storage.
async fn firing(prometheus: &Prometheus) -> Vec<(String, String)> {
    let alerts = prometheus.api("alerts").await;
    let alerts = alerts["alerts"].as_array().expect("a list");
    let label = |alert: &Value, name: &str| {
        alert["labels"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let firing = alerts.iter().filter(|it| it["state"] == "firing");
    firing
        .map(|it| (label(it, "alertname"), label(it, "storage")))
        .collect()
}

/// Every rule was evaluated without an error, and every alert says what to do.
async fn assert_rules_are_well(prometheus: &Prometheus) {
    let said = prometheus.api("rules").await;
    let groups = said["groups"].as_array().expect("a list");
    let rules: Vec<_> = groups
        .iter()
        .flat_map(|it| it["rules"].as_array().expect("a list"))
        .collect();
    assert_eq!(
        rules.len(),
        RULES.matches("- alert: ").count() + RULES.matches("- record: ").count()
    );
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        let runbook = rule["annotations"]["runbook"].as_str().unwrap_or_default();
        assert!(rule["type"] == "recording" || runbook.len() > 20, "{rule}");
    }
}

#[tokio::test]
async fn every_panel_of_the_dashboard_shows_what_happens_in_a_browser_and_an_alert_fires_at_a_fault()
 {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
    let driver = tools().join("node/node_modules/playwright-core").exists();
    let components = tools().join("dashboard/node_modules/@grafana/ui").exists();
    if !is_there(&chromium) || !is_there("node") || !driver || !components {
        let missing =
            "chromium, node, playwright-core or @grafana/ui is not installed: run tests/servers";
        assert!(!is_ci(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return;
    }
    let pictures = std::env::var_os("LOCKGATE_SCREENSHOTS").is_some();
    let time = if pictures { LONG } else { SHORT };
    let site = Site::start().await;
    let Some(prometheus) = site.prometheus().await else {
        return;
    };
    let begun = Instant::now();
    let looks = async {
        tokio::time::sleep(time).await;
        eventually("the alert of the storage that is down", async || {
            let firing = firing(&prometheus).await;
            let fails =
                |storage: &str| firing.contains(&("LockgateStorageFails".into(), storage.into()));
            assert!(!fails("recordings") && !fails("archive"), "{firing:?}");
            fails("vault").then_some(())
        })
        .await;
        assert_rules_are_well(&prometheus).await;
        draw(&prometheus, begun, pictures).await
    };
    let output = tokio::select! {
        output = looks => output,
        () = site.at_work(|| begun.elapsed().as_secs_f64() / time.as_secs_f64()) => unreachable!("annotators never end"),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    eprintln!("{said}");
    assert!(output.status.success(), "{said}");
}
