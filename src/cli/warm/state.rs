//! What earlier runs of `warm` have read, in a file of one JSON object a line, appended to as objects are finished.
//!
//! Whatever ends a run leaves the file good: a line that was cut off is skipped when it is read. The first line says
//! whose record it is, so that one project's is not taken for another's. Keeps no byte of media and no token.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be read or written.
    #[error("cannot be used: {0}")]
    Io(#[from] io::Error),
    /// Two that append would each read what the other has read already.
    #[error("another run is writing it")]
    Busy,
    /// What it records was read elsewhere.
    #[error("records project {project:?} at {url}; name another file, or delete it")]
    Foreign {
        /// The project that it is about.
        project: String,
        /// The Lockgate that read it.
        url: String,
    },
    /// Not a line of it is a record: to append to it would spoil somebody's file.
    #[error("is no record of lockgate warm")]
    NoRecord,
}

/// Whose record it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The project.
    pub project: String,
    /// The Lockgate that was asked.
    pub url: String,
}

/// An object that was read to its end.
#[derive(Debug, Serialize, Deserialize)]
struct Finished<'a> {
    #[serde(borrow)]
    uri: std::borrow::Cow<'a, str>,
    /// The version that was read.
    #[serde(borrow)]
    etag: std::borrow::Cow<'a, str>,
    bytes: u64,
}

/// The record, open and held by this run alone.
#[derive(Debug)]
pub struct State {
    file: File,
    etags: HashMap<String, String>,
}

impl State {
    /// Opens the record at `path`, or begins one. Blocks.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn open(path: &Path, scope: &Scope) -> Result<Self, StateError> {
        let options = || {
            File::options()
                .read(true)
                .append(true)
                .create(true)
                .open(path)
        };
        let mut file = options()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StateError::Busy),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let etags = read(&file, scope)?;
        match etags {
            Some(etags) => {
                end_the_last_line(&mut file)?;
                Ok(Self { file, etags })
            }
            None => {
                append(&mut file, scope)?;
                Ok(Self {
                    file,
                    etags: HashMap::new(),
                })
            }
        }
    }

    /// The entity tag of what was read of an object.
    pub fn etag(&self, uri: &str) -> Option<&str> {
        self.etags.get(uri).map(String::as_str)
    }

    /// An object was read to its end.
    ///
    /// # Errors
    /// The disk's.
    pub fn finished(&mut self, uri: &str, etag: &str, bytes: u64) -> io::Result<()> {
        let (uri, etag) = (uri.into(), etag.into());
        append(&mut self.file, &Finished { uri, etag, bytes })
    }
}

/// One write a line, so that a line is there or is not, but for a full disk.
fn append(file: &mut File, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    file.write_all(&line)
}

/// What stands in the record; none where it is new.
fn read(file: &File, scope: &Scope) -> Result<Option<HashMap<String, String>>, StateError> {
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    match serde_json::from_slice::<Scope>(&line) {
        Ok(own) if own == *scope => {}
        Ok(Scope { project, url }) => return Err(StateError::Foreign { project, url }),
        Err(_) => return Err(StateError::NoRecord),
    }
    let mut etags = HashMap::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(Some(etags));
        }
        // One that was cut off costs reading its object again, which is in the cache.
        if let Ok(Finished { uri, etag, .. }) = serde_json::from_slice(&line) {
            etags.insert(uri.into_owned(), etag.into_owned());
        }
    }
}

/// The next line must not be appended to half a one.
fn end_the_last_line(file: &mut File) -> io::Result<()> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    match last {
        [b'\n'] => Ok(()),
        _ => file.write_all(b"\n"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope {
            project: "1".into(),
            url: "http://gateway.test".into(),
        }
    }

    #[test]
    fn a_record_that_was_cut_off_anywhere_is_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warm.state");
        let mut state = State::open(&path, &scope()).unwrap();
        state.finished("s3://b/a \"1\".png", "\"one\"", 3).unwrap();
        state.finished("s3://b/b.png", "\"two\"", 4).unwrap();
        drop(state);
        let whole = std::fs::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in first..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let mut state = State::open(&path, &scope()).unwrap();
            state.finished("s3://b/c.png", "\"three\"", 5).unwrap();
            drop(state);
            let state = State::open(&path, &scope()).unwrap();
            assert_eq!(state.etag("s3://b/c.png"), Some("\"three\""), "{length}");
            assert!(state.etags.len() <= 3, "{state:?}");
        }
        let state = State::open(&path, &scope()).unwrap();
        assert_eq!(state.etag("s3://b/a \"1\".png"), Some("\"one\""));
    }

    #[test]
    fn a_record_of_something_else_is_neither_believed_nor_written_to() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("warm.state");
        let held = State::open(&path, &scope()).unwrap();
        let again = State::open(&path, &scope());
        assert!(matches!(again, Err(StateError::Busy)), "{again:?}");
        drop(held);
        let other = Scope {
            project: "2".into(),
            ..scope()
        };
        let foreign = State::open(&path, &other);
        assert!(matches!(foreign, Err(StateError::Foreign { .. })));
        std::fs::write(&path, "dear diary\n").unwrap();
        let none = State::open(&path, &scope());
        assert!(matches!(none, Err(StateError::NoRecord)));
        assert_eq!(std::fs::read(&path).unwrap(), b"dear diary\n");
    }
}
