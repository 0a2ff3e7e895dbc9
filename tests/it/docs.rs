//! The book, held: every fenced block of `README.md` and `docs/` runs, or says beside it why it cannot; every setting is
//! named; every link leads somewhere; `docs/openapi.yaml` says what the server does. The work is done by `tests/docs`
//! (Python, in the environment of `tests/servers`), which is there for people as well.
//!
//! Where that environment is missing, the tests fail with `CI=true` and say at a desk that they are skipped.

use std::path::Path;
use std::process::Command;

use crate::support::garage::{is_ci, tools};

/// How `tests/docs` says that what it needs is not installed.
const NOT_INSTALLED: i32 = 3;

/// Runs some of it, and shows what it says: the blocks that cannot run are listed with their reasons.
fn docs(parts: &[&str]) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join("tests/docs"))
        .args(parts)
        .env("LOCKGATE", env!("CARGO_BIN_EXE_lockgate"))
        .env("LOCKGATE_TOOLS", tools())
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    eprintln!("{said}");
    if output.status.code() == Some(NOT_INSTALLED) {
        assert!(!is_ci(), "{said}");
        eprintln!("SKIPPED, for what tests/docs needs is not installed: run tests/servers");
        return (true, said);
    }
    (output.status.success(), said)
}

#[test]
fn every_block_of_the_book_runs_or_says_why_it_cannot() {
    let (well, said) = docs(&[]);
    assert!(well, "{said}");
}
