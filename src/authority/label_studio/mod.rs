//! What may they see, by Label Studio's word: its own decision, asked with the caller's own credential, and on top what
//! it does not check: that the task's data names the media, and that the media lies within the storage's prefix.
//!
//! Gathers facts and decides nothing (`access` does). Every fact is remembered for `access.max_age` at most, by the
//! credential that it was asked with, never for another; where Label Studio does not answer there is no fact.
//!
//! Which of Lockgate's own storages may serve: an object of S3, Google or Azure only where a storage of the project
//! names its bucket in Label Studio, too, or whoever may create a task could name any object of this deployment. For
//! what Label Studio has no storages for (Databricks, Redis, `local://`) the task must name it, whatever the rule.

mod answers;
mod asking;
mod local;
mod questions;
mod signing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::{AccessConfig, Authority, AuthorityError, Candidate, Entitlement, Target};
use crate::ask::Asker;
use crate::ask::memo::{Clock, system_clock};
use crate::auth::Annotator;
use crate::auth::label_studio::Presented;
use crate::ids::{ProjectId, StorageId, TaskId};
use crate::media_uri::{MediaUri, Provider};
use crate::project::{MediaRule, Place, Project, Task};
use crate::signed::SignedUrls;

use answers::Storage;
use questions::{Kind, Lies, Not, Questions, Said};
use signing::{Again, Object};

/// One of Lockgate's own storages that holds a URI within its prefix and pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The storage.
    pub storage: StorageId,
    /// The object as a task's data would name it there, whichever spelling was asked for.
    pub uri: MediaUri,
    /// For local files the storage's root.
    pub root: Option<PathBuf>,
}

/// Says which storages hold a URI.
pub type Holding = Arc<dyn Fn(&MediaUri) -> Vec<Held> + Send + Sync>;

/// Lockgate's own storages.
#[derive(Clone)]
pub struct OwnStorages {
    /// Which of them hold a URI.
    pub holding: Holding,
    /// Whether there is one for local files, whatever it holds.
    pub local_files: bool,
}

/// Asks Label Studio.
pub struct LabelStudioAuthority {
    questions: Questions,
    media: MediaRule,
    own: OwnStorages,
    urls: Arc<SignedUrls>,
}

/// Who asks about what.
struct Case<'a> {
    annotator: &'a Annotator,
    caller: &'a Presented,
    target: &'a Target,
    uri: &'a MediaUri,
}

impl LabelStudioAuthority {
    /// Asks through `asker`. `own` are Lockgate's own storages; URLs that Label Studio signs are put into `urls`.
    pub fn new(
        asker: Arc<Asker>,
        config: &AccessConfig,
        own: OwnStorages,
        urls: Arc<SignedUrls>,
    ) -> Self {
        Self::with_clock(asker, config, own, urls, system_clock())
    }

    fn with_clock(
        asker: Arc<Asker>,
        config: &AccessConfig,
        own: OwnStorages,
        urls: Arc<SignedUrls>,
        clock: Clock,
    ) -> Self {
        Self {
            questions: Questions::new(asker, config.max_age, clock),
            media: config.media,
            own,
            urls,
        }
    }

    /// The task, and its project's storages at the same time where the project is known already.
    async fn on_task(&self, case: &Case<'_>, id: &TaskId) -> Said<Facts> {
        let own = (self.own.holding)(case.uri);
        let kind = kind_of(case.uri, &own);
        let guess = self.questions.guess(case.caller, id);
        let ahead = async {
            if let (Some(project), Some(kind)) = (&guess, kind) {
                self.questions.storages(case.caller, project, kind).await;
            }
        };
        let (task, ()) = futures_util::join!(self.questions.task(case.caller, id), ahead);
        let as_of = task.asked_at;
        let task = task.value?;
        let names = task.media.contains(case.uri);
        let naming = if names {
            [task.clone()].into()
        } else {
            Arc::default()
        };
        let facts = Facts {
            project: task.project.clone(),
            task: Some(task),
            naming,
            own,
            as_of,
        };
        Ok(facts)
    }

