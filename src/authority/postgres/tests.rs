//! What is remembered stays within its bound, whatever is asked and however much of it.

use std::future::ready;
use std::time::SystemTime;

use super::*;
use crate::auth::Scope;
use crate::project::{Project, Task};

const HOUR: Duration = Duration::from_secs(3600);

/// Bytes of memory that this process holds.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux machine");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("a number") * 1024
}

fn annotator(number: usize) -> Annotator {
    Annotator {
        subject: format!("annotator-{}", number % 50).as_str().into(),
        groups: vec!["labelers-eu".into()],
        expires_at: SystemTime::now() + HOUR,
        scope: Scope::default(),
        presented: None,
    }
}

fn media(number: usize, name: &str) -> MediaUri {
    let uri = format!("s3://acme-recordings/{name}/camera-{number}.mp4");
    MediaUri::parse(&uri).expect("a URI")
}

fn question(number: usize, name: &str) -> Question {
    let target = Target::Task(number.to_string().as_str().into());
    Question::new(&annotator(number), &target, &media(number, name))
}

/// That so many projects permit it.
fn answer(number: usize, name: &str, projects: usize) -> Answer {
    let (subject, uri) = (annotator(number).subject, media(number, name));
    let candidates = (0..projects).map(|number| {
        let project = Project {
            id: format!("project-{number}").as_str().into(),
            storages: vec!["recordings".into()],
            members: [subject.clone()].into(),
            groups: Default::default(),
            media: MediaRule::Task,
        };
        let task = Arc::new(Task {
            id: number.to_string().as_str().into(),
            project: project.id.clone(),
            assignees: Default::default(),
            media: vec![uri.clone()],
        });
        Candidate {
            project: Arc::new(project),
            naming: [task.clone()].into(),
            task: Some(task),
            place: None,
        }
    });
    Answer {
        known: Some(Known {
            candidates: candidates.collect(),
            concern: Concern::Any,
            since: 0,
            as_of: Instant::now(),
        }),
        failed: None,
    }
}

/// How many of so many answers are remembered in the end.
async fn remembered(questions: usize, name: &str, projects: usize) -> usize {
    let memo = Memo::new(bounds(HOUR), system_clock());
    for number in 0..questions {
        let answer = answer(number, name, projects);
        let put = || ready(answer);
        memo.ask(question(number, name), |_| HOUR, HOUR, put).await;
    }
    let numbers = 0..questions;
    let there = numbers.filter(|number| memo.recall(&question(*number, name)).is_some());
    there.count()
}

/// Three times the limit is what an allocator, the list's own entries and what waits to be put out may add; each of
/// these, all of it remembered, would be more.
#[tokio::test]
async fn what_is_remembered_stays_within_its_bound() {
    let before = resident();
    let long = "a-long-name/".repeat(300);
    for (questions, name, projects, most) in [
        // A day of a large fleet's annotators.
        (100_000, "clips", 1, 32_000),
        // Names as long as anybody may ask for.
        (20_000, long.as_str(), 1, 7_000),
        // Local files, for somebody who is in as many projects as come back.
        (300, "clips", 1_000, 70),
    ] {
        let kept = remembered(questions, name, projects).await;
        let grown = resident().saturating_sub(before) >> 20;
        assert!((most / 4..most).contains(&kept), "{kept} of {questions}");
        assert!(grown < (3 * MEMORY) >> 20, "{grown} MiB for {questions}");
    }
}
