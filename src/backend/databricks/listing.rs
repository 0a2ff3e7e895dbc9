//! Lists a volume's files below a prefix, directory by directory, a page of the API for a page of ours.
//!
//! Follows Databricks' "List directory contents": a page may be short or empty and still have a next one; it is the
//! last where no `next_page_token` comes. Never follows a path out of the volume.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::{Databricks, refusal, unaskable};
use crate::backend::{BackendError, Listed, Page};

/// The most that the API puts on one page.
const PAGE_SIZE: usize = 1000;
/// After so many pages without a file a page of ours is empty, and says that there are more.
const MAX_REQUESTS: usize = 100;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    contents: Vec<Entry>,
    #[serde(default)]
    next_page_token: String,
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(default)]
    is_directory: bool,
    #[serde(default)]
    file_size: u64,
}

/// What is left of a walk: what a page's `next` holds, as JSON.
#[derive(Serialize, Deserialize)]
struct Left {
    /// Directories still to be listed, the next one last, each beginning with a slash; the volume's own is empty.
    directories: Vec<String>,
    /// Where in the last of them; empty at its beginning.
    token: String,
}

/// At most `limit` files whose keys begin with `prefix`, which need not end at a component.
pub async fn page(
    volume: &Databricks,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Page, BackendError> {
    let mut left = match after {
        Some(after) => serde_json::from_str(after)
            .map_err(|_| BackendError::Protocol("a page after what is no page".into()))?,
        None => {
            let directory = prefix
                .rsplit_once('/')
                .map(|(above, _)| format!("/{above}"));
            Left {
                directories: vec![directory.unwrap_or_default()],
                token: String::new(),
            }
        }
    };
    let mut page = Page::default();
    for _ in 0..MAX_REQUESTS {
        let Some(directory) = left.directories.pop() else {
            return Ok(page);
        };
        let answer = match ask(volume, &directory, &left.token, limit).await {
            // It went while its parent was listed, or nothing was ever put below the prefix.
            Err(BackendError::NotFound) if !directory.is_empty() => Answer {
                contents: vec![],
                next_page_token: String::new(),
            },
            answer => answer?,
        };
        let mut inside = vec![];
        for entry in answer.contents {
            match sort(entry, prefix, &volume.config.volume) {
                Some(Found::Directory(path)) => inside.push(path),
                Some(Found::File(listed)) => page.entries.push(listed),
                None => {}
            }
        }
        // What is found on this page is listed after the directory itself.
        left.directories.splice(0..0, inside);
        left.token = answer.next_page_token;
        if !left.token.is_empty() {
            left.directories.push(directory);
        }
        if !page.entries.is_empty() {
            break;
        }
    }
    if !left.directories.is_empty() {
        page.next = serde_json::to_string(&left).ok();
    }
    Ok(page)
}

enum Found {
    Directory(String),
    File(Listed),
}

/// What an entry is to the walk; `None` where it has no part in it.
fn sort(entry: Entry, prefix: &str, volume: &str) -> Option<Found> {
    let below = entry.path.strip_prefix("/Volumes/")?;
    let key = below.strip_prefix(volume)?.strip_prefix('/')?;
    let key = key.trim_end_matches('/');
    if entry.is_directory {
        let inside = format!("{key}/");
        let on_the_way = inside.starts_with(prefix) || prefix.starts_with(&inside);
        return on_the_way.then(|| Found::Directory(format!("/{key}")));
    }
    key.starts_with(prefix).then(|| {
        Found::File(Listed {
            key: key.to_owned(),
            complete_length: entry.file_size,
        })
    })
}

async fn ask(
    volume: &Databricks,
    directory: &str,
    token: &str,
    limit: usize,
) -> Result<Answer, BackendError> {
    let url = volume.url("directories", directory);
    let mut url = format!("{url}?page_size={}", limit.clamp(1, PAGE_SIZE));
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
