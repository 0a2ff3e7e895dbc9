//! A small reader of Rust source: enough to follow paths from one top-level module to another.
//!
//! Not a parser: it blanks what is no code (comments, literals, `#[cfg(test)]` items) and looks at words.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One file: its path below `src`, and its code with everything else blanked, line for line.
pub struct Source {
    path: String,
    code: String,
}

/// One room's use of another.
pub struct Arrow {
    pub from: String,
    pub to: String,
    /// `src/file:line`.
    pub at: String,
}

/// The files of a package.
pub struct Tree {
    sources: Vec<Source>,
}

impl Source {
    pub fn read(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            code: blank_tests(&blank_comments_and_literals(text)),
        }
    }

    fn at(&self, offset: usize) -> String {
        let line = self.code[..offset].matches('\n').count() + 1;
        format!("src/{}:{line}", self.path)
    }

    /// A file of tests alone: `tests.rs`, or one below a `tests` directory.
    fn is_of_tests(&self) -> bool {
        self.module().contains(&"tests")
    }

    /// The module's path: `serve/media.rs` is `[serve, media]`, `serve/mod.rs` is `[serve]`.
    fn module(&self) -> Vec<&str> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        stem.strip_suffix("/mod")
            .unwrap_or(stem)
            .split('/')
            .collect()
    }

    /// Words with the offset they begin at.
    fn words(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let code = &self.code;
        let mut rest = 0;
        std::iter::from_fn(move || {
            let start = rest + code[rest..].find(is_word)?;
            let len = code[start..]
                .find(|c| !is_word(c))
                .unwrap_or(code.len() - start);
            rest = start + len;
            Some((start, &code[start..rest]))
        })
    }

    /// The first names of the paths that begin at the crate's root: what comes after `crate::`, `lockgate::`, or
    /// as many `super::` as lead up there.
    fn names_from_root(&self) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        let depth = self.module().len();
        let mut supers = 0;
        let mut after_super = 0;
        for (start, word) in self.words() {
            let after = start + word.len();
            match word {
                "crate" | "lockgate" => self.follow(after, word, &mut found),
                "super" => {
                    let continues = supers > 0 && self.code[after_super..start].trim() == "::";
                    supers = if continues { supers + 1 } else { 1 };
                    after_super = after;
                    if supers == depth {
                        self.follow(after, word, &mut found);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Reads on behind `crate`: one name, each first name of a group, or `as` and `*`, which hide names.
    fn follow<'a>(&'a self, after: usize, root: &'a str, found: &mut Vec<(usize, &'a str)>) {
        let rest = &self.code[after..];
        if rest.trim_start().starts_with("as ") {
            found.push((after, root));
            return;
        }
        let Some(path) = rest.trim_start().strip_prefix("::") else {
            return;
        };
        let begin = after + (rest.len() - rest.trim_start().len()) + 2;
        if !path.trim_start().starts_with('{') {
            let (start, name) = first_word(&self.code, begin);
            found.push((start, name));
            return;
        }
        let open = begin + path.find('{').unwrap_or(0);
        let mut depth = 0usize;
        let mut expects_name = false;
        for (offset, c) in self.code[open..].char_indices() {
            match c {
                '{' => {
                    depth += 1;
                    expects_name = depth == 1;
                }
                '}' if depth == 1 => return,
                '}' => depth -= 1,
                ',' => expects_name = depth == 1,
                c if expects_name && !c.is_whitespace() => {
                    found.push(first_word(&self.code, open + offset));
                    expects_name = false;
                }
                _ => {}
            }
        }
    }
}

/// The word (or the one mark, as `*`) that begins at or after `from`.
fn first_word(code: &str, from: usize) -> (usize, &str) {
    let start = from + (code[from..].len() - code[from..].trim_start().len());
    let rest = &code[start..];
    let len = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    (start, &rest[..len.max(1).min(rest.len())])
}

impl Tree {
    pub fn new(sources: Vec<Source>) -> Self {
        Self { sources }
    }

    pub fn of_this_package() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut sources = Vec::new();
        let mut directories = vec![root.clone()];
        while let Some(directory) = directories.pop() {
            for path in entries(&directory) {
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let below = path
                        .strip_prefix(&root)
                        .expect("below src")
                        .to_string_lossy();
                    let text = std::fs::read_to_string(&path).expect("a source is readable");
                    sources.push(Source::read(&below, &text));
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources.retain(|source| !source.is_of_tests());
        Self::new(sources)
    }

    /// The top-level modules and the binary.
    pub fn rooms(&self) -> Vec<String> {
        let mut rooms: Vec<_> = self
            .sources
            .iter()
            .map(|s| s.module()[0].to_owned())
            .collect();
        rooms.sort();
        rooms.dedup();
        // The plan of the house is no room: it declares them all and uses none.
        rooms.retain(|room| room != "lib");
        rooms
    }

    /// Every use of one room by another, in the order of files and lines.
    pub fn arrows(&self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        for source in self.sources.iter().filter(|source| source.path != "lib.rs") {
            let from = source.module()[0];
            for (offset, to) in source.names_from_root() {
                if to != from && to != "self" {
                    arrows.push(Arrow {
                        from: from.to_owned(),
                        to: to.to_owned(),
                        at: source.at(offset),
                    });
                }
            }
        }
        arrows
    }

    /// The words of the files that are meant, with where they stand.
    pub fn words(&self, meant: impl Fn(&str) -> bool) -> impl Iterator<Item = (String, String)> {
        self.sources
            .iter()
            .filter(move |source| meant(&source.path))
            .flat_map(|source| {
                source
                    .words()
                    .map(|(offset, word)| (source.at(offset), word.to_owned()))
            })
    }

    /// A cycle of rooms, as the arrows that make it; none if there is none.
    pub fn cycle(&self) -> Option<Vec<String>> {
        let mut uses: BTreeMap<String, Vec<Arrow>> = BTreeMap::new();
        for arrow in self.arrows() {
            uses.entry(arrow.from.clone()).or_default().push(arrow);
        }
        let mut done = Vec::new();
        uses.keys()
            .find_map(|room| walk(room, &uses, &mut Vec::new(), &mut done))
    }
}

/// Depth first; `way` holds the arrows walked, `done` the rooms that lead into no cycle.
fn walk<'a>(
    room: &'a str,
    uses: &'a BTreeMap<String, Vec<Arrow>>,
    way: &mut Vec<&'a Arrow>,
    done: &mut Vec<&'a str>,
) -> Option<Vec<String>> {
    if let Some(begin) = way.iter().position(|arrow| arrow.from == room) {
        let told = |arrow: &&Arrow| format!("{}: `{}` uses `{}`", arrow.at, arrow.from, arrow.to);
        return Some(way[begin..].iter().map(told).collect());
    }
    if done.contains(&room) {
        return None;
    }
    for arrow in uses.get(room).into_iter().flatten() {
        way.push(arrow);
        let cycle = walk(&arrow.to, uses, way, done);
        way.pop();
        if cycle.is_some() {
            return cycle;
        }
    }
    done.push(room);
    None
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory)
        .expect("src is readable")
        .map(|entry| entry.expect("an entry is readable").path())
        .collect()
}

