//! `lockgate ls`: what a storage holds within its prefix and pattern, page by page; with `--tasks` as Label Studio
//! tasks, one a line: what it imports is one array of them, which `jq -s` makes.
//!
//! Reads no media, and lists nothing that Lockgate would not serve.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::check::advice::{advice, ending_at_component};
use super::{CliError, printable};
use crate::app;
use crate::backend::retry::Retry;
use crate::backend::{Backend as _, Listed};
use crate::config::StorageConfig;
use crate::media_uri::MediaUri;

/// A preview is short where nothing else is asked for; tasks are all of them.
const PREVIEW: usize = 100;
/// So many keys are asked for at once: the largest page that the stores give.
const PAGE: usize = 1000;

/// The arguments of `lockgate ls`.
#[derive(Debug, clap::Args)]
pub struct LsArgs {
    /// The storage.
    #[arg(long, value_name = "ID")]
    storage: String,
    /// Show at most this many objects; without it 100, or with --tasks all of them.
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Print Label Studio tasks (JSONL; Label Studio imports an array of them, which `jq -s .` makes).
    #[arg(long)]
    tasks: bool,
    /// The name of the media in each task's data, as the labeling configuration has it behind the $.
    #[arg(long, value_name = "NAME", default_value = "image", requires = "tasks")]
    field: String,
    /// Print JSON instead of lines.
    #[arg(long, conflicts_with = "tasks")]
    json: bool,
}

/// Lists.
///
/// # Errors
/// The configuration's mistakes, a storage that is not configured, and what storage says.
pub async fn run(config: &Path, args: &LsArgs) -> Result<ExitCode, CliError> {
    let loaded = super::load(config)?;
    let storage = super::storage(&loaded.config, &args.storage)?;
    let mut found = vec![];
    let unless_said = if args.tasks { usize::MAX } else { PREVIEW };
    let limit = args.limit.map_or(unless_said, NonZeroUsize::get);
    let more = list(&loaded.config, storage, limit, |uri, listed| {
        if args.json {
            let (key, bytes) = (&listed.key, listed.complete_length);
            found.push(json!({ "uri": uri.to_string(), "key": key, "bytes": bytes }));
        } else if args.tasks {
            super::print(&format!("{}\n", task(&args.field, uri)));
        } else {
            let uri = printable(&uri.to_string());
            super::print(&format!("{:>15}  {uri}\n", listed.complete_length));
        }
    });
    let more = more.await?;
    if args.json {
        super::print_json(&json!({ "storage": args.storage, "objects": found, "more": more }));
    } else if more {
        // Not among the lines that a script reads.
        eprintln!("there are more; --limit N shows them");
    }
    Ok(ExitCode::SUCCESS)
}

/// A task as Label Studio imports it.
fn task(field: &str, uri: &MediaUri) -> serde_json::Value {
    json!({ "data": { field: uri.to_string() } })
}

/// Shows each object within the storage's bounds, in the store's order, up to the limit; whether there are more.
///
/// # Errors
/// What storage says, and what to change.
pub async fn list(
    config: &crate::config::Config,
    storage: &StorageConfig,
    limit: usize,
    mut show: impl FnMut(&MediaUri, &Listed),
) -> Result<bool, CliError> {
    let unknown = || CliError::Usage(format!("there is no storage {}", storage.id));
    let rules = app::storage_rules(config);
    let rule = rules.get(&storage.id).ok_or_else(unknown)?;
    let parts = app::backend(storage, config.delivery.stall_timeout)?;
    let backend = Retry::new(parts.backend);
    let (bucket, prefix) = (rule.names.bucket(), ending_at_component(&storage.prefix));
    let mut left = limit;
    let mut after: Option<String> = None;
    loop {
        let page = backend.list(&bucket, &prefix, after.as_deref(), PAGE).await;
        let page = page.map_err(|error| CliError::Storage {
            storage: storage.id.clone(),
            advice: advice(&error, storage),
            error,
        })?;
        // A key that ends with a slash is a folder in somebody's console, and no media.
        for listed in page
            .entries
            .iter()
            .filter(|listed| !listed.key.ends_with('/'))
        {
            let uri = rule.names.uri(&listed.key);
            let Some(uri) = uri.filter(|uri| rule.key(uri).is_some()) else {
                continue;
            };
            if left == 0 {
                return Ok(true);
            }
            show(&uri, listed);
            left -= 1;
        }
        after = page.next;
        if after.is_none() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;
    use crate::cli::demo::s3::{AccessKey, S3Server};

    const SECRET: &str = "a secret that is long enough for HS256";

    /// What `ls` shows of a bucket with these keys, and whether there is more.
    async fn shown(keys: &[&str], bounds: &str, limit: Option<usize>) -> (Vec<String>, bool) {
        let server = S3Server::start([AccessKey::new("ID", SECRET)])
            .await
            .unwrap();
        for key in keys {
            server.put("media", key, vec![1; 3], None);
        }
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("lockgate.toml");
        let text = format!(
            "[access]\nfile = 'projects.toml'\n[auth.jwt]\nissuer = 'i'\naudience = 'a'\n\
             algorithms = ['HS256']\nhmac_secret = '{SECRET}'\n[[storage]]\nid = 'one'\nkind = 's3'\n\
             bucket = 'media'\nendpoint = '{}'\naccess_key_id = 'ID'\nsecret_access_key = '{SECRET}'\n{bounds}",
            server.endpoint()
        );
        std::fs::write(&file, text).unwrap();
        let loaded = crate::config::load(&file, []).unwrap();
        let mut uris = vec![];
        let storage = &loaded.config.storages[0];
        let show = |uri: &MediaUri, listed: &Listed| {
            assert_eq!(listed.complete_length, 3);
            uris.push(uri.to_string());
        };
        let limit = limit.unwrap_or(PREVIEW);
        let more = list(&loaded.config, storage, limit, show).await.unwrap();
        (uris, more)
    }

    #[tokio::test]
    async fn only_what_would_be_served_is_listed() {
        let keys = [
            "a/1.png",
            "a/2.txt",
            "a/b/3.png",
            "a/",
            "ab/4.png",
            "5.png",
            "a/x y+%.png",
        ];
        let bounds = "prefix = 'a'\npattern = '\\.png$'\n";
        let (uris, more) = shown(&keys, bounds, None).await;
        assert_eq!(
            uris,
            [
                "s3://media/a/1.png",
                "s3://media/a/b/3.png",
                "s3://media/a/x y+%.png"
            ]
        );
        assert!(!more);
        let (uris, more) = shown(&keys, bounds, Some(1)).await;
        assert!(uris.len() == 1 && more);
        let (uris, more) = shown(&keys, bounds, Some(3)).await;
        assert!(
            uris.len() == 3 && !more,
            "what is left over would not be served"
        );
    }

    #[tokio::test]
    async fn more_than_a_page_is_listed_page_by_page() {
        let keys: Vec<_> = (0..2345).map(|number| format!("{number:05}")).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let (uris, more) = shown(&keys, "", Some(2300)).await;
        assert!(uris.len() == 2300 && more);
        assert_eq!(uris[2299], "s3://media/02299");
    }

    #[test]
    fn a_task_is_what_label_studio_imports() {
        let uri = MediaUri::parse("s3://media/a \"b\".png").unwrap();
        assert_eq!(
            task("image", &uri).to_string(),
            r#"{"data":{"image":"s3://media/a \"b\".png"}}"#
        );
    }
}
