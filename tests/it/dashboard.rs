//! The dashboard and the alerts of `deploy/`, by a real Prometheus that scrapes two replicas at work: every query is
//! taken, every panel shows something, and an alert fires where a fault is.
//!
//! Grafana's server is in no package registry, so its component library draws the dashboard's file, in a browser. The
//! steps are in `tests/browser/dashboard.mjs`. With `LOCKGATE_SCREENSHOTS=1` they also take the picture of
//! `docs/images`, after six minutes of traffic.

mod site;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use crate::support::eventually;
use crate::support::garage::{is_ci, tools};
use crate::support::process::is_there;
use crate::support::prometheus::Prometheus;
use site::Site;

const RULES: &str = include_str!("../../deploy/prometheus/lockgate.rules.yml");

/// How much of the annotators' work is looked at.
struct Look {
    /// How long they work before.
    work: Duration,
    /// Seconds between two scrapes.
    scrape: u32,
    picture: bool,
}

const GLANCE: Look = Look {
    work: Duration::from_secs(20),
    scrape: 1,
    picture: false,
};
/// A plot's width of minutes.
const PICTURE: Look = Look {
    work: Duration::from_secs(360),
    scrape: 5,
    picture: true,
};

/// The rules, but for how long what they say has to be so before anybody is told.
fn without_patience(rules: &str) -> String {
    let lines = rules
        .lines()
        .filter(|line| !line.trim().starts_with("for: "));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Steps of a browser, which runs while the annotators work on.
async fn draw(prometheus: &Prometheus, begun: Instant, look: &Look) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut steps = Command::new("node");
    steps
        .arg(root.join("tests/browser/dashboard.mjs"))
        .arg(prometheus.url())
        .args([
            &begun.elapsed().as_secs().to_string(),
            &look.scrape.to_string(),
        ])
        .env("LOCKGATE_TOOLS", tools())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if look.picture {
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

/// Whether there is a browser with what drives it and what draws; without, it is said or, with `CI=true`, a failure.
fn is_installed() -> bool {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
    let packages = ["node/node_modules/playwright-core", "dashboard/complete"];
    let packages = packages.iter().all(|it| tools().join(it).exists());
    if is_there(&chromium) && is_there("node") && packages {
        return true;
    }
    let missing =
        "chromium, node, playwright-core or @grafana/ui is not installed: run tests/servers";
    assert!(!is_ci(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    false
}

#[tokio::test]
async fn every_panel_of_the_dashboard_shows_what_happens_in_a_browser_and_an_alert_fires_at_a_fault()
 {
    if !is_installed() {
        return;
    }
    let look = match std::env::var_os("LOCKGATE_SCREENSHOTS") {
        Some(_) => PICTURE,
        None => GLANCE,
    };
    let site = Site::start().await;
    let rules = without_patience(RULES);
    let Some(prometheus) = Prometheus::start(&site.scraped(), &rules, look.scrape).await else {
        return;
    };
    let begun = Instant::now();
    // On a picture it is to be seen coming back.
    let down_until = if look.picture { 0.8 } else { f64::INFINITY };
    let looks = async {
        tokio::time::sleep(look.work).await;
        eventually("the alert of the storage that is down", async || {
            let firing = firing(&prometheus).await;
            let fails =
                |storage: &str| firing.contains(&("LockgateStorageFails".into(), storage.into()));
            assert!(!fails("recordings") && !fails("archive"), "{firing:?}");
            fails("vault").then_some(())
        })
        .await;
        assert_rules_are_well(&prometheus).await;
        draw(&prometheus, begun, &look).await
    };
    let output = tokio::select! {
        output = looks => output,
        () = site.at_work(|| begun.elapsed().as_secs_f64() / look.work.as_secs_f64(), down_until) => unreachable!("annotators never end"),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    eprintln!("{said}");
    assert!(output.status.success(), "{said}");
}
