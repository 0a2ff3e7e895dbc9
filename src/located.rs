//! TOML that can say where it is wrong: every error names the file, the line and the key, or the environment variable.
//!
//! Ground: reads no file itself and knows no section's meaning. Follows TOML 1.1; key paths are written
//! `storage[1].bucket`.

use std::collections::HashMap;
use std::fmt;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// One mistake, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The file as the operator named it; `None` for a value from the environment, whose variable is then `key`.
    pub file: Option<String>,
    /// The line, from 1; `None` where the file as a whole is meant.
    pub line: Option<usize>,
    /// The key's path (`storage[1].bucket`), or the environment variable; empty where the file as a whole is meant.
    pub key: String,
    /// What is wrong, and where it can be said what would be right.
    pub message: String,
}

impl Located {
    /// A mistake of a whole file: it is missing, or cannot be read.
    pub fn file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: Some(file.into()),
            line: None,
            key: String::new(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}: ")?,
            (Some(file), None) => write!(f, "{file}: ")?,
            (None, _) => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Every mistake that was found, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Located>);

impl std::error::Error for Problems {}

impl From<Located> for Problems {
    fn from(problem: Located) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}

/// A TOML document that remembers which line every key stands on, and which keys the environment has overridden.
#[derive(Clone, Debug)]
pub struct Document {
    file: Option<String>,
    tree: toml::Table,
    lines: HashMap<String, usize>,
    variables: HashMap<String, String>,
}

