//! `kind = "local"`: the root, then files below it as the backend reads them.

use super::object::Objects;
use super::report::{Step, skip_rest};
use crate::backend::config::LocalConfig;

const ORDER: &[&str] = &["root", "list", "head", "range"];

/// Tries one local storage.
pub async fn check(local: &LocalConfig, objects: &Objects<'_>) -> Vec<Step> {
    let root = root(local).await;
    let missing = root.has_failed();
    let mut steps = vec![root];
    if !missing {
        objects.check(&mut steps).await;
    }
    skip_rest(&mut steps, ORDER, "the root cannot be read");
    steps
}

async fn root(local: &LocalConfig) -> Step {
    let shown = local.root.display();
    let failed =
        |reason: String, advice: &str| Step::failed("root", format!("{shown}: {reason}"), advice);
    match tokio::fs::metadata(&local.root).await {
        Err(error) => failed(
            error.to_string(),
            "create the directory, or correct root; a relative one starts at the configuration file",
        ),
        Ok(metadata) if !metadata.is_dir() => {
            failed("is not a directory".into(), "set root to a directory")
        }
        Ok(_) => match tokio::fs::read_dir(&local.root).await {
            Ok(_) => Step::ok("root", shown.to_string()),
            Err(error) => failed(
                error.to_string(),
                "let the user that Lockgate runs as read and enter the directory",
            ),
        },
    }
}