    /// The project's tasks that name the media, where the rule asks for them.
    async fn on_project(&self, case: &Case<'_>, project: &ProjectId) -> Said<Facts> {
        let own = (self.own.holding)(case.uri);
        let mut facts = Facts {
            project: project.clone(),
            task: None,
            naming: Arc::default(),
            as_of: Instant::now(),
            own,
        };
        if self.rule(case.uri) == MediaRule::Task {
            let kind = kind_of(case.uri, &facts.own);
            let ahead = async {
                if let Some(kind) = kind {
                    self.questions.storages(case.caller, project, kind).await;
                }
            };
            let naming = self.questions.naming(case.caller, project, case.uri);
            let (naming, ()) = futures_util::join!(naming, ahead);
            facts.as_of = naming.asked_at;
            facts.naming = naming.value?;
        }
        Ok(facts)
    }

    /// What one project has to say: which storages may serve, and where the media lies if none of Lockgate's own
    /// holds it.
    async fn candidate(&self, case: &Case<'_>, mut facts: Facts) -> Said<Dated> {
        let rule = self.rule(case.uri);
        let mut storages = Vec::new();
        let mut place = None;
        // Who is refused already costs no further question.
        if rule == MediaRule::Storage || !facts.naming.is_empty() {
            let listed = match kind_of(case.uri, &facts.own) {
                None => Arc::default(),
                Some(kind) => {
                    let asked = self.questions.storages(case.caller, &facts.project, kind);
                    let asked = asked.await;
                    facts.as_of = facts.as_of.min(asked.asked_at);
                    asked.value?
                }
            };
            let may_serve = |held: &&Held| may_serve(held, &listed);
            storages = facts
                .own
                .iter()
                .filter(may_serve)
                .map(|held| held.storage.clone())
                .collect();
            if storages.is_empty() {
                place = self.place(case, &mut facts, &listed).await?;
            }
        }
        let project = Project {
            id: facts.project.clone(),
            storages,
            members: HashSet::from([case.annotator.subject.clone()]),
            groups: HashSet::new(),
            media: rule,
        };
        let candidate = Candidate {
            project: Arc::new(project),
            task: facts.task,
            naming: facts.naming,
            place,
        };
        Ok((candidate, facts.as_of))
    }

    /// Where Label Studio itself would take the media from: its first storage of the bucket, if one of them has the
    /// key within its prefix.
    async fn place(
        &self,
        case: &Case<'_>,
        facts: &mut Facts,
        listed: &[Storage],
    ) -> Said<Option<Place>> {
        let MediaUri::Object {
            provider,
            bucket,
            key,
            account,
        } = case.uri
        else {
            return Ok(None);
        };
        let of_bucket = || listed.iter().filter(|storage| storage.is_of(bucket));
        let Some(first) = of_bucket()
            .next()
            .filter(|_| of_bucket().any(|it| it.covers(key)))
        else {
            return Ok(None);
        };
        let object = Object {
            provider: *provider,
            bucket: bucket.clone(),
            key: key.clone(),
            account: account.clone(),
            storage: first.id,
        };
        let with_it = || {
            let question = || Place::Application(object.question(case.target).into());
            object.is_read_as_written().then(question)
        };
        if !first.presign {
            return Ok(with_it());
        }
        let lies = self
            .questions
            .place(case.caller, case.target, &object)
            .await;
        facts.as_of = facts.as_of.min(lies.asked_at);
        Ok(match lies.value? {
            Lies::Signed(signed) => {
                let again = Again {
                    asker: self.questions.asker.clone(),
                    path: object.question(case.target),
                    fields: case.caller.fields.clone(),
                    object,
                    location: signed.location.clone(),
                };
                let (location, url) = (signed.location.clone(), signed.url.clone());
                self.urls.put(location.clone(), url, Arc::new(again));
                Some(Place::Signed(location))
            }
            Lies::WithIt => with_it(),
            Lies::Elsewhere => None,
        })
    }

    /// `access.media`, but for what no storage of Label Studio's binds to a project.
    fn rule(&self, uri: &MediaUri) -> MediaRule {
        match uri {
            MediaUri::Object { .. } | MediaUri::Url { .. } => self.media,
            MediaUri::Local { storage: None, .. } => self.media,
            MediaUri::Local {
                storage: Some(_), ..
            }
            | MediaUri::Volume { .. }
            | MediaUri::Redis { .. } => MediaRule::Task,
        }
    }

