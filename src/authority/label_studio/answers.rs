//! What Label Studio's answers hold of use: tasks, storages, projects. All else in them is skipped as it passes.
//!
//! As Label Studio 1.23 gives them: `tasks/serializers.py`, `io_storages/*/serializers.py`, `projects/serializers.py`.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::ask::AskError;
use crate::authority::tasks::Media;
use crate::ids::{ProjectId, TaskId};
use crate::project::Task;

/// Above this an answer is read off the threads that serve: a MiB takes some milliseconds.
const READ_ELSEWHERE_ABOVE: usize = 256 << 10;

/// A task, alone or in a page.
#[derive(Deserialize)]
pub(super) struct WrittenTask {
    pub(super) id: u64,
    pub(super) project: u64,
    data: Media,
}

/// `/api/tasks?project=…`.
#[derive(Deserialize)]
pub(super) struct Page {
    pub(super) tasks: Vec<WrittenTask>,
    pub(super) total: u64,
}

/// A storage of a project.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Storage {
    pub(super) id: u64,
    bucket: Option<String>,
    container: Option<String>,
    prefix: Option<String>,
    /// Below what of Label Studio's own disk, for local files.
    pub(super) path: Option<String>,
    /// Whether it signs URLs; else it sends the media itself.
    #[serde(default)]
    pub(super) presign: bool,
}

/// `/api/projects/?include=id`.
#[derive(Deserialize)]
pub(super) struct Projects {
    pub(super) count: u64,
    pub(super) results: Vec<Id>,
}

/// An id and nothing else.
#[derive(Deserialize)]
pub(super) struct Id {
    pub(super) id: u64,
}

impl WrittenTask {
    pub(super) fn task(self) -> Arc<Task> {
        Arc::new(Task {
            id: TaskId::new(self.id.to_string()),
            project: ProjectId::new(self.project.to_string()),
            assignees: Vec::new(),
            media: self.data.uris,
        })
    }
}

impl Storage {
    /// Whether its bucket or container is this one; names are case-sensitive.
    pub(super) fn is_of(&self, bucket: &str) -> bool {
        let own = self.bucket.as_deref().or(self.container.as_deref());
        own == Some(bucket)
    }

    /// Whether a key lies within its prefix, which ends at a component: `data` has `data/x`, never `data-private/x`.
    pub(super) fn covers(&self, key: &str) -> bool {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let bound = prefix.strip_suffix('/').unwrap_or(prefix);
        let below = key.strip_prefix(bound);
        bound.is_empty() || below.is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Reads an answer.
pub(super) async fn read<T: DeserializeOwned + Send + 'static>(body: Bytes) -> Result<T, AskError> {
    let large = body.len() > READ_ELSEWHERE_ABOVE;
    let parse = move || {
        // serde_json's message may quote the value that it stumbled over: only where it was is told.
        serde_json::from_slice(&body).map_err(|error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            AskError::NotUnderstood(format!("line {line}, column {column}"))
        })
    };
    if !large {
        return parse();
    }
    let read = tokio::task::spawn_blocking(parse).await;
    read.unwrap_or_else(|_| Err(AskError::NotUnderstood("reading broke off".to_owned())))
}
