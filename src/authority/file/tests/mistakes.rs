//! Tables of mistakes in an access list: each an error that names file, line and key.

use super::*;

/// What is replaced in the example, by what; the line, the key, and a word of the message.
type Mistake = (
    &'static str,
    &'static str,
    usize,
    &'static str,
    &'static str,
);

// One mistake a line reads better than eight lines each.
#[rustfmt::skip]
const IN_THE_LIST: &[Mistake] = &[
    ("members = [\"anna", "member = [\"anna", 6, "project[0].member", "did you mean `members`"),
    ("id = \"43\"", "id = \"42\"", 16, "project[1].id", "two projects"),
    ("id = \"43\"", "id = \"\"", 16, "project[1].id", "empty"),
    ("id = \"43\"\n", "", 15, "project[1].id", "is missing"),
    ("storages = [\"slides\"]\n", "", 15, "project[1].storages", "is missing"),
    ("media = \"storage\"", "media = \"all\"", 19, "project[1].media", "`storage`"),
    ("tasks-42.jsonl", "no-tasks.jsonl", 8, "project[0].tasks", "no such file"),
    ("tasks = \"tasks-42.jsonl\"", "tasks = 42", 8, "project[0].tasks", "list of paths"),
    ("id = \"7\"", "id = \"1001\"", 11, "project[0].task[0].id", "used twice"),
    ("/data/local-files/?d=clips", "/data/local-files/?d=..", 12, "project[0].task[0].media[0]", "not allowed"),
    ("assignees = [\"bo@example.com\"]", "assignees = \"bo\"", 13, "project[0].task[0].assignees", "sequence"),
    ("[[project.task]]", "[[project.tusk]]", 10, "project[0].tusk", "did you mean `task`"),
    ("members = [\"chen", "members = [chen", 18, "members", ""),
];

#[test]
fn a_mistake_in_the_list_names_file_line_and_key() {
    for &(written, mistake, line, key, word) in IN_THE_LIST {
        let place = Place::example();
        assert!(LIST.contains(written), "{written}");
        place.write("projects.toml", &LIST.replacen(written, mistake, 1));
        let problems = place.open().expect_err(mistake);
        let first = &problems.0[0];
        let file = first.file.as_deref().unwrap_or_default();
        assert!(file.ends_with("projects.toml"), "{first}");
        assert_eq!(
            (first.line, first.key.as_str()),
            (Some(line), key),
            "{problems}"
        );
        assert!(first.message.contains(word), "{first}");
    }
}

#[test]
fn a_mistake_in_a_task_file_names_file_and_line() {
    let first = "{\"id\": 1, \"data\": {}}\n";
    for (tasks, line, word) in [
        (format!("{first}{{\"id\": 2"), 2, "not JSON"),
        (format!("{first}\n{first}"), 3, "used twice"),
        (format!("{first}{{\"data\": {{}}}}"), 2, "missing field `id`"),
        (format!("{first}{{\"id\": 2}}"), 2, "missing field `data`"),
        (format!("{first}{{\"id\": 2, \"data\": {{}}, \"assignees\": \"bo\"}}"), 2, "string \"bo\""),
        (format!("{first}\u{0}"), 2, "not JSON"),
        ("[\n{\"id\": 1, \"data\": {}},\n{\"id\": 1, \"data\": {}},\n{\"id\": 2, \"data\": {}}\n]".to_owned(), 3, "used twice"),
        ("[\n{\"id\": 1, \"data\": {}},\n{\"id\": [], \"data\": {}}\n]".to_owned(), 3, "an id"),
        ("[\n{\"id\": 1, \"data\": {}}".to_owned(), 2, "not JSON"),
    ] {
        let place = Place::example();
        place.write("tasks-42.jsonl", &tasks);
        let problems = place.open().expect_err(&tasks);
        let problem = &problems.0[0];
        let file = problem.file.as_deref().unwrap_or_default();
        assert!(file.ends_with("tasks-42.jsonl"), "{problem}");
        assert_eq!(problem.line, Some(line), "{tasks}: {problem}");
        assert!(problem.message.contains(word), "{tasks}: {problem}");
    }
}
