//! Label Studio's task files: a JSON array or JSON lines of `{"id": 1001, "data": {…}}`, streamed.
//!
//! Keeps ids, assignees and the media that the data names at any depth; all else is skipped as it passes.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use super::mentions::mentions;
use crate::ids::Subject;
use crate::located::Located;
use crate::media_uri::MediaUri;

/// A task as a file has it.
#[derive(Debug, serde::Deserialize)]
pub struct WrittenTask {
    pub id: WrittenId,
    /// Absent or empty: every member. Anything but a list of names is an error, for it must not mean everybody.
    #[serde(default)]
    pub assignees: Option<Vec<Subject>>,
    pub data: Media,
}

/// An id, written as a number or as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenId(pub String);

/// The media that some data names, each once, in the order found.
#[derive(Debug, Default)]
pub struct Media {
    pub uris: Vec<MediaUri>,
    seen: HashSet<MediaUri>,
}

/// Reads a file's tasks one by one into `add`, whose refusal is an error of the line it came from.
pub fn read(
    path: &Path,
    mut add: impl FnMut(WrittenTask) -> Result<(), String>,
) -> Result<(), Located> {
    let name = path.display().to_string();
    let unreadable =
        |error: std::io::Error| Located::file(&name, format!("cannot be read: {error}"));
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
    let first = reader.fill_buf().map_err(unreadable)?;
    let first = first.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'[') {
        let mut json = serde_json::Deserializer::from_reader(reader);
        let read = json.deserialize_seq(Array(&mut add));
        let read = read.and_then(|()| json.end());
        return read.map_err(|error| at_line(&name, error.line(), json_message(&error)));
    }
    read_lines(reader, &name, add)
}

/// The media that the tasks of a file name, each once, in the order found. Whose they are is not looked at.
///
/// # Errors
/// What is wrong with the file, with its line.
pub fn media_of(path: &Path) -> Result<Vec<MediaUri>, Located> {
    let (mut media, mut seen) = (vec![], HashSet::new());
    read(path, |task: WrittenTask| {
        let uris = task.data.uris.into_iter();
        media.extend(uris.filter(|uri| seen.insert(uri.clone())));
        Ok(())
    })?;
    Ok(media)
}

fn read_lines(
    mut reader: impl BufRead,
    name: &str,
    mut add: impl FnMut(WrittenTask) -> Result<(), String>,
) -> Result<(), Located> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.read_until(b'\n', &mut line);
        let length =
            read.map_err(|error| at_line(name, number, format!("cannot be read: {error}")))?;
        if length == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let task = serde_json::from_slice(&line);
        let task = task.map_err(|error| at_line(name, number, json_message(&error)))?;
        add(task).map_err(|message| at_line(name, number, message))?;
    }
    Ok(())
}

fn at_line(file: &str, line: usize, message: String) -> Located {
    Located {
        line: Some(line),
        ..Located::file(file, message)
    }
}

/// Without serde_json's own line and column, which for a line of a file would be the line's first.
fn json_message(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    match error.classify() {
        Category::Syntax | Category::Eof => format!("not JSON: {message}"),
        Category::Data | Category::Io => message.to_owned(),
    }
}

struct Array<'a, F>(&'a mut F);

impl<'de, F: FnMut(WrittenTask) -> Result<(), String>> Visitor<'de> for Array<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tasks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut tasks: A) -> Result<(), A::Error> {
        while tasks.next_element_seed(Element(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

/// One task of the array. What `add` refuses is refused while the task is still being read: so serde_json knows the line.
struct Element<'a, F>(&'a mut F);

impl<'de, F: FnMut(WrittenTask) -> Result<(), String>> de::DeserializeSeed<'de> for Element<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(WrittenTask) -> Result<(), String>> Visitor<'de> for Element<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task: { \"id\": …, \"data\": … }")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<(), A::Error> {
        let task = WrittenTask::deserialize(MapAccessDeserializer::new(entries))?;
        (self.0)(task).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for WrittenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = WrittenId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id: a whole number or text")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<WrittenId, E> {
                if id.is_empty() {
                    return Err(E::custom("an id must not be empty"));
                }
                Ok(WrittenId(id.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, id: u64) -> Result<WrittenId, E> {
                Ok(WrittenId(id.to_string()))
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> Result<WrittenId, E> {
                Ok(WrittenId(id.to_string()))
            }
        }
        deserializer.deserialize_any(Id)
    }
}

impl Media {
    fn collect(&mut self, text: &str) {
        mentions(text, |uri| {
            if self.seen.insert(uri.clone()) {
                self.uris.push(uri);
            }
        });
    }
}

impl<'de> Deserialize<'de> for Media {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut media = Media::default();
        de::DeserializeSeed::deserialize(Collect(&mut media), deserializer)?;
        media.seen = HashSet::new();
        Ok(media)
    }
}

/// Walks any JSON value and hands its strings to the collector.
struct Collect<'a>(&'a mut Media);

impl<'de> de::DeserializeSeed<'de> for Collect<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Collect<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any data")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.collect(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Collect(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while entries.next_key::<IgnoredAny>()?.is_some() {
            entries.next_value_seed(Collect(&mut *self.0))?;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
