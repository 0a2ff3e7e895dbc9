//! String values of a Redis database, each one object.
//!
//! Redis has no versions and no times, so a version is what the value itself is: its length and its SHA-1. A value of
//! up to 8 MiB is read whole by one GETRANGE, which is atomic, and hashed here. Of a longer one a range is read, and
//! the whole hashed, by one script (Redis' "Scripting with Lua": nothing runs beside a script): each read is pinned
//! exactly, and costs the server one pass over the whole value, about 3.6 ms a MiB in which it serves nobody else.
//! Where scripts are refused a longer value is, too, rather than read in pieces that may be of two versions.
//!
//! Follows the command reference (GETRANGE, EVAL, SCAN). Never writes, never presigns.

mod connection;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::stream;
use redis::{Value, cmd};

use super::config::RedisConfig;
use super::http::HttpClientError;
use super::{Backend, BackendError, Call, Conditional, Fetched, Listed, Page};
use crate::object::{ETag, ObjectMeta};
use connection::{Connection, Open};

/// Length, SHA-1 and a range of a value, all of the same moment; nil where there is none.
const READ: &str = "local value = redis.call('GET', KEYS[1])
if not value then return false end
return { #value, redis.sha1hex(value), string.sub(value, ARGV[1] + 1, ARGV[2]) }";
/// What is read whole: one window, so that no such value is read twice for its second half.
const WHOLE_LIMIT: u64 = 8 << 20;
/// No value is longer (`proto-max-bulk-len` is 512 MiB, and 4 GiB at the very most): where a range's end is cut, so
/// that Lua's numbers hold it exactly.
const LENGTH_LIMIT: u64 = 1 << 40;
/// How many keys a step of SCAN looks at, at most, and after how many steps without a string a page is empty and says
/// that there are more.
const SCAN_COUNT: usize = 1000;
const MAX_SCANS: usize = 1000;

/// One database.
pub struct Redis {
    connection: Connection,
}

/// A value, or as much of it as was asked for.
struct Read {
    meta: ObjectMeta,
    bytes: Bytes,
}

impl Redis {
    /// Connects when it is first asked. A command that has no answer within `stall_timeout` fails.
    pub fn new(config: RedisConfig, stall_timeout: Duration) -> Result<Self, HttpClientError> {
        Ok(Self {
            connection: Connection::new(config, stall_timeout)?,
        })
    }

    /// The bytes of `range` that the value has, and the version that they are of.
    async fn read(&self, key: &str, range: Range<u64>) -> Result<Read, BackendError> {
        let open = self.connection.open().await?;
        if range.start < WHOLE_LIMIT
            && let Some(read) = self.read_whole(&open, key, &range).await?
        {
            return Ok(read);
        }
        self.read_by_script(&open, key, &range).await
    }

    /// `None` for a value above [`WHOLE_LIMIT`].
    async fn read_whole(
        &self,
        open: &Open,
        key: &str,
        range: &Range<u64>,
    ) -> Result<Option<Read>, BackendError> {
        // Both ends are inclusive: one byte more than is taken tells that there is more.
        let mut command = cmd("GETRANGE");
        command.arg(key).arg(0).arg(WHOLE_LIMIT);
        let Value::BulkString(value) = self.connection.ask(open, &command).await? else {
            return Err(surprise());
        };
        if value.len() as u64 > WHOLE_LIMIT {
            return Ok(None);
        }
        // GETRANGE tells what is empty and what is not there the same.
        if value.is_empty()
            && self.connection.ask(open, cmd("EXISTS").arg(key)).await? == Value::Int(0)
        {
            return Err(BackendError::NotFound);
        }
        let value = Bytes::from(value);
        let hashed = value.clone();
        // Some milliseconds for the longest.
        let hash = tokio::task::spawn_blocking(move || sha1(&hashed)).await;
        let hash =
            hash.map_err(|_| BackendError::Unavailable("the hashing thread ended".into()))?;
        let length = value.len() as u64;
        let (start, end) = (range.start.min(length), range.end.min(length));
        Ok(Some(Read {
            meta: meta(length, &hash)?,
            bytes: value.slice(start.min(end) as usize..end as usize),
        }))
    }

    async fn read_by_script(
        &self,
        open: &Open,
        key: &str,
        range: &Range<u64>,
    ) -> Result<Read, BackendError> {
        let mut command = cmd("EVAL");
        command
            .arg(READ)
            .arg(1)
            .arg(key)
            .arg(range.start.min(LENGTH_LIMIT))
            .arg(range.end.min(LENGTH_LIMIT));
        match self.connection.ask(open, &command).await {
            Ok(Value::Nil) => Err(BackendError::NotFound),
            Ok(Value::Array(answer)) => parse(answer),
            Ok(_) => Err(surprise()),
            Err(BackendError::AccessDenied(said)) => Err(BackendError::AccessDenied(format!(
                "{said}: a value above 8 MiB is read by a script, which takes EVAL and GET"
            ))),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Backend for Redis {
    async fn head(&self, call: Call<'_>) -> Result<Conditional<ObjectMeta>, BackendError> {
        let read = self.read(&call.location.key, 0..0).await?;
        Ok(match call.condition.lets_through(&read.meta.etag)? {
            true => Conditional::Is(read.meta),
            false => Conditional::NotModified,
        })
    }

    async fn get(
        &self,
        call: Call<'_>,
        range: Range<u64>,
    ) -> Result<Conditional<Fetched>, BackendError> {
        let Read { meta, bytes } = self.read(&call.location.key, range.clone()).await?;
        if !call.condition.lets_through(&meta.etag)? {
            return Ok(Conditional::NotModified);
        }
        let end = range.end.min(meta.complete_length);
        if range.start >= end {
            return Err(BackendError::RangeNotSatisfiable);
        }
        if bytes.len() as u64 != end - range.start {
            return Err(BackendError::Protocol(
                "another range than was asked for".into(),
            ));
        }
        Ok(Conditional::Is(Fetched {
            meta,
            range: range.start..end,
            body: Box::pin(stream::iter([Ok(bytes)])),
        }))
    }

    async fn list(
        &self,
        _bucket: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, BackendError> {
        let open = self.connection.open().await?;
        let (mut cursor, mut skip) = match after {
            Some(after) => place(after)
                .ok_or_else(|| BackendError::Protocol("a page after what is no page".into()))?,
            None => ("0".to_owned(), 0),
        };
        let mut page = Page::default();
        for _ in 0..MAX_SCANS {
            let (next, keys) = self.scan(&open, &cursor, prefix, limit).await?;
            // A step may give more than it was asked for: what is over is had by the same step again.
            let over = keys.len() > skip.saturating_add(limit);
            let keys = keys.into_iter().skip(skip).take(limit).collect();
            page.entries = self.lengths(&open, keys).await?;
            (cursor, skip) = match over {
                true => (cursor, skip + limit),
                false => (next, 0),
            };
            let ended = cursor == "0" && skip == 0;
            page.next = (!ended).then(|| format!("{cursor}+{skip}"));
            if ended || !page.entries.is_empty() {
                break;
            }
        }
        Ok(page)
    }
}

/// The cursor, and how many of its keys were listed before.
fn place(after: &str) -> Option<(String, usize)> {
    let (cursor, skip) = after.split_once('+')?;
    let cursor = cursor.parse::<u64>().ok()?.to_string();
    Some((cursor, skip.parse().ok()?))
}

impl Redis {
    /// A step of SCAN: the next cursor, and keys in order; those that are not UTF-8 have no URI and are left out.
    async fn scan(
        &self,
        open: &Open,
        cursor: &str,
        prefix: &str,
        limit: usize,
    ) -> Result<(String, Vec<String>), BackendError> {
        let mut command = cmd("SCAN");
        command
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{}*", literal(prefix)))
            .arg("COUNT")
            .arg(limit.clamp(1, SCAN_COUNT));
        let Value::Array(answer) = self.connection.ask(open, &command).await? else {
            return Err(surprise());
        };
        let Ok([Value::BulkString(next), Value::Array(keys)]) = <[Value; 2]>::try_from(answer)
        else {
            return Err(surprise());
        };
        let text = |key| match key {
            Value::BulkString(key) => String::from_utf8(key).ok(),
            _ => None,
        };
        let mut keys: Vec<_> = keys.into_iter().filter_map(text).collect();
        keys.sort_unstable();
        Ok((String::from_utf8(next).map_err(|_| surprise())?, keys))
    }

    /// The keys that hold strings, with their lengths.
    async fn lengths(&self, open: &Open, keys: Vec<String>) -> Result<Vec<Listed>, BackendError> {
        if keys.is_empty() {
            return Ok(vec![]);
        }
        let mut commands = redis::pipe();
        for key in &keys {
            commands.cmd("STRLEN").arg(key);
        }
        let lengths = self.connection.ask_all(open, &commands).await?;
        let listed = |(key, length)| match length {
            Value::Int(length) => Some(Listed {
                key,
                complete_length: u64::try_from(length).ok()?,
            }),
            // Another type than a string, or gone since.
            _ => None,
        };
        Ok(keys.into_iter().zip(lengths).filter_map(listed).collect())
    }
}

/// A glob-style pattern (KEYS, SCAN) that matches this text alone.
fn literal(text: &str) -> String {
    let special = |c| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^');
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if special(c) {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// What [`READ`] returned.
fn parse(answer: Vec<Value>) -> Result<Read, BackendError> {
    let Ok(
        [
            Value::Int(length),
            Value::BulkString(hash),
            Value::BulkString(bytes),
        ],
    ) = <[Value; 3]>::try_from(answer)
    else {
        return Err(surprise());
    };
    let length = u64::try_from(length).map_err(|_| surprise())?;
    let hash = std::str::from_utf8(&hash).map_err(|_| surprise())?;
    Ok(Read {
        meta: meta(length, hash)?,
        bytes: bytes.into(),
    })
}

fn surprise() -> BackendError {
    BackendError::Protocol("redis answered with another type than the command's".into())
}

fn sha1(value: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, value);
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn meta(complete_length: u64, hash: &str) -> Result<ObjectMeta, BackendError> {
    let etag = ETag::strong(&format!("{complete_length:x}-{hash}")).ok_or_else(surprise)?;
    Ok(ObjectMeta {
        etag,
        complete_length,
        last_modified: None,
        content_type: None,
        content_encoding: None,
    })
}

#[cfg(test)]
mod tests;