impl Document {
    /// Parses `source`; `file` is only for the messages (`None`: there is no file).
    pub fn parse(file: Option<&str>, source: &str) -> Result<Self, Located> {
        let line_of = line_index(source);
        let broken = |error: toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            Located {
                file: file.map(str::to_owned),
                line: Some(line_of(offset)),
                key: key_written_at(source, offset),
                message: error.message().to_owned(),
            }
        };
        let spanned = DeTable::parse(source).map_err(broken)?;
        let mut lines = HashMap::new();
        collect_table(spanned.get_ref(), "", &line_of, &mut lines);
        Ok(Self {
            file: file.map(str::to_owned),
            tree: source.parse().map_err(broken)?,
            lines,
            variables: HashMap::new(),
        })
    }

    /// The values, the overrides among them.
    pub fn tree(&self) -> &toml::Table {
        &self.tree
    }

    /// Whether a key is there, from the file or the environment.
    pub fn contains(&self, key: &str) -> bool {
        self.lines.contains_key(key) || self.variables.contains_key(key)
    }

    /// Puts a value at a key path on behalf of an environment variable, over what stands there.
    pub fn put(&mut self, key: &str, variable: &str, value: Value) {
        let mut node = &mut self.tree;
        let mut segments = key.split('.').peekable();
        while let Some(segment) = segments.next() {
            let (name, index) = split_index(segment);
            if segments.peek().is_none() && index.is_none() {
                node.insert(name.to_owned(), value);
                break;
            }
            let child = node
                .entry(name)
                .or_insert_with(|| Value::Table(toml::Table::new()));
            let child = match index {
                Some(index) if child.get(index).is_some() => &mut child[index],
                _ => child,
            };
            if !child.is_table() {
                *child = Value::Table(toml::Table::new());
            }
            let Value::Table(table) = child else { return };
            node = table;
        }
        self.variables.insert(key.to_owned(), variable.to_owned());
    }

    /// Appends a table to the array of tables at `key`, on behalf of an environment variable.
    pub fn append(&mut self, key: &str, variable: &str, table: toml::Table) {
        let array = self.tree.entry(key).or_insert_with(|| Value::Array(vec![]));
        if let Value::Array(items) = array {
            let path = format!("{key}[{}]", items.len());
            items.push(Value::Table(table));
            self.variables.insert(path, variable.to_owned());
        }
    }

    /// Reads the whole document.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Located> {
        self.read_part("", Value::Table(self.tree.clone()))
    }

    /// Reads a part of the document, that stands at the key path `at`. An unknown key, a value of the wrong type and
    /// a missing one are located; `T` should deny unknown fields.
    pub fn read_part<T: DeserializeOwned>(&self, at: &str, mut part: Value) -> Result<T, Located> {
        loop {
            let error = match serde_path_to_error::deserialize(part.clone()) {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            let relative = error.path().clone();
            let key = relative.iter().fold(at.to_owned(), |path, segment| {
                join(&path, &segment.to_string())
            });
            // A variable is text; where text does not fit (a number, a boolean), its TOML reading may.
            let reread = self.variables.contains_key(&key)
                && find(&mut part, relative.iter()).is_some_and(reread_as_toml);
            if !reread {
                return Err(self.explain(key, error.inner().message()));
            }
        }
    }

    /// An error about a key, with the line of it or of the nearest table around it.
    pub fn at(&self, key: &str, message: impl Into<String>) -> Located {
        let mut place = key;
        loop {
            let variable = self.variables.get(place);
            let variable = variable.or_else(|| self.variable_below(place).filter(|_| place == key));
            if let Some(variable) = variable {
                return Located {
                    file: None,
                    line: None,
                    key: variable.clone(),
                    message: message.into(),
                };
            }
            let line = self.lines.get(place).copied();
            if line.is_some() || place.is_empty() {
                return Located {
                    file: self.file.clone(),
                    line: line.or(self.file.as_ref().map(|_| 1)),
                    key: key.to_owned(),
                    message: message.into(),
                };
            }
            place = place.rfind(['.', '[']).map_or("", |end| &place[..end]);
        }
    }

    /// The variable without which a table would not be there.
    fn variable_below(&self, table: &str) -> Option<&String> {
        let below = |key: &str| {
            key.strip_prefix(table)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        let named = self.variables.iter().filter(|(key, _)| below(key));
        let first = named.map(|(_, variable)| variable).min();
        first.filter(|_| !self.lines.contains_key(table))
    }

    fn explain(&self, key: String, message: &str) -> Located {
        if let Some(field) = quoted(message, "missing field ") {
            return self.at(&join(&key, field), "is missing");
        }
        if let Some(field) = quoted(message, "unknown field ") {
            let known = message.split('`').skip(3).step_by(2);
            let nearest = nearest(field, known);
            let hint = nearest.map(|known| format!("; did you mean `{known}`?"));
            let hint = hint.unwrap_or_default();
            return self.at(&key, format!("unknown key `{field}`{hint}"));
        }
        let message = message.trim();
        if self.variables.contains_key(&key) && message.ends_with("expected a sequence") {
            let message = format!("{message}; in the environment a list is written [\"…\"]");
            return self.at(&key, message);
        }
        if message.starts_with("invalid type: map") && message.ends_with("expected a sequence") {
            return self.at(
                &key,
                format!("{message}; each of a list is written [[{key}]]"),
            );
        }
        self.at(&key, message)
    }
}

/// The known word that `word` is most likely a misspelling of, if any is near.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let ranked = known.map(|candidate| (edits(word, candidate), candidate));
    let (distance, candidate) = ranked.min()?;
    (distance <= 1 + word.len() / 3).then_some(candidate)
}

/// Levenshtein's distance over bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    let rest = message.strip_prefix(before)?.strip_prefix('`')?;
    rest.split('`').next()
}

fn join(path: &str, segment: &str) -> String {
    match (path, segment) {
        ("", _) => segment.to_owned(),
        (_, ".") => path.to_owned(),
        _ if segment.starts_with('[') => format!("{path}{segment}"),
        _ => format!("{path}.{segment}"),
    }
}

/// `storage[1]` is `storage` and 1.
fn split_index(segment: &str) -> (&str, Option<usize>) {
    let indexed = segment.strip_suffix(']').and_then(|s| s.split_once('['));
    match indexed.map(|(name, index)| (name, index.parse())) {
        Some((name, Ok(index))) => (name, Some(index)),
        _ => (segment, None),
    }
}

fn find<'v, 's>(
    mut value: &'v mut Value,
    path: impl Iterator<Item = &'s Segment>,
) -> Option<&'v mut Value> {
    for segment in path {
        value = match segment {
            Segment::Seq { index } => value.get_mut(*index)?,
            Segment::Map { key } => value.get_mut(key.as_str())?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        };
    }
    Some(value)
}

