//! How Label Studio 1.23 is asked: which of its paths answers what, and what of the answer is believed.
//!
//! Remembers nothing (`questions` does). Reads bounded answers of a bounded number of pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::HeaderMap;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answers::{Page, Projects, Storage, WrittenTask, read};
use super::questions::{Not, Said};
use crate::ask::{Answer, AskError, Asker};
use crate::ids::{ProjectId, TaskId};
use crate::media_uri::MediaUri;
use crate::project::Task;

/// So many of somebody's projects, the newest first, are looked through for local files: each costs a question.
const MAX_PROJECTS: usize = 200;

/// So many tasks are read to find one that names a URI, a page of them at a time. The filter is exact enough that the
/// first page has it, unless its name is in no plain letters at all.
const PAGE_SIZE: usize = 20;
const MAX_PAGES: u64 = 5;

/// A URI's longest words say which tasks may name it; each costs Label Studio a pass.
const MAX_WORDS: usize = 4;

/// So many projects are asked about at a time: more would only wait for their turns, and keep others from theirs.
const AT_A_TIME: usize = 4;

/// What a path says.
pub(super) async fn told<T: DeserializeOwned + Send + 'static>(
    asker: &Asker,
    path: &str,
    fields: &HeaderMap,
) -> Said<T> {
    match asker.what(path, fields).await? {
        Answer::Told(body) => Ok(read(body).await?),
        Answer::NotAuthenticated => Err(Not::Authenticated),
        Answer::Refused => Err(Not::Permitted),
        Answer::Elsewhere(_) | Answer::Streams => {
            Err(AskError::NotUnderstood("sent elsewhere".to_owned()).into())
        }
    }
}

/// Whether a path's media is sent to who asks; none of it is read, here or there.
pub(super) async fn ask_whether_sent(asker: &Asker, path: &str, fields: &HeaderMap) -> Said<()> {
    match asker.sends(path, fields).await? {
        Answer::Streams | Answer::Told(_) => Ok(()),
        Answer::NotAuthenticated => Err(Not::Authenticated),
        Answer::Refused => Err(Not::Permitted),
        Answer::Elsewhere(_) => Err(AskError::NotUnderstood("sent elsewhere".to_owned()).into()),
    }
}

/// In the project that it is taken to be in, as a page of one; else by its id. The page is answered in half the time,
/// without annotations, and `review` keeps Label Studio from asking its ML backends for predictions, as a single task
/// does (`data_manager/api.py`, `tasks/api.py`): thumbnails must not set off inference.
pub(super) async fn ask_for_task(
    asker: &Asker,
    fields: &HeaderMap,
    task: &TaskId,
    guess: Option<ProjectId>,
) -> Said<Arc<Task>> {
    if let (Some(project), Ok(id)) = (guess, task.as_str().parse::<u64>()) {
        let query = json!({"selectedItems": {"all": false, "included": [id]}});
        match page(asker, fields, &project, &query.to_string(), 1).await {
            Ok(page) => {
                let found = page.tasks.into_iter().find(|found| found.id == id);
                if let Some(found) = found {
                    return Ok(found.task());
                }
            }
            // The guess may be a project that is gone.
            Err(Not::Permitted) => {}
            Err(not) => return Err(not),
        }
    }
    let path = format!("/api/tasks/{task}/?resolve_uri=false");
    let found = told::<WrittenTask>(asker, &path, fields).await?.task();
    match found.id == *task {
        true => Ok(found),
        false => Err(AskError::NotUnderstood("another task".to_owned()).into()),
    }
}

async fn page(
    asker: &Asker,
    fields: &HeaderMap,
    project: &ProjectId,
    query: &str,
    number: u64,
) -> Said<Page> {
    // Encoded twice, for Label Studio decodes twice (`data_manager/functions.py`, `get_prepare_params`).
    let once = utf8_percent_encode(query, NON_ALPHANUMERIC).to_string();
    let twice = utf8_percent_encode(&once, NON_ALPHANUMERIC);
    let path = format!(
        "/api/tasks?project={project}&page={number}&page_size={PAGE_SIZE}&resolve_uri=false&review=true&query={twice}"
    );
    told(asker, &path, fields).await
}

