//! 403: one and the same answer, whatever there is or is not.

use super::assert_problem;
use crate::support::client::Answer;
use crate::support::content::Pattern;
use crate::support::gateway::Setup;
use crate::support::store::Store;
use crate::support::uri;

/// The answer with what must differ (the request's id and the date) taken out.
fn masked(answer: &Answer) -> (u16, String, String) {
    let id = answer.json()["request_id"]
        .as_str()
        .expect("a request id")
        .to_owned();
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| {
            format!(
                "{name}: {}",
                value.to_str().expect("ASCII").replace(&id, "ID")
            )
        })
        .collect();
    fields.sort();
    (
        answer.status,
        fields.join("\n"),
        answer.text().replace(&id, "ID"),
    )
}

#[tokio::test]
async fn status_403_is_the_same_whether_project_task_or_object_exists_or_not() {
    let store = Store::start().await;
    let projects = "
        [[project]]
        id = '1'
        storages = ['media']
        members = ['anna', 'bo']
        [[project.task]]
        id = '7'
        media = ['s3://media/a.mp4', 's3://media/none.mp4']
        assignees = ['bo']
        [[project.task]]
        id = '8'
        media = ['s3://media/b.mp4']
        [[project]]
        id = '2'
        storages = ['media']
        members = ['bo']
        media = 'storage'
    ";
    let setup = Setup::bare()
        .storage("media", &store.section("media"))
        .projects(projects);
    let gateway = setup.start().await;
    store.put("media", "a.mp4", Pattern(1).bytes(10), None);
    let mut answers = Vec::new();
    for (told, path) in [
        ("a project of others", uri::project("2", "s3://media/a.mp4")),
        (
            "a project of others, no such object",
            uri::project("2", "s3://media/none.mp4"),
        ),
        ("no such project", uri::project("9", "s3://media/a.mp4")),
        ("a task of others", uri::task("7", "s3://media/a.mp4")),
        (
            "a task of others, no such object",
            uri::task("7", "s3://media/none.mp4"),
        ),
        ("no such task", uri::task("99", "s3://media/a.mp4")),
        ("media of another task", uri::task("8", "s3://media/a.mp4")),
        ("media of no task", uri::task("8", "s3://media/other.mp4")),
        (
            "media of no task of the project",
            uri::project("1", "s3://media/other.mp4"),
        ),
        (
            "a bucket of no storage",
            uri::project("1", "s3://elsewhere/a.mp4"),
        ),
        (
            "an address of the client's choice",
            uri::project("1", "http://127.0.0.1:1/media/a.mp4"),
        ),
        (
            "local files where there are none",
            "/data/local-files/?d=a.mp4".to_owned(),
        ),
    ] {
        let answer = gateway.get(path).answer().await;
        assert_problem(&answer, 403);
        answers.push((told, masked(&answer)));
    }
    let (_, first) = &answers[0];
    for (told, answer) in &answers {
        assert_eq!(answer, first, "{told}");
    }
    assert_eq!(
        store.requests().len(),
        0,
        "storage knows nothing of who is refused"
    );
}