    async fn facts(&self, case: &Case<'_>) -> Said<Entitlement> {
        let gathered = match case.target {
            // What is no number names nothing there, and must not become part of another question's path.
            Target::Task(id) if is_number(id.as_str()) => self.on_task(case, id).await?,
            Target::Project(id) if is_number(id.as_str()) => self.on_project(case, id).await?,
            Target::Task(_) | Target::Project(_) => return Err(Not::Permitted),
            Target::AnyProject => return self.on_any_project(case).await,
        };
        let (candidate, as_of) = self.candidate(case, gathered).await?;
        let candidates = vec![candidate];
        Ok(Entitlement { candidates, as_of })
    }
}

/// A candidate, and the age of the oldest fact behind it.
type Dated = (Candidate, Instant);

/// What is known of a project before its storages are looked at.
struct Facts {
    project: ProjectId,
    task: Option<Arc<Task>>,
    naming: Arc<[Arc<Task>]>,
    own: Vec<Held>,
    /// The age of the oldest of them.
    as_of: Instant,
}

#[async_trait]
impl Authority for LabelStudioAuthority {
    async fn entitle(
        &self,
        annotator: &Annotator,
        target: &Target,
        uri: &MediaUri,
    ) -> Result<Entitlement, AuthorityError> {
        // A running body asks again with what it was let in by, and a request may have waited since.
        let caller = annotator.presented.as_deref();
        let caller = caller.filter(|caller| !caller.has_ended());
        let case = Case {
            annotator,
            caller: caller.ok_or(AuthorityError::NotAuthenticated)?,
            target,
            uri,
        };
        let facts = self.facts(&case).await;
        if case.caller.has_ended() {
            return Err(AuthorityError::NotAuthenticated);
        }
        match facts {
            Ok(entitlement) => Ok(entitlement),
            Err(Not::Permitted) => Ok(Entitlement {
                candidates: Vec::new(),
                as_of: Instant::now(),
            }),
            Err(Not::Authenticated) => Err(AuthorityError::NotAuthenticated),
            Err(Not::Answered(error)) => Err(AuthorityError::Unavailable(error.to_string())),
        }
    }

    fn ready(&self) -> bool {
        true
    }
}

/// The kind of Label Studio's storages that binds the media to a project, if one does: by the URI, or by the object
/// that it turns out to name in a storage of Lockgate's own.
fn kind_of(uri: &MediaUri, own: &[Held]) -> Option<Kind> {
    let of = |uri: &MediaUri| match uri {
        MediaUri::Object {
            provider: Provider::S3,
            ..
        } => Some(Kind::S3),
        MediaUri::Object {
            provider: Provider::Gcs,
            ..
        } => Some(Kind::Gcs),
        MediaUri::Object {
            provider: Provider::Azure,
            ..
        } => Some(Kind::Azure),
        MediaUri::Local { storage: None, .. } => Some(Kind::LocalFiles),
        MediaUri::Local {
            storage: Some(_), ..
        }
        | MediaUri::Url { .. }
        | MediaUri::Volume { .. }
        | MediaUri::Redis { .. } => None,
    };
    match uri {
        MediaUri::Url { .. } => own.iter().find_map(|held| of(&held.uri)),
        _ => of(uri),
    }
}

/// Whether a storage of the project in Label Studio names what Lockgate's own would serve.
fn may_serve(held: &Held, listed: &[Storage]) -> bool {
    match &held.uri {
        MediaUri::Object { bucket, key, .. } => listed
            .iter()
            .any(|storage| storage.is_of(bucket) && storage.covers(key)),
        MediaUri::Local {
            storage: None,
            path,
        } => local::covers(listed, held.root.as_deref(), path),
        MediaUri::Local {
            storage: Some(_), ..
        }
        | MediaUri::Volume { .. }
        | MediaUri::Redis { .. } => true,
        // No storage's own name for an object.
        MediaUri::Url { .. } => false,
    }
}

fn is_number(id: &str) -> bool {
    !id.is_empty() && id.len() <= 18 && id.bytes().all(|byte| byte.is_ascii_digit())
}