/// Reads text as the TOML value it spells; false where it spells none, or text again.
fn reread_as_toml(value: &mut Value) -> bool {
    let spelled = value.as_str().and_then(spelled);
    match spelled {
        Some(spelled) if !spelled.is_str() => {
            *value = spelled;
            true
        }
        _ => false,
    }
}

/// The TOML value that a text spells, if it spells one.
pub fn spelled(text: &str) -> Option<Value> {
    let table: toml::Table = format!("value = {text}").parse().ok()?;
    (table.len() == 1)
        .then(|| table.get("value").cloned())
        .flatten()
}

fn collect_table(
    table: &DeTable<'_>,
    path: &str,
    line_of: &impl Fn(usize) -> usize,
    lines: &mut HashMap<String, usize>,
) {
    for (key, value) in table {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), line_of(key.span().start));
        collect_value(value.get_ref(), &path, line_of, lines);
    }
}

fn collect_value(
    value: &DeValue<'_>,
    path: &str,
    line_of: &impl Fn(usize) -> usize,
    lines: &mut HashMap<String, usize>,
) {
    match value {
        DeValue::Table(table) => collect_table(table, path, line_of, lines),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                lines.insert(path.clone(), line_of(item.span().start));
                collect_value(item.get_ref(), &path, line_of, lines);
            }
        }
        _ => {}
    }
}

fn line_index(source: &str) -> impl Fn(usize) -> usize {
    let newlines: Vec<usize> = source.match_indices('\n').map(|(at, _)| at).collect();
    move |offset| 1 + newlines.partition_point(|&newline| newline < offset)
}

/// What stands left of the `=` on the line of a syntax error, for want of a key path.
fn key_written_at(source: &str, offset: usize) -> String {
    let before = source.get(..offset).unwrap_or(source);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = source[start..].lines().next().unwrap_or_default();
    // Only what is surely a key: a line of some multi-line value may be part of a secret.
    let key = match line.split_once('=') {
        Some((key, _)) => key,
        None if line.trim_start().starts_with('[') => line,
        None => "",
    };
    let key = key.trim().trim_matches(['[', ']']);
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.\"".contains(c);
    if key.chars().all(plain) {
        key.to_owned()
    } else {
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_every_form_that_toml_has() {
        let source =
            "top = 1\n[a.b]\nc.d = 2\n[[list]]\nx = [\n 1,\n 2 ]\n[[list]]\ny = { z = 3 }\n";
        let document = Document::parse(Some("file"), source).expect("it parses");
        for (key, line) in [
            ("top", 1),
            ("a.b", 2),
            ("a.b.c.d", 3),
            ("list[0]", 4),
            ("list[0].x[1]", 7),
            ("list[1].y.z", 9),
            ("list[1].missing", 8),
            ("nowhere", 1),
        ] {
            assert_eq!(document.at(key, "").line, Some(line), "{key}");
        }
    }

    #[test]
    fn a_table_that_only_a_variable_made_is_named_by_the_variable() {
        let mut document = Document::parse(Some("file"), "[server]\n").expect("it parses");
        for (key, variable) in [("server.foo.bar", "FOO"), ("server.listen", "LISTEN")] {
            document.put(key, variable, Value::from("1"));
        }
        for (key, shown) in [
            ("server.foo", "FOO"),
            ("server.foo.bar", "FOO"),
            ("server", "server"),
            ("server.fo", "server.fo"),
            ("server.missing", "server.missing"),
        ] {
            assert_eq!(document.at(key, "").key, shown, "{key}");
        }
    }

    #[test]
    fn a_syntax_error_is_located_and_shows_no_value() {
        let source = "[auth]\nsecret = \"hunter2\n";
        let problem = Document::parse(Some("file"), source).expect_err("it is broken");
        assert_eq!((problem.line, problem.key.as_str()), (Some(2), "secret"));
        assert!(!problem.to_string().contains("hunter2"));
    }
}
