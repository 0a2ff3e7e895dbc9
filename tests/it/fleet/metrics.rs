//! What Prometheus's own tool says of a scrape.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::content::Pattern;
use crate::support::garage::is_ci;
use crate::support::{gateway_over_store, uri};

#[tokio::test]
async fn promtool_finds_nothing_to_say_of_a_scrape() {
    let (store, gateway) = gateway_over_store().await;
    store.generate("media", "a.mp4", Pattern(1), 100_000);
    let path = uri::project("1", "s3://media/a.mp4");
    for subject in ["anna", "anna", "eve"] {
        gateway.client().get(&path).by(subject).answer().await;
    }
    let scrape = gateway.metrics().await;
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = promtool else {
        assert!(!is_ci(), "promtool is not installed: run tests/servers");
        return eprintln!("SKIPPED, for promtool is not installed: run tests/servers");
    };
    let mut to = promtool.stdin.take().expect("it is piped");
    to.write_all(scrape.as_bytes()).expect("it reads");
    drop(to);
    let output = promtool.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
