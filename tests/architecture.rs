//! The arrows between rooms, held: which room may use which, no cycle, and the nevers of ARCHITECTURE.md.
//!
//! Reads `src` as text: comments and literals are blanked, then paths from `crate`, `lockgate` and `super` are
//! followed. Code behind `#[cfg(test)]` is not looked at: a test is a client of its room, and may call who it likes.

mod arrows;

use arrows::{Source, Tree};

/// What imports nothing above it.
const GROUND: &[&str] = &[
    "ask",
    "ids",
    "located",
    "media_uri",
    "object",
    "project",
    "range",
    "secret",
    "signed",
    "telemetry",
];

/// Every room, and the rooms that it may use beside the ground.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["app", "cli"]),
    (
        "cli",
        &[
            "app",
            "config",
            "serve",
            "auth",
            "authority",
            "access",
            "resolve",
            "content",
            "cache",
            "backend",
        ],
    ),
    (
        "app",
        &[
            "config",
            "serve",
            "auth",
            "authority",
            "access",
            "resolve",
            "content",
            "cache",
            "backend",
        ],
    ),
    // `config` composes the rooms' own sections, so it names their types; no room names it.
    (
        "config",
        &[
            "serve",
            "auth",
            "authority",
            "access",
            "resolve",
            "content",
            "cache",
            "backend",
        ],
    ),
    (
        "serve",
        &[
            "auth",
            "authority",
            "access",
            "resolve",
            "content",
            "cache",
            "backend",
        ],
    ),
    // Models and fuzz targets: a client of what it judges, and no part of the gateway.
    (
        "fuzzing",
        &["serve", "auth", "authority", "resolve", "cache", "backend"],
    ),
    ("auth", &[]),
    ("authority", &["auth"]),
    ("access", &["auth", "authority"]),
    ("resolve", &["access"]),
    ("content", &["resolve", "cache", "backend"]),
    ("cache", &[]),
    ("backend", &[]),
    ("ask", &[]),
    ("ids", &[]),
    ("located", &[]),
    ("media_uri", &[]),
    ("object", &[]),
    ("project", &[]),
    ("range", &[]),
    ("secret", &[]),
    ("signed", &[]),
    ("telemetry", &[]),
];

/// Words that stay where they are: what, and the only places (path prefixes below `src`) that may say it.
struct Confined {
    what: &'static str,
    /// Whether a word of the blanked source is meant.
    is: fn(&str) -> bool,
    only_in: &'static [&'static str],
}

/// The crates of the S3 SDK by how their names begin (`aws_lc_rs`, the house's cryptography, is none of them).
const SDK: &[&str] = &[
    "aws_config",
    "aws_credential",
    "aws_sdk",
    "aws_sig",
    "aws_smithy",
];

const CONFINED: &[Confined] = &[
    Confined {
        what: "a type of the S3 SDK",
        is: |word| SDK.iter().any(|crates| word.starts_with(crates)),
        only_in: &["backend/s3", "backend/gcs/aws"],
    },
    Confined {
        what: "the embedded S3 server",
        is: |word| word == "s3s",
        only_in: &["cli/demo"],
    },
    Confined {
        // Backends and the clients of key sets and Label Studio read statuses; they choose none.
        what: "a status code",
        is: |word| word == "StatusCode",
        only_in: &["serve/", "cli/demo", "backend/", "auth/jwks", "ask"],
    },
    Confined {
        what: "a token library's type",
        is: |word| word == "jsonwebtoken",
        only_in: &["auth/", "config/", "cli/"],
    },
];

/// Decisions that do no I/O, so that they can be tested as tables.
const PURE: &[&str] = &[
    "access.rs",
    "range.rs",
    "media_uri.rs",
    "resolve/",
    "content/plan.rs",
    "serve/preconditions.rs",
    "serve/request.rs",
    "serve/task_json/",
];

/// What I/O looks like.
const IO: &[&str] = &["await", "fs", "net", "tokio", "hyper"];

/// What knows objects and never people.
const BLIND: &[&str] = &["cache/", "backend/", "content/", "object.rs"];

/// A person's names.
const PEOPLE: &[&str] = &["Subject", "Annotator"];

fn may_use(from: &str) -> Option<Vec<&'static str>> {
    let (_, rooms) = ARROWS.iter().find(|(room, _)| *room == from)?;
    let ground = GROUND.iter().filter(|room| **room != from);
    Some(rooms.iter().chain(ground).copied().collect())
}

fn foreign_arrows(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for arrow in tree.arrows() {
        match may_use(&arrow.from) {
            None => found.push(format!(
                "{}: room `{}` is not in the table",
                arrow.at, arrow.from
            )),
            Some(rooms) if !rooms.contains(&arrow.to.as_str()) => found.push(format!(
                "{}: `{}` may not use `{}`",
                arrow.at, arrow.from, arrow.to
            )),
            Some(_) => {}
        }
    }
    found
}

fn confined_words(tree: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for rule in CONFINED {
        let elsewhere = |path: &str| !rule.only_in.iter().any(|place| path.starts_with(place));
        for (at, word) in tree.words(elsewhere) {
            if (rule.is)(&word) {
                found.push(format!(
                    "{at}: {} (`{word}`) outside {:?}",
                    rule.what, rule.only_in
                ));
            }
        }
    }
    found
}

