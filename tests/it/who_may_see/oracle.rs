//! Whether a refusal tells what there is: not by its status, its fields or its length (see also
//! `status_403_is_the_same_whether_project_task_or_object_exists_or_not`), and not by the time it takes.

use std::time::{Duration, Instant};

use http::Method;

use crate::support::gateway::{Gateway, Setup};
use crate::support::store::Store;
use crate::support::uri;

/// Contract §4: "the same answer, byte for byte and in the same time".
const LIMIT: Duration = Duration::from_micros(200);
/// Requests of each kind in one measurement.
const ROUNDS: usize = 400;
/// A busy machine may spoil a measurement: what is really slower is slower every time.
const TRIES: usize = 8;

/// Project 1 is anna's and has tasks, project 2 is not hers and has many; the store holds `there.mp4`.
async fn started() -> (Store, Gateway) {
    let store = Store::start().await;
    store.put("media", "there.mp4", b"the media".to_vec(), None);
    let task = |id: usize, media: &str, more: &str| {
        format!("[[project.task]]\nid = '{id}'\nmedia = ['{media}']\n{more}")
    };
    let mut projects =
        String::from("[[project]]\nid = '1'\nstorages = ['media']\nmembers = ['anna', 'bo']\n");
    projects += &task(7, "s3://media/there.mp4", "assignees = ['bo']\n");
    projects += &task(8, "s3://media/other.mp4", "");
    projects += "[[project]]\nid = '2'\nstorages = ['media']\nmembers = ['bo']\n";
    for id in 100..600 {
        projects += &task(id, &format!("s3://media/{id}.mp4"), "");
    }
    projects += &task(600, "s3://media/there.mp4", "");
    let setup = Setup::over(&store.section("media")).projects(&projects);
    let gateway = setup.start().await;
    (store, gateway)
}

/// Pairs of requests that are refused, of which only the first is about something that exists.
fn pairs() -> Vec<(&'static str, String, String)> {
    let (there, none) = ("s3://media/there.mp4", "s3://media/none1.mp4");
    vec![
        (
            "a task of others",
            uri::task("600", there),
            uri::task("900", there),
        ),
        (
            "a task assigned to others",
            uri::task("7", there),
            uri::task("9", there),
        ),
        (
            "an object of a task of others",
            uri::task("600", there),
            uri::task("600", none),
        ),
        (
            "an object of no task of theirs",
            uri::task("8", there),
            uri::task("8", none),
        ),
        (
            "a project of others",
            uri::project("2", there),
            uri::project("3", there),
        ),
        (
            "an object in a project of others",
            uri::project("2", there),
            uri::project("2", none),
        ),
        (
            "an object in a project of theirs",
            uri::project("1", there),
            uri::project("1", none),
        ),
    ]
}

async fn timed(gateway: &Gateway, path: &str) -> Duration {
    let ask = gateway.get(path);
    let begun = Instant::now();
    let answer = ask.answer().await;
    let taken = begun.elapsed();
    assert_eq!(answer.status, 403, "{path}");
    taken
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// How far the medians of both kinds lie apart, over rounds in which each comes first by turns.
async fn difference(gateway: &Gateway, there: &str, none: &str) -> Duration {
    let (mut of_there, mut of_none) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 2 == 0 {
            of_there.push(timed(gateway, there).await);
            of_none.push(timed(gateway, none).await);
        } else {
            of_none.push(timed(gateway, none).await);
            of_there.push(timed(gateway, there).await);
        }
    }
    median(&mut of_there).abs_diff(median(&mut of_none))
}

#[tokio::test]
async fn the_time_of_a_refusal_does_not_tell_what_exists() {
    let (_store, gateway) = started().await;
    for (told, there, none) in pairs() {
        let mut found = Vec::new();
        for _ in 0..TRIES {
            found.push(difference(&gateway, &there, &none).await);
            if found.last().is_some_and(|difference| *difference < LIMIT) {
                break;
            }
        }
        assert!(
            found.iter().any(|difference| *difference < LIMIT),
            "{told}: {found:?}"
        );
    }
}

#[tokio::test]
async fn status_fields_and_length_of_a_refusal_do_not_tell_what_exists() {
    let (store, gateway) = started().await;
    for (told, there, none) in pairs() {
        for (method, fields) in [
            (Method::GET, vec![]),
            (Method::HEAD, vec![]),
            (Method::OPTIONS, vec![]),
            (Method::POST, vec![]),
            (Method::GET, vec![("range", "bytes=0-0")]),
            (Method::GET, vec![("range", "bytes=999-")]),
            (Method::GET, vec![("if-none-match", "*")]),
            (Method::GET, vec![("if-match", "\"none\"")]),
            (Method::GET, vec![("accept", "image/png")]),
            (Method::GET, vec![("sec-fetch-dest", "script")]),
            (Method::GET, vec![("origin", "https://evil.example.com")]),
        ] {
            let mut answers = Vec::new();
            for path in [&there, &none] {
                let mut ask = gateway.client().ask(method.clone(), path).by("anna");
                for (name, value) in &fields {
                    ask = ask.header(name, value);
                }
                let answer = ask.answer().await;
                let mut head = answer.headers;
                head.remove("date");
                answers.push((answer.status, head, answer.body.len()));
            }
            assert_eq!(answers[0], answers[1], "{told}: {method} {fields:?}");
        }
    }
    assert_eq!(
        store.requests().len(),
        0,
        "storage is not asked for who is refused"
    );
}