/// Replaces comments and the insides of literals by spaces; line breaks stay, and so do offsets in characters.
fn blank_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match chars[i] {
            '/' if chars.get(i + 1) == Some(&'/') => line_end(&chars, i),
            '/' if chars.get(i + 1) == Some(&'*') => block_comment_end(&chars, i),
            '"' => string_end(&chars, i),
            'r' | 'b' | 'c' if !follows_word(&chars, i) => raw_string_end(&chars, i).unwrap_or(i),
            '\'' => char_end(&chars, i).unwrap_or(i),
            _ => i,
        };
        if end == i {
            code.push(chars[i]);
            i += 1;
        }
        while i < end.min(chars.len()) {
            code.push(if chars[i] == '\n' { '\n' } else { ' ' });
            i += 1;
        }
    }
    code
}

fn follows_word(chars: &[char], i: usize) -> bool {
    i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_')
}

fn line_end(chars: &[char], start: usize) -> usize {
    let len = chars[start..].iter().position(|c| *c == '\n');
    start + len.unwrap_or(chars.len() - start)
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                i += 1;
                continue;
            }
        }
        i += 2;
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// The end of `r"…"`, `r#"…"#`, `br"…"` and the like; `None` where no raw string begins.
fn raw_string_end(chars: &[char], start: usize) -> Option<usize> {
    let prefix = chars[start..]
        .iter()
        .take_while(|c| matches!(c, 'r' | 'b' | 'c'))
        .count();
    if !chars[start..start + prefix].contains(&'r') {
        return None;
    }
    let begin = start + prefix;
    let hashes = chars[begin..].iter().take_while(|c| **c == '#').count();
    (chars.get(begin + hashes) == Some(&'"')).then_some(())?;
    let closing: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let body = begin + hashes + 1;
    let len = chars[body..]
        .windows(closing.len())
        .position(|window| window == closing)?;
    Some(body + len + closing.len())
}

/// The end of a character literal; `None` for a lifetime.
fn char_end(chars: &[char], start: usize) -> Option<usize> {
    match (chars.get(start + 1)?, chars.get(start + 2)?) {
        ('\\', _) => {
            let len = chars[start + 3..].iter().position(|c| *c == '\'')?;
            Some(start + 3 + len + 1)
        }
        (_, '\'') => Some(start + 3),
        _ => None,
    }
}

/// Blanks every item behind `#[cfg(test)]`: to the end of its block, or to its semicolon.
fn blank_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut code = code.to_owned();
    while let Some(start) = code.find(MARK) {
        let end = item_end(&code, start + MARK.len());
        let blank: String = code[start..end].chars().filter(|c| *c == '\n').collect();
        code.replace_range(start..end, &blank);
    }
    code
}

fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0usize;
    for (offset, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ';' if depth == 0 => return start + offset + 1,
            _ => {}
        }
        if c == '}' && depth == 0 {
            return start + offset + 1;
        }
    }
    code.len()
}