fn words_in(tree: &Tree, places: &[&str], words: &[&str], complaint: &str) -> Vec<String> {
    let here = |path: &str| places.iter().any(|place| path.starts_with(place));
    tree.words(here)
        .filter(|(_, word)| words.contains(&word.as_str()))
        .map(|(at, word)| format!("{at}: {complaint} (`{word}`)"))
        .collect()
}

fn assert_none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn no_room_uses_another_but_by_the_table() {
    assert_none(foreign_arrows(&Tree::of_this_package()));
}

#[test]
fn rooms_form_no_cycle() {
    let cycle = Tree::of_this_package().cycle();
    assert!(
        cycle.is_none(),
        "\n{}",
        cycle.unwrap_or_default().join("\n")
    );
}

#[test]
fn the_table_and_the_tree_name_the_same_rooms() {
    let mut in_table: Vec<_> = ARROWS.iter().map(|(room, _)| room.to_string()).collect();
    in_table.sort();
    assert_eq!(Tree::of_this_package().rooms(), in_table);
}

#[test]
fn providers_types_tokens_and_status_codes_stay_where_they_belong() {
    assert_none(confined_words(&Tree::of_this_package()));
}

#[test]
fn decisions_do_no_io() {
    let tree = Tree::of_this_package();
    assert_none(words_in(&tree, PURE, IO, "I/O in a pure room"));
}

#[test]
fn what_knows_objects_never_knows_people() {
    let tree = Tree::of_this_package();
    assert_none(words_in(
        &tree,
        BLIND,
        PEOPLE,
        "a person in a room that knows none",
    ));
}

fn planted(files: &[(&str, &str)]) -> Tree {
    Tree::new(
        files
            .iter()
            .map(|(path, text)| Source::read(path, text))
            .collect(),
    )
}

#[test]
fn a_planted_foreign_arrow_is_caught_with_file_and_line() {
    for (path, text, caught) in [
        (
            "cache/mod.rs",
            "\nuse crate::backend::Backend;",
            "src/cache/mod.rs:2: `cache` may not use `backend`",
        ),
        (
            "content/read.rs",
            "use crate::{\n  ids::StorageId,\n  auth::{self, Annotator},\n};",
            "src/content/read.rs:3: `content` may not use `auth`",
        ),
        (
            "auth/mod.rs",
            "fn f() { crate::config::load() }",
            "src/auth/mod.rs:1: `auth` may not use `config`",
        ),
        (
            "access.rs",
            "use super::serve;",
            "src/access.rs:1: `access` may not use `serve`",
        ),
        (
            "auth/token.rs",
            "use super::super::content::Reader;",
            "src/auth/token.rs:1: `auth` may not use `content`",
        ),
        (
            "telemetry/mod.rs",
            "type T = lockgate::cache::CacheStatus;",
            "src/telemetry/mod.rs:1: `telemetry` may not use `cache`",
        ),
        (
            "serve/mod.rs",
            "use crate as house;",
            "src/serve/mod.rs:1: `serve` may not use `crate`",
        ),
        (
            "attic/mod.rs",
            "use crate::ids::TaskId;",
            "src/attic/mod.rs:1: room `attic` is not in the table",
        ),
    ] {
        assert_eq!(foreign_arrows(&planted(&[(path, text)])), [caught]);
    }
}

#[test]
fn words_in_comments_literals_and_tests_are_no_arrows() {
    let text = r##"
        //! See [`crate::serve`].
        /* crate::app /* crate::cli */ crate::config */
        const A: &str = "crate::serve \" crate::app";
        const B: &str = r#"crate::serve " crate::app"#;
        const C: char = '"';
        fn lifetime<'a>(x: &'a str) -> &'a str { x }
        pub(crate) fn f() -> crate::ids::TaskId { todo!() }
        #[cfg(test)]
        #[allow(dead_code)]
        mod tests { use crate::app; fn g() { if true { crate::cli::h() } } }
        #[cfg(test)]
        use crate::serve::X;
    "##;
    assert_none(foreign_arrows(&planted(&[("cache/mod.rs", text)])));
}

#[test]
fn a_planted_cycle_is_caught_even_where_each_arrow_is_allowed() {
    let tree = planted(&[
        ("ids.rs", "use crate::object::ETag;"),
        ("object.rs", "\n\nuse crate::project::Task;"),
        ("project.rs", "use crate::ids::TaskId;"),
    ]);
    assert_none(foreign_arrows(&tree));
    assert_eq!(
        tree.cycle().expect("a cycle"),
        [
            "src/ids.rs:1: `ids` uses `object`",
            "src/object.rs:3: `object` uses `project`",
            "src/project.rs:1: `project` uses `ids`",
        ]
    );
}

#[test]
fn a_planted_provider_type_status_io_and_person_are_caught() {
    let tree = planted(&[
        (
            "content/mod.rs",
            "use aws_sdk_s3::Client;\nuse http::StatusCode;",
        ),
        ("access.rs", "fn f() { std::fs::read(p) }"),
        ("cache/key.rs", "struct Key { who: Subject }"),
    ]);
    assert_eq!(confined_words(&tree).len(), 2);
    assert_eq!(words_in(&tree, PURE, IO, "I/O").len(), 1);
    assert_eq!(words_in(&tree, BLIND, PEOPLE, "person").len(), 1);
}
