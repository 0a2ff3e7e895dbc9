//! What may they see, as facts: the access source answers with an [`Entitlement`], `access` decides on it.
//!
//! Knows no HTTP, no storage and no bytes. Every source's staleness is bounded by `access.max_age`.

pub mod file;
mod index;
pub mod label_studio;
mod list;
pub mod mentions;
pub mod postgres;
mod tasks;
mod watcher;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::auth::Annotator;
use crate::ids::{ProjectId, TaskId};
use crate::media_uri::MediaUri;
use crate::project::{MediaRule, Place, Project, Task};

pub use crate::auth::label_studio::LabelStudioConfig;
pub use postgres::PostgresConfig;
pub use tasks::media_of;

/// What the request is about, as its route says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/tasks/{task}/resolve/`.
    Task(TaskId),
    /// `/projects/{project}/resolve/`.
    Project(ProjectId),
    /// `/data/local-files/`: any project of the annotator's.
    AnyProject,
}

/// The facts about one question, as the source had them at `as_of`.
#[derive(Clone, Debug)]
pub struct Entitlement {
    /// The projects it could be permitted through: none or one for a task or project route, any number for
    /// [`Target::AnyProject`].
    pub candidates: Vec<Candidate>,
    /// When the source knew this.
    pub as_of: Instant,
}

/// One project, and what in it speaks for the media.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The project.
    pub project: Arc<Project>,
    /// The route's task, on a task route.
    pub task: Option<Arc<Task>>,
    /// The tasks whose data names the media: on a task route that task or none, else those of the project.
    pub naming: Arc<[Arc<Task>]>,
    /// Where the source itself says that the media lies, for when no storage of Lockgate's own holds it.
    pub place: Option<Place>,
}

/// Why the source gave no answer. `serve::error` makes it a 503, or a 401: never open.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The source is down, and what it last said is older than `access.max_age`.
    #[error("the access source does not answer: {0}")]
    Unavailable(String),
    /// The source does not, or no longer, know whose credential this is.
    #[error("the access source does not accept the credential")]
    NotAuthenticated,
}

/// A source of access facts.
#[async_trait]
pub trait Authority: Send + Sync {
    /// The facts that decide whether this annotator may see this media on this route.
    async fn entitle(
        &self,
        annotator: &Annotator,
        target: &Target,
        uri: &MediaUri,
    ) -> Result<Entitlement, AuthorityError>;

    /// Whether the source has loaded, for `/readyz`.
    fn ready(&self) -> bool;
}

/// The `[access]` section as this room wants it; `config` fills it in.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessConfig {
    /// Who is asked.
    pub source: AccessSource,
    /// The rule of projects that set none of their own.
    pub media: MediaRule,
    /// How old a decision may be: the revocation lag of sources that have to be asked. A file is watched instead.
    pub max_age: Duration,
}

/// Where access facts come from (`access.source`).
#[derive(Clone, Debug, PartialEq)]
pub enum AccessSource {
    /// The access list in this file.
    File(PathBuf),
    /// The Label Studio whose annotators these are.
    LabelStudio(LabelStudioConfig),
    /// The tables of this database.
    Postgres(Box<PostgresConfig>),
}

impl AccessConfig {
    /// How Label Studio is reached, where that is the source.
    pub fn label_studio(&self) -> Option<&LabelStudioConfig> {
        match &self.source {
            AccessSource::LabelStudio(config) => Some(config),
            AccessSource::File(_) | AccessSource::Postgres(_) => None,
        }
    }

    /// The access list, where that is the source.
    pub fn file(&self) -> Option<&Path> {
        match &self.source {
            AccessSource::File(file) => Some(file),
            AccessSource::LabelStudio(_) | AccessSource::Postgres(_) => None,
        }
    }

    /// How the database is reached, where that is the source.
    pub fn postgres(&self) -> Option<&PostgresConfig> {
        match &self.source {
            AccessSource::Postgres(config) => Some(config),
            AccessSource::File(_) | AccessSource::LabelStudio(_) => None,
        }
    }
}
