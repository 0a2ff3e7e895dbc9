//! The questions that Label Studio is asked, each remembered by the credential that it was asked with.
//!
//! Never shares an answer between two credentials, and never gives one out that is older than `access.max_age`. What
//! Label Studio 1.23 does with each question is read from its source; see the paths beside them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use moka::sync::Cache;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answers::{Page, Projects, Storage, WrittenTask, read};
use super::signing::{self, Signed};
use crate::ask::memo::{Bounds, Clock, Memo, Remembered};
use crate::ask::{Answer, AskError, Asker};
use crate::auth::label_studio::Presented;
use crate::authority::Target;
use crate::ids::{ProjectId, TaskId};
use crate::media_uri::MediaUri;
use crate::project::Task;

/// A refusal is asked about again soon: somebody may just have been let in.
const REFUSAL_HOLDS: Duration = Duration::from_secs(1);

/// Which project a task is in, to be asked about it the cheaper way; a wrong guess costs one more question.
const GUESS_KEPT: Duration = Duration::from_secs(600);
const MAX_GUESSES: u64 = 100_000;

/// Which of somebody's projects have local files at all. Whether they still may see them is asked each time.
const PROJECTS_HOLD: Duration = Duration::from_secs(60);

/// So many of somebody's projects, the newest first, are looked through for local files: each costs a question.
const MAX_PROJECTS: usize = 200;

/// So many tasks are read to find one that names a URI, a page of them at a time. The filter is exact enough that the
/// first page has it, unless its name is in no plain letters at all.
const PAGE_SIZE: usize = 20;
const MAX_PAGES: u64 = 5;

/// A URI's longest words say which tasks may name it; each costs Label Studio a pass.
const MAX_WORDS: usize = 4;

/// What the answers may take, in bytes.
const TASKS_BYTES: u64 = 64 << 20;
const OTHERS_BYTES: u64 = 16 << 20;

/// Who asks: a credential's key. Part of the name of everything that is remembered.
type Who = [u8; 32];

/// Why Label Studio's answer is none.
#[derive(Clone, Debug)]
pub(super) enum Not {
    /// It does not accept the credential.
    Authenticated,
    /// They may not, or there is no such thing.
    Permitted,
    /// It said nothing about it.
    Answered(AskError),
}

impl From<AskError> for Not {
    fn from(error: AskError) -> Self {
        Self::Answered(error)
    }
}

/// What somebody said, or why not.
pub(super) type Said<T> = Result<T, Not>;

/// The storages that Label Studio lists by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    S3,
    Gcs,
    Azure,
    LocalFiles,
}

impl Kind {
    /// As its API calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
            Self::LocalFiles => "localfiles",
        }
    }
}

/// Where the media lies, by Label Studio's word.
#[derive(Clone, Debug)]
pub(super) enum Lies {
    /// Behind a URL that it signed.
    Signed(Arc<Signed>),
    /// It signed a URL for something else than was asked for.
    Elsewhere,
    /// It sends the media itself.
    WithIt,
}

/// Asks, and remembers.
pub(super) struct Questions {
    pub(super) asker: Arc<Asker>,
    max_age: Duration,
    tasks: Memo<(Who, TaskId), Said<Arc<Task>>>,
    storages: Memo<(Who, ProjectId, Kind), Said<Arc<[Storage]>>>,
    naming: Memo<(Who, ProjectId, MediaUri), Said<Arc<[Arc<Task>]>>>,
    places: Memo<(Who, String), Said<Lies>>,
    with_files: Memo<Who, Said<Arc<[ProjectId]>>>,
    /// A task's project; under the credential alone the project that it asked about last.
    guesses: Cache<(Who, Option<TaskId>), ProjectId>,
}

impl Questions {
    pub(super) fn new(asker: Arc<Asker>, max_age: Duration, clock: Clock) -> Self {
        // What is older than it may be given out is of no use, and refusals are kept for a second.
        let kept = max_age.max(REFUSAL_HOLDS);
        fn memo<K, V>(
            capacity: u64,
            kept: Duration,
            weigh: fn(&K, &V) -> u32,
            clock: &Clock,
        ) -> Memo<K, V>
        where
            K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
            V: Clone + Send + Sync + 'static,
        {
            let bounds = Bounds {
                capacity,
                kept,
                weigh,
            };
            Memo::new(bounds, clock.clone())
        }
        Self {
            asker,
            max_age,
            tasks: memo(
                TASKS_BYTES,
                kept,
                |_, task| weigh_tasks(task.iter()),
                &clock,
            ),
            storages: memo(OTHERS_BYTES, kept, |_, it| 256 + 512 * length(it), &clock),
            naming: memo(
                OTHERS_BYTES,
                kept,
                |_, it| {
                    it.as_ref()
                        .map_or(512, |tasks| 512 + weigh_tasks(tasks.iter()))
                },
                &clock,
            ),
            places: memo(OTHERS_BYTES, kept, |_, _| 2048, &clock),
            with_files: memo(
                OTHERS_BYTES,
                PROJECTS_HOLD,
                |_, it| 256 + 64 * length(it),
                &clock,
            ),
            guesses: Cache::builder()
                .max_capacity(MAX_GUESSES)
                .time_to_live(GUESS_KEPT)
                .build(),
        }
    }

    fn holds<T>(&self, said: &Said<T>) -> Duration {
        match said {
            Ok(_) => self.max_age,
            // So many wait for a turn already that it must not be told to others as well.
            Err(Not::Answered(AskError::Busy)) => Duration::ZERO,
            Err(_) => REFUSAL_HOLDS,
        }
    }

