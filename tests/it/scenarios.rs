//! The scenario tables of `docs/scenarios`, held: every test that a row names is there.

use std::collections::HashSet;
use std::path::Path;

/// The text of every file below a directory whose name ends so.
fn texts(directory: &Path, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(texts(&path, ending));
        } else if path
            .extension()
            .is_some_and(|extension| extension == ending)
        {
            let text = std::fs::read_to_string(&path).expect("text");
            found.push((path.display().to_string(), text));
        }
    }
    found
}

/// The names of all functions in the sources: a test's is among them.
fn functions() -> HashSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = HashSet::new();
    for place in ["src", "tests"] {
        for (_, text) in texts(&root.join(place), "rs") {
            for rest in text.split("fn ").skip(1) {
                let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
                names.insert(rest.chars().take_while(is_name).collect());
            }
        }
    }
    names
}

/// The rows of a table `| case | promise | test |`, without its head.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    let cells = lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    let is_row = |row: &Vec<&str>| row[0] != "case" && !row[0].starts_with("---");
    cells.filter(is_row).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// What is wrong with a table.
fn mistakes(file: &str, text: &str, functions: &HashSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    for row in rows(text) {
        let tests = row.get(2).map(|cell| quoted(cell)).unwrap_or_default();
        if row.len() != 3 || tests.is_empty() {
            found.push(format!("{file}: no case, promise and test: {row:?}"));
        }
        for test in tests {
            if !functions.contains(test) {
                found.push(format!("{file}: there is no test `{test}`"));
            }
        }
    }
    found
}

#[test]
fn every_test_that_a_scenario_names_is_there() {
    let functions = functions();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/scenarios");
    let tables = texts(&root, "md");
    assert!(!tables.is_empty(), "no table");
    let mut found = Vec::new();
    for (file, text) in &tables {
        assert!(!rows(text).is_empty(), "{file}: no row");
        found.extend(mistakes(file, text, &functions));
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_row_that_names_no_test_or_one_that_is_not_there_is_caught() {
    let functions = HashSet::from(["a_test".to_owned()]);
    let table = |row: &str| format!("| case | promise | test |\n|---|---|---|\n{row}\n");
    let wrong = |row: &str| mistakes("t.md", &table(row), &functions).len();
    assert_eq!(wrong("| this | that | `a_test` |"), 0);
    assert_eq!(wrong("| this | that | `a_test`, `another` |"), 1);
    assert_eq!(wrong("| this | that | a_test |"), 1);
    assert_eq!(wrong("| this | `a_test` |"), 1);
}
