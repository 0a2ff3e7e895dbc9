//! The book, held: every fenced block of `README.md`, `docs/`, `deploy/README.md` and `load-tests/README.md` runs, or says
//! beside it why it cannot; every setting is named; every link leads somewhere; `docs/openapi.yaml` says what the server does. The work is done by `tests/docs`
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

#[test]
fn a_block_that_is_wrong_unknown_or_left_out_without_a_reason_is_caught() {
    let page = |text: &str| {
        let directory = tempfile::tempdir().expect("a directory");
        let page = directory.path().join("page.md");
        std::fs::write(&page, text).expect("it is written");
        docs(&[page.to_str().expect("UTF-8")])
    };
    let (well, said) =
        page("```sh\ntrue\n```\n<!-- not run: needs the moon -->\n```sh\nfalse\n```\n");
    if said.contains("not installed") {
        return;
    }
    assert!(well && said.contains("page.md:5: needs the moon"), "{said}");
    for (text, words) in [
        ("```sh\nfalse | cat\n```\n", "ended with 1"),
        ("```toml\n[cache]\nmemori = \"1MiB\"\n```\n", "memori"),
        ("```toml\n[cache]\nmemory = 1\n```\n", "cache.memory"),
        ("```toml\n[[project]]\nid = \"1\"\n```\n", "storages"),
        (
            "<!-- within: storage s3 -->\n```toml\nroot = \"x\"\n```\n",
            "root",
        ),
        ("```python\nassert False\n```\n", "AssertionError"),
        ("```ts\nconst n: number = 'one';\n```\n", "TS2322"),
        ("```nginx\nproxy_pas x;\n```\n", "proxy_pas"),
        ("```cobol\nSTOP RUN.\n```\n", "not run: REASON"),
        ("```\nlockgate serve\n```\n", "not run: REASON"),
        ("<!-- not run: -->\n```sh\ntrue\n```\n", "needs its reason"),
    ] {
        let (well, said) = page(text);
        assert!(!well && said.contains(words), "{text}{said}");
    }
}