    /// The project that a task is taken to be in before anybody says so.
    pub(super) fn guess(&self, caller: &Presented, task: &TaskId) -> Option<ProjectId> {
        self.guesses
            .get(&(caller.key, Some(task.clone())))
            .or_else(|| self.guesses.get(&(caller.key, None)))
    }

    /// A task that the caller may see, with the media that its data names.
    pub(super) async fn task(
        &self,
        caller: &Presented,
        task: &TaskId,
    ) -> Remembered<Said<Arc<Task>>> {
        let guess = self.guess(caller, task);
        let question = || {
            let (asker, fields, task) = (self.asker.clone(), caller.fields.clone(), task.clone());
            async move { ask_for_task(&asker, &fields, &task, guess).await }
        };
        let key = (caller.key, task.clone());
        let holds = |said: &Said<_>| self.holds(said);
        let said = self.tasks.ask(key, holds, self.max_age, question).await;
        if let Ok(found) = &said.value {
            for key in [Some(task.clone()), None] {
                self.guesses
                    .insert((caller.key, key), found.project.clone());
            }
        }
        said
    }

    /// A project's storages of one kind, in Label Studio's order, where the caller may see the project.
    pub(super) async fn storages(
        &self,
        caller: &Presented,
        project: &ProjectId,
        kind: Kind,
    ) -> Remembered<Said<Arc<[Storage]>>> {
        let question = || {
            let (asker, fields) = (self.asker.clone(), caller.fields.clone());
            // `io_storages/api.py` asks for the project's own permission before it lists.
            let path = format!("/api/storages/{}/?project={project}", kind.as_str());
            async move {
                told::<Vec<Storage>>(&asker, &path, &fields)
                    .await
                    .map(Arc::from)
            }
        };
        let key = (caller.key, project.clone(), kind);
        let holds = |said: &Said<_>| self.holds(said);
        self.storages.ask(key, holds, self.max_age, question).await
    }

    /// The tasks of a project whose data names a URI, where the caller may see the project: those of a page that has
    /// some.
    pub(super) async fn naming(
        &self,
        caller: &Presented,
        project: &ProjectId,
        uri: &MediaUri,
    ) -> Remembered<Said<Arc<[Arc<Task>]>>> {
        let question = || {
            let (asker, fields) = (self.asker.clone(), caller.fields.clone());
            let (project, uri) = (project.clone(), uri.clone());
            async move { ask_who_names(&asker, &fields, &project, &uri).await }
        };
        let key = (caller.key, project.clone(), uri.clone());
        let holds = |said: &Said<_>| self.holds(said);
        self.naming.ask(key, holds, self.max_age, question).await
    }

    /// Label Studio's own decision about an object, and where it lies. Asked only of a storage that signs: it would
    /// send the media itself else, and a worker with it.
    pub(super) async fn place(
        &self,
        caller: &Presented,
        target: &Target,
        object: &signing::Object,
    ) -> Remembered<Said<Lies>> {
        let path = object.question(target);
        let question = || {
            let (asker, fields) = (self.asker.clone(), caller.fields.clone());
            let (path, object) = (path.clone(), object.clone());
            async move { signing::ask(&asker, &path, &fields, &object).await }
        };
        let key = (caller.key, path.clone());
        let holds = |said: &Said<_>| self.holds(said);
        self.places.ask(key, holds, self.max_age, question).await
    }

    /// The caller's projects that have local files.
    pub(super) async fn with_local_files(&self, caller: &Presented) -> Said<Arc<[ProjectId]>> {
        let question = || {
            let (asker, fields) = (self.asker.clone(), caller.fields.clone());
            async move { ask_for_projects(&asker, &fields).await }
        };
        let holds = |said: &Said<_>| match said {
            Ok(_) => PROJECTS_HOLD,
            Err(_) => self.holds(said),
        };
        let said = self
            .with_files
            .ask(caller.key, holds, PROJECTS_HOLD, question)
            .await;
        said.value
    }
}

fn weigh_tasks<'a>(tasks: impl Iterator<Item = &'a Arc<Task>>) -> u32 {
    let weigh = |uri: &MediaUri| 96 + uri.to_string().len();
    let bytes: usize = tasks
        .map(|task| 512 + task.media.iter().map(weigh).sum::<usize>())
        .sum();
    u32::try_from(bytes).unwrap_or(u32::MAX).max(512)
}

fn length<T>(said: &Said<Arc<[T]>>) -> u32 {
    let length = said.as_ref().map_or(0, |items| items.len());
    u32::try_from(length).unwrap_or(u32::MAX / 512 - 1)
}

async fn told<T: DeserializeOwned + Send + 'static>(
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

/// In the project that it is taken to be in, as a page of one; else by its id. The page is answered in half the time,
/// without annotations, and `review` keeps Label Studio from asking its ML backends for predictions, as a single task
/// does (`data_manager/api.py`, `tasks/api.py`): thumbnails must not set off inference.
async fn ask_for_task(
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
async fn ask_who_names(
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

async fn ask_for_projects(asker: &Asker, fields: &HeaderMap) -> Said<Arc<[ProjectId]>> {
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
    // As many at a time as Label Studio is asked anyway: more would only wait, and be told that it is busy.
    use futures_util::{StreamExt as _, TryStreamExt as _, stream};
    let found: Vec<_> = stream::iter(asked).buffered(4).try_collect().await?;
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
