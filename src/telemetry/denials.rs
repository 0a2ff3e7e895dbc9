//! The last denials, for people who look: a few, in memory, forgotten at the end of the process.
//!
//! Not the audit log, which keeps every one: this is where "why can't she see it" begins. Shows people as the audit log
//! does; never a token, and of a URI never its query, where a signature would be.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use super::audit_log::Deed;
use super::record::rfc3339;
use crate::ids::{ProjectId, RequestId, StorageId, Subject, TaskId};

/// Denials of people who are known: a screenful and some more.
const KEPT: usize = 50;
/// Those of nobody known have a list of their own: whoever has no credential could push all others out.
const KEPT_OF_NOBODY: usize = 10;
/// Letters of a URI: more would not be read, and a client chose them.
const SHOWN: usize = 256;

/// One of them.
#[derive(Clone, Debug, Serialize)]
pub struct Denial {
    #[serde(serialize_with = "rfc3339")]
    time: SystemTime,
    reason: &'static str,
    request_id: RequestId,
    subject: Option<Subject>,
    project: Option<ProjectId>,
    task: Option<TaskId>,
    storage: Option<StorageId>,
    object: Option<String>,
    status: u16,
}

/// The last of them.
#[derive(Debug, Default)]
pub struct Denials(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    known: VecDeque<Denial>,
    nobody: VecDeque<Denial>,
}

impl Denials {
    /// Somebody was refused, or cut off; `reason` in the words of the metrics' labels. Where somebody else is just
    /// writing or reading, this one is left out: nobody waits.
    pub fn add(&self, reason: &'static str, deed: impl FnOnce() -> Deed) {
        let Ok(mut lists) = self.0.try_lock() else {
            return;
        };
        let deed = deed();
        let (list, most) = match deed.subject {
            Some(_) => (&mut lists.known, KEPT),
            None => (&mut lists.nobody, KEPT_OF_NOBODY),
        };
        list.truncate(most - 1);
        list.push_front(Denial {
            time: SystemTime::now(),
            reason,
            request_id: deed.request_id,
            subject: deed.subject,
            project: deed.project,
            task: deed.task,
            storage: deed.storage,
            object: deed.object.as_deref().map(shown),
            status: deed.status,
        });
    }

    /// All that are kept, the last first.
    pub fn last(&self) -> Vec<Denial> {
        let lists = self.lists();
        let mut all: Vec<Denial> = lists.known.iter().chain(&lists.nobody).cloned().collect();
        drop(lists);
        all.sort_by_key(|denial| std::cmp::Reverse(denial.time));
        all
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(uri: &str) -> String {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let mut shown: String = path.chars().take(SHOWN).collect();
    if shown.len() < uri.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(subject: Option<&str>, object: &str) -> Deed {
        Deed {
            request_id: RequestId::random(),
            subject: subject.map(Subject::from),
            project: None,
            task: Some("7".into()),
            storage: None,
            object: Some(object.to_owned()),
            status: 403,
        }
    }

    #[test]
    fn the_last_come_first_and_are_few() {
        let denials = Denials::default();
        for n in 0..KEPT + 20 {
            denials.add("not_member", || deed(Some("eve"), &format!("s3://b/{n}")));
        }
        let last = denials.last();
        assert_eq!(last.len(), KEPT);
        assert_eq!(last[0].object.as_deref(), Some("s3://b/69"));
    }

    #[test]
    fn whoever_has_no_credential_pushes_nobody_out() {
        let denials = Denials::default();
        denials.add("not_in_task", || deed(Some("anna"), "s3://b/a"));
        for _ in 0..1000 {
            denials.add("unauthenticated", || deed(None, "s3://b/a"));
        }
        let last = denials.last();
        assert_eq!(last.len(), KEPT_OF_NOBODY + 1);
        assert!(last.iter().any(|denial| denial.reason == "not_in_task"));
    }

    #[test]
    fn a_uri_is_shown_without_its_query_and_not_for_ever() {
        assert_eq!(shown("s3://b/a.mp4"), "s3://b/a.mp4");
        assert_eq!(shown("https://h/a?X-Amz-Signature=abc"), "https://h/a…");
        assert_eq!(shown(&"ä".repeat(5000)).chars().count(), SHOWN + 1);
    }
}