/// Label Studio finds the tasks that may name the URI, and `mentions` says which do.
pub(super) async fn ask_who_names(
    asker: &Asker,
    fields: &HeaderMap,
    project: &ProjectId,
    uri: &MediaUri,
) -> Said<Arc<[Arc<Task>]>> {
    let contains = |word: &String| json!({"filter": "filter:tasks:data", "operator": "contains", "type": "String", "value": word});
    let items: Vec<_> = words(uri).iter().map(contains).collect();
    let query = match items.is_empty() {
        true => json!({}),
        false => json!({"filters": {"conjunction": "and", "items": items}}),
    };
    let query = query.to_string();
    let mut seen = 0;
    for number in 1..=MAX_PAGES {
        let page = page(asker, fields, project, &query, number).await?;
        seen += page.tasks.len() as u64;
        let last = page.tasks.is_empty() || seen >= page.total;
        let tasks = page.tasks.into_iter().map(WrittenTask::task);
        // A page of another project's tasks is not believed.
        let naming: Vec<_> = tasks
            .filter(|task| task.project == *project && task.media.contains(uri))
            .collect();
        if !naming.is_empty() || last {
            return Ok(naming.into());
        }
    }
    Ok(Arc::default())
}

/// The longest words of a URI that stand in a task's data however it spells the URI: runs of letters and digits, which
/// neither JSON, nor HTML, nor percent-encoding touches. All are in one field, and the case does not count there.
fn words(uri: &MediaUri) -> Vec<String> {
    let names: &[&str] = match uri {
        MediaUri::Object { bucket, key, .. } => &[bucket, key],
        MediaUri::Url { path, .. } => &[path],
        MediaUri::Volume { volume, path } => &[volume, path],
        MediaUri::Redis { key, .. } => &[key],
        MediaUri::Local { path, .. } => &[path],
    };
    let plain = |byte: char| byte.is_ascii_alphanumeric() || "-._".contains(byte);
    let words = names.iter().flat_map(|name| name.split(|c| !plain(c)));
    let words: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut words: Vec<&str> = words.into_iter().collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    words.truncate(MAX_WORDS);
    words.into_iter().map(str::to_owned).collect()
}

/// The projects that have local files at all, among somebody's newest.
pub(super) async fn ask_for_projects(asker: &Asker, fields: &HeaderMap) -> Said<Arc<[ProjectId]>> {
    let path = format!("/api/projects/?include=id&page_size={MAX_PROJECTS}");
    let projects: Projects = told(asker, &path, fields).await?;
    if projects.count > MAX_PROJECTS as u64 {
        tracing::warn!(
            projects = projects.count,
            "local files are looked for in somebody's newest {MAX_PROJECTS} projects only"
        );
    }
    let ids = projects.results.into_iter().take(MAX_PROJECTS);
    let asked = ids.map(|project| async move {
        let path = format!("/api/storages/localfiles/?project={}", project.id);
        match told::<Vec<Storage>>(asker, &path, fields).await {
            Ok(storages) if storages.is_empty() => Ok(None),
            Ok(_) => Ok(Some(ProjectId::new(project.id.to_string()))),
            Err(Not::Permitted) => Ok(None),
            Err(not) => Err(not),
        }
    });
    let found: Vec<_> = stream::iter(asked)
        .buffered(AT_A_TIME)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uris_words_are_what_every_spelling_of_it_has() {
        for (uri, expected) in [
            (
                "s3://media/data/b%20c.png",
                &["20c.png", "media", "data", "b"][..],
            ),
            ("s3://media/\u{e9}\"x.png", &["media", "x.png"]),
            ("/data/local-files/?d=ds%2Fb%20c.txt", &["c.txt", "ds", "b"]),
            ("dbx://Volumes/c/s/v/a&b.wav", &["b.wav", "a", "c", "s"]),
        ] {
            let uri = MediaUri::parse(uri).expect("a URI");
            assert_eq!(words(&uri), expected, "{uri}");
        }
    }
}
