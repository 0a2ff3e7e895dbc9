//! The questions that Label Studio is asked, each remembered by the credential that it was asked with.
//!
//! Never shares an answer between two credentials, and never gives one out that is older than `access.max_age`. What
//! Label Studio 1.23 does with each question is read from its source; see the paths beside them.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;

use super::answers::Storage;
use super::asking::{ask_for_projects, ask_for_task, ask_whether_sent, ask_who_names, told};
use super::signing::{self, Signed};
use crate::ask::memo::{Bounds, Clock, Memo, Remembered};
use crate::ask::{AskError, Asker};
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

/// What the answers may take, in bytes.
const TASKS_BYTES: u64 = 64 << 20;
const OTHERS_BYTES: u64 = 16 << 20;

/// Who asks: a credential's key. Part of the name of everything that is remembered.
type Who = [u8; 32];

/// A list that is shared by all who are told it.
type List<T> = Arc<[T]>;

/// Answers of one kind, by credential and by what they are about.
type Told<About, T> = Memo<(Who, About), Said<T>>;

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
    tasks: Told<TaskId, Arc<Task>>,
    storages: Told<(ProjectId, Kind), List<Storage>>,
    naming: Told<(ProjectId, MediaUri), List<Arc<Task>>>,
    places: Told<(String, signing::Object), Lies>,
    with_files: Told<(), List<ProjectId>>,
    sends: Told<String, ()>,
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
            sends: memo(
                OTHERS_BYTES,
                kept,
                |(_, path), _| 256 + u32::try_from(path.len()).unwrap_or(u32::MAX / 2),
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
    ) -> Remembered<Said<List<Storage>>> {
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
        let key = (caller.key, (project.clone(), kind));
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
    ) -> Remembered<Said<List<Arc<Task>>>> {
        let question = || {
            let (asker, fields) = (self.asker.clone(), caller.fields.clone());
            let (project, uri) = (project.clone(), uri.clone());
            async move { ask_who_names(&asker, &fields, &project, &uri).await }
        };
        let key = (caller.key, (project.clone(), uri.clone()));
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
        let key = (caller.key, (path.clone(), object.clone()));
        let holds = |said: &Said<_>| self.holds(said);
        self.places.ask(key, holds, self.max_age, question).await
    }

    /// Whether it sends the caller the media at a path of its own.
    pub(super) async fn sends(&self, caller: &Presented, path: &str) -> Remembered<Said<()>> {
        let question = || {
            let (asker, fields) = (self.asker.clone(), caller.fields.clone());
            let path = path.to_owned();
            async move { ask_whether_sent(&asker, &path, &fields).await }
        };
        let key = (caller.key, path.to_owned());
        let holds = |said: &Said<_>| self.holds(said);
        self.sends.ask(key, holds, self.max_age, question).await
    }

    /// The caller's projects that have local files.
    pub(super) async fn with_local_files(&self, caller: &Presented) -> Said<List<ProjectId>> {
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
            .ask((caller.key, ()), holds, PROJECTS_HOLD, question)
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

fn length<T>(said: &Said<List<T>>) -> u32 {
    let length = said.as_ref().map_or(0, |items| items.len());
    u32::try_from(length).unwrap_or(u32::MAX / 512 - 1)
}
