//! Lists a volume's files below a prefix, directory by directory and page by page.
//!
//! Follows Databricks' "List directory contents": a page may be short or empty and still have a next one; it is the
//! last where no `next_page_token` comes. Never follows a path out of the volume.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Databricks, refusal, unaskable};
use crate::backend::{BackendError, Listed};

/// The most that one page of a directory may hold.
const PAGE_SIZE: usize = 1000;
/// A listing walks directories, a request or more each: what needs more requests than these ends incomplete.
const MAX_REQUESTS: usize = 1000;

#[derive(serde::Deserialize)]
struct Page {
    #[serde(default)]
    contents: Vec<Entry>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(serde::Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    is_directory: bool,
    #[serde(default)]
    file_size: u64,
}

/// A walk under way.
pub struct Walk<'a> {
    prefix: &'a str,
    limit: usize,
    /// Directories still to be listed, each beginning with a slash; the volume's own is empty.
    directories: Vec<String>,
    found: Vec<Listed>,
}

impl<'a> Walk<'a> {
    /// For at most `limit` files whose keys begin with `prefix`, which need not end at a component.
    pub fn new(prefix: &'a str, limit: usize) -> Self {
        let directory = prefix
            .rsplit_once('/')
            .map(|(above, _)| format!("/{above}"));
        Self {
            prefix,
            limit,
            directories: vec![directory.unwrap_or_default()],
            found: vec![],
        }
    }

    /// Asks until there are enough, or no more.
    pub async fn run(mut self, volume: &Databricks) -> Result<Vec<Listed>, BackendError> {
        let mut requests = 0;
        while let Some(directory) = self.directories.pop() {
            let mut token = String::new();
            loop {
                if self.found.len() >= self.limit || requests == MAX_REQUESTS {
                    self.found.truncate(self.limit);
                    return Ok(self.found);
                }
                requests += 1;
                let page = page(volume, &directory, &token).await;
                let page = match page {
                    // It went while its parent was listed, or nothing was ever put below the prefix.
                    Err(BackendError::NotFound) if !directory.is_empty() => break,
                    page => page?,
                };
                for entry in page.contents {
                    self.take(entry, volume.volume());
                }
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
        }
        self.found.truncate(self.limit);
        Ok(self.found)
    }

    fn take(&mut self, entry: Entry, volume: &str) {
        let below = entry
            .path
            .strip_prefix("/Volumes/")
            .and_then(|path| path.strip_prefix(volume))
            .and_then(|path| path.strip_prefix('/'));
        let Some(key) = below.map(|key| key.trim_end_matches('/')) else {
            return;
        };
        if entry.is_directory {
            let inside = format!("{key}/");
            if inside.starts_with(self.prefix) || self.prefix.starts_with(&inside) {
                self.directories.push(format!("/{key}"));
            }
        } else if key.starts_with(self.prefix) {
            self.found.push(Listed {
                key: key.to_owned(),
                complete_length: entry.file_size,
            });
        }
    }
}

async fn page(volume: &Databricks, directory: &str, token: &str) -> Result<Page, BackendError> {
    let mut url = format!(
        "{}?page_size={PAGE_SIZE}",
        volume.url("directories", directory)
    );
    if !token.is_empty() {
        url.push_str("&page_token=");
        url.extend(utf8_percent_encode(token, NON_ALPHANUMERIC));
    }
    let request = Request::get(url)
        .body(Full::<Bytes>::default())
        .map_err(unaskable)?;
    let response = volume.fetch(request).await?;
    if response.status() != StatusCode::OK {
        return Err(refusal(response.status(), response.body()));
    }
    serde_json::from_slice(response.body())
        .map_err(|error| BackendError::Protocol(format!("a listing that cannot be read: {error}")))
}
