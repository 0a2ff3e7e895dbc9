//! The access list as it is written: `projects.toml` and the task files it names, read into an [`Index`].
//!
//! Every mistake is named by file, line and key, and all of them at once.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Value;

use super::index::{Builder, Index};
use super::tasks::{self, Media, WrittenId, WrittenTask};
use crate::ids::{ProjectId, StorageId, Subject, TaskId};
use crate::located::{Document, Located, Problems};
use crate::media_uri::MediaUri;
use crate::project::{MediaRule, Project, Task};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenList {
    #[serde(default)]
    project: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenProject {
    id: WrittenId,
    storages: Vec<StorageId>,
    #[serde(default)]
    members: Vec<Subject>,
    #[serde(default)]
    groups: Vec<String>,
    tasks: Option<OneOrMany>,
    media: Option<MediaRule>,
    #[serde(default)]
    task: Vec<InlineTask>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InlineTask {
    id: WrittenId,
    media: Vec<String>,
    #[serde(default)]
    assignees: Vec<Subject>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a path or a list of paths")]
enum OneOrMany {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

/// A file as it was when it was read; `None`: it was not there.
pub type Stamp = Option<(i64, i64, u64, u64)>;

/// What tells one state of a file from another: time of modification, size, inode (of what a link leads to).
pub fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.mtime(), file.mtime_nsec(), file.size(), file.ino()))
}

/// An attempt to read the list: what came of it, and every file it depends on.
pub struct Reading {
    pub index: Result<Index, Problems>,
    pub files: Vec<(PathBuf, Stamp)>,
}

/// Reads the list. Blocks on the files.
pub fn read(file: &Path, default_media: MediaRule) -> Reading {
    let mut list = List {
        directory: file.parent().unwrap_or(Path::new("")),
        default_media,
        builder: Builder::default(),
        problems: vec![],
        files: vec![(file.to_owned(), stamp(file))],
    };
    if let Err(problem) = list.read(file) {
        list.problems.push(problem);
    }
    let index = if list.problems.is_empty() {
        Ok(list.builder.build())
    } else {
        Err(Problems(list.problems))
    };
    Reading {
        index,
        files: list.files,
    }
}

struct List<'a> {
    directory: &'a Path,
    default_media: MediaRule,
    builder: Builder,
    problems: Vec<Located>,
    /// Each stamped before it is read, so that a change while it is read is seen as one.
    files: Vec<(PathBuf, Stamp)>,
}

impl List<'_> {
    fn read(&mut self, file: &Path) -> Result<(), Located> {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Located::file(&name, format!("cannot be read: {error}")))?;
        let document = Document::parse(Some(&name), &text)?;
        let list: WrittenList = document.read()?;
        for (index, written) in list.project.into_iter().enumerate() {
            let at = format!("project[{index}]");
            match document.read_part(&at, written) {
                Ok(written) => self.project(&document, &at, written),
                Err(problem) => self.problems.push(problem),
            }
        }
        Ok(())
    }

    fn project(&mut self, document: &Document, at: &str, written: WrittenProject) {
        let project = Project {
            id: ProjectId::new(written.id.0),
            storages: written.storages,
            members: written.members.into_iter().collect(),
            groups: written.groups.into_iter().map(Into::into).collect(),
            media: written.media.unwrap_or(self.default_media),
        };
        let storages = project.storages.iter().enumerate().map(|(index, storage)| {
            let message = format!("no storage {:?} is configured", storage.as_str());
            let place = document.at(&format!("{at}.storages[{index}]"), message);
            (storage.clone(), place)
        });
        let (id, storages) = (project.id.clone(), storages.collect());
        if let Err(message) = self.builder.project(project, written.media, storages) {
            self.problems
                .push(document.at(&format!("{at}.id"), message));
            return;
        }
        let files = match written.tasks {
            None => vec![],
            Some(OneOrMany::One(file)) => vec![file],
            Some(OneOrMany::Many(files)) => files,
        };
        for file in files {
            self.task_file(document, at, &id, &file);
        }
        for (index, task) in written.task.into_iter().enumerate() {
            self.inline_task(document, &format!("{at}.task[{index}]"), &id, task);
        }
    }

    fn task_file(&mut self, document: &Document, at: &str, project: &ProjectId, file: &Path) {
        let path = self.directory.join(file);
        let stamp = stamp(&path);
        if stamp.is_none() {
            let message = format!("no such file: {}", path.display());
            let problem = document.at(&format!("{at}.tasks"), message);
            self.problems.push(problem);
        }
        self.files.push((path.clone(), stamp));
        if stamp.is_none() {
            return;
        }
        let read = tasks::read(&path, |written: WrittenTask| {
            let Media { uris: media, .. } = written.data;
            self.builder.task(Task {
                id: TaskId::new(written.id.0),
                project: project.clone(),
                assignees: written.assignees.unwrap_or_default(),
                media,
            })
        });
        self.problems.extend(read.err());
    }

    fn inline_task(
        &mut self,
        document: &Document,
        at: &str,
        project: &ProjectId,
        task: InlineTask,
    ) {
        let mut media = vec![];
        for (index, written) in task.media.iter().enumerate() {
            match MediaUri::parse(written) {
                Ok(uri) if media.contains(&uri) => {}
                Ok(uri) => media.push(uri),
                Err(error) => {
                    let key = format!("{at}.media[{index}]");
                    self.problems.push(document.at(&key, error.to_string()));
                }
            }
        }
        let task = Task {
            id: TaskId::new(task.id.0),
            project: project.clone(),
            assignees: task.assignees,
            media,
        };
        if let Err(message) = self.builder.task(task) {
            self.problems
                .push(document.at(&format!("{at}.id"), message));
        }
    }
}
