//! The environment as a source of configuration: `LOCKGATE__…` over the file, Label Studio's variables under it.

use std::collections::HashMap;

use toml::Value;

use crate::located::{Document, Located, spelled};

const PREFIX: &str = "LOCKGATE__";

/// What was noticed while the environment was merged.
#[derive(Default)]
pub struct Merged {
    /// What cannot be placed.
    pub problems: Vec<Located>,
    /// What is not used, in words that name it.
    pub warnings: Vec<String>,
}

/// Merges the environment into the document.
pub fn merge(document: &mut Document, environment: &HashMap<String, String>) -> Merged {
    let mut merged = Merged::default();
    label_studio(document, environment, &mut merged);
    // In a fixed order, so that `…__HMAC_SECRET` comes before `…__HMAC_SECRET__ENV` on every run.
    let mut variables: Vec<_> = environment.iter().collect();
    variables.sort();
    for (variable, text) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        match key_path(document, rest) {
            Ok(key) => document.put(&key, variable, value(text)),
            Err(message) => merged.problems.push(misplaced(variable, message)),
        }
    }
    merged
}

/// Lists and tables as TOML writes them; all else is text, until a key turns out to want a number or a boolean.
fn value(text: &str) -> Value {
    let structured = text.starts_with(['[', '{', '"']).then(|| spelled(text));
    let structured = structured.flatten();
    structured.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn key_path(document: &Document, rest: &str) -> Result<String, String> {
    if let Some(rest) = rest.strip_prefix("STORAGE__") {
        return storage_key_path(document, rest);
    }
    let segments: Vec<String> = rest.split("__").map(str::to_lowercase).collect();
    if segments.len() < 2 || segments.iter().any(String::is_empty) {
        return Err("expected LOCKGATE__SECTION__KEY".to_owned());
    }
    Ok(segments.join("."))
}

/// The longest id wins, so that the storages `a` and `a__b` are told apart.
fn storage_key_path(document: &Document, rest: &str) -> Result<String, String> {
    let storages = document.tree().get("storage").and_then(Value::as_array);
    let ids = storages.into_iter().flatten().map(|storage| {
        let id = storage.get("id").and_then(Value::as_str);
        id.unwrap_or_default().to_owned()
    });
    let place = |(index, id): (usize, String)| {
        let key = rest.strip_prefix(&in_environment(&id))?;
        let key = key.strip_prefix("__").filter(|key| !key.is_empty())?;
        Some((
            id.len(),
            format!("storage[{index}].{}", key.to_lowercase().replace("__", ".")),
        ))
    };
    let found = ids.enumerate().filter_map(place).max();
    found
        .map(|(_, key)| key)
        .ok_or_else(|| "no storage has this id".to_owned())
}

/// A storage's id as a variable spells it.
fn in_environment(id: &str) -> String {
    let spell = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    id.chars().map(spell).collect()
}

/// Label Studio's names for settings that Lockgate has too; the file wins over them.
fn label_studio(
    document: &mut Document,
    environment: &HashMap<String, String>,
    merged: &mut Merged,
) {
    let aliases = [
        (
            "RESOLVER_PROXY_MAX_RANGE_SIZE",
            "delivery.max_range_size",
            "B",
            "bytes",
        ),
        (
            "RESOLVER_PROXY_TIMEOUT",
            "delivery.stall_timeout",
            "s",
            "seconds",
        ),
    ];
    for (variable, key, unit, plural) in aliases {
        let Some(text) = environment.get(variable) else {
            continue;
        };
        if document.contains(key) {
            continue;
        }
        match text.trim().parse::<u64>() {
            Ok(number) => document.put(key, variable, Value::String(format!("{number}{unit}"))),
            Err(_) => merged.problems.push(misplaced(
                variable,
                format!("expected a whole number of {plural}"),
            )),
        }
    }
    merged.warnings.extend(local_files(document, environment));
}

/// Adds the storage that Label Studio's variables mean; a warning where a configured one stands in its place.
fn local_files(document: &mut Document, environment: &HashMap<String, String>) -> Option<String> {
    const ROOT: &str = "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT";
    let enabled = environment.get("LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED");
    let enabled = enabled.is_some_and(|value| {
        let value = value.trim().to_lowercase();
        matches!(value.as_str(), "1" | "true" | "yes" | "on" | "t" | "y")
    });
    let root = environment.get(ROOT).filter(|_| enabled)?;
    let storages = document.tree().get("storage").and_then(Value::as_array);
    let local = |storage: &Value| {
        storage.get("kind").and_then(Value::as_str) == Some("local")
            || storage.get("id").and_then(Value::as_str) == Some("local-files")
    };
    if storages.into_iter().flatten().any(local) {
        let warning = "not used: a local storage is configured, and its root stands";
        return Some(misplaced(ROOT, warning).to_string());
    }
    let storage = [("id", "local-files"), ("kind", "local"), ("root", root)];
    let storage = storage.map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())));
    document.append("storage", ROOT, storage.into_iter().collect());
    None
}

fn misplaced(variable: &str, message: impl Into<String>) -> Located {
    Located {
        file: None,
        line: None,
        key: variable.to_owned(),
        message: message.into(),
    }
}
