//! The demo's page in a real browser: it plays, seeks and revokes. The steps are in `tests/browser/demo.mjs`.
//!
//! `tests/servers` installs the browser and what drives it. Where they are missing, the test fails with `CI=true` and
//! says at a desk that it is skipped.

use std::path::Path;
use std::process::Command;

use crate::cli::printed_url;
use crate::support::eventually;
use crate::support::garage::{is_ci, tools};
use crate::support::process::{is_there, spawn};

#[tokio::test]
async fn the_demo_plays_seeks_and_revokes_in_a_browser() {
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = tempfile::tempdir().expect("a directory");
    let mut demo = spawn(&["demo", "--listen", "127.0.0.1:0"], directory.path());
    let url = eventually("a URL", async || printed_url(directory.path())).await;
    let output = Command::new("node")
        .arg(root.join("tests/browser/demo.mjs"))
        .arg(&url)
        .arg(root.join("target/demo"))
        .env("LOCKGATE_TOOLS", tools())
        .output()
        .expect("node runs");
    demo.kill().expect("it runs");
    demo.wait().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
