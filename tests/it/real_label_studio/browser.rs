//! The editor in a real browser; the steps are in `tests/browser/label_studio.mjs`, the screenshots below `target`.

use std::process::Command;

use super::Failures;
use super::instance::{Instance, root};
use crate::support::garage::{is_ci, tools};
use crate::support::process::is_there;

/// Every kind of media, twice.
pub async fn all(instance: &Instance, failures: &mut Failures) {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "chromium".into());
    let driver = tools().join("node/node_modules/playwright-core");
    if !is_there(&chromium) || !is_there("node") || !driver.exists() {
        assert!(
            !is_ci(),
            "chromium, node or playwright-core is not installed: run tests/servers"
        );
        eprintln!(
            "SKIPPED, for chromium, node or playwright-core is not installed: run tests/servers"
        );
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("node");
    command
        .arg(root().join("tests/browser/label_studio.mjs"))
        .arg(instance.write(directory.path()))
        .arg(root().join("target/label-studio/screenshots"))
        .env("LOCKGATE_TOOLS", tools());
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    let output = ran.expect("no panic").expect("node runs");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        failures.case("the editor in a browser", Ok(()));
    }
    for line in said.lines().filter(|_| !output.status.success()) {
        failures.case("the editor in a browser", Err(line.to_owned()));
    }
}
