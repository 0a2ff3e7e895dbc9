//! Prometheus, the real server (Debian's), scraping gateways, with the rules of `deploy/prometheus`.
//!
//! `tests/servers` installs it. Where it is missing, the test fails with `CI=true` and says at a desk that it is skipped.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::client::Client;
use super::eventually;
use super::garage::is_ci;
use super::process::is_there;

/// A running server; killed when dropped, and by the kernel when the test's thread ends otherwise.
pub struct Prometheus {
    process: Child,
    client: Client,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these replicas, each a name and an address, as the job `lockgate` every so many seconds,
    /// and that evaluates `rules` every second; `None` where it is not installed and may be skipped.
    pub async fn start(replicas: &[(&str, String)], rules: &str, scrape: u32) -> Option<Self> {
        if !is_there("prometheus") {
            assert!(!is_ci(), "prometheus is not installed: run tests/servers");
            eprintln!("SKIPPED, for prometheus is not installed: run tests/servers");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
        write("rules.yml", rules).expect("it is written");
        write("prometheus.yml", &configuration(replicas, scrape)).expect("it is written");
        let mut process = serve(directory.path());
        let address = eventually("Prometheus listens", async || {
            let log = std::fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            let ended = process.try_wait().expect("its state is known");
            assert!(ended.is_none(), "Prometheus ends: {log}");
            let said = log.lines().find(|line| line.contains("Listening on"))?;
            Some(said.split("address=").nth(1)?.trim().to_owned())
        });
        let client = Client::new(format!("http://{}", address.await));
        Some(Self {
            process,
            client,
            _directory: directory,
        })
    }

    /// Where it answers.
    pub fn url(&self) -> &str {
        self.client.base()
    }

    /// What its API says below `/api/v1/`.
    pub async fn api(&self, path: &str) -> Value {
        let answer = self.client.get(format!("/api/v1/{path}")).answer().await;
        let mut said = answer.json();
        assert_eq!(said["status"], "success", "{path}: {said}");
        said["data"].take()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(replicas: &[(&str, String)], scrape: u32) -> String {
    let mut text = format!(
        "global: {{ scrape_interval: {scrape}s, scrape_timeout: {scrape}s, evaluation_interval: 1s }}\n\
         rule_files: [rules.yml]\nscrape_configs:\n  - job_name: lockgate\n    static_configs:\n"
    );
    for (name, address) in replicas {
        text += &format!("      - {{ targets: ['{address}'], labels: {{ instance: {name} }} }}\n");
    }
    text
}

/// On a port that the system chooses, which its log names.
fn serve(directory: &Path) -> Child {
    let log = File::create(directory.join("log")).expect("a file");
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "prometheus"])
        .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
        .arg("--web.listen-address=127.0.0.1:0")
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("Prometheus starts")
}
