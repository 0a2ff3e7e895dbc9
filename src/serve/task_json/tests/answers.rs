//! Answers of Label Studio 1.23.2, some fields left out. What stands between `⟨` and `⟩` is what it left unresolved and
//! is to be rewritten; beside it are a URI that it resolved, one of a prediction, and strings that name media in words.

use super::{Shape, in_pieces, rewritten, with_routes};

const DATA: &str = r#"{"image":"/tasks/2/resolve/?fileuri=czM6Ly9tZWRpYS9hIGIrYy5wbmc=","volume":"⟨dbx://Volumes/main/studio/media/été.png⟩","blob":"⟨azure-blob://elsewhere/a.png⟩","html":"<img src=\"/tasks/2/resolve/?fileuri=czM6Ly9tZWRpYS8xLnBuZw==\"><img src='⟨s3://media/2.png⟩'> & <a href=\"https://x.example/s3\">\"quoted\"</a>","images":["/tasks/2/resolve/?fileuri=czM6Ly9tZWRpYS8xLnBuZw==","⟨s3://other/2.png⟩","⟨gs://third/3.png⟩"],"nested":{"url":"⟨s3://other/4.png⟩","deep":[{"url":"⟨s3://media/5.png⟩","volume":"⟨dbx://Volumes/main/studio/media/6.png⟩"}]},"text":"see s3://media/a.png","web":"https://media.s3.amazonaws.com/a.png","n":1.5,"sep":"a\u2028b 😀 /"}"#;

const PREDICTIONS: &str = r#"[{"id":2,"result":[{"from_name":"l","to_name":"t","type":"labels","value":{"data":"dbx://Volumes/main/studio/media/7.png","labels":["a"],"start":0,"end":1}}],"model_version":"m","score":0.5,"mislabeling":0.0,"task":2,"project":2}]"#;

/// `GET /api/tasks/2/`.
fn task() -> String {
    format!(
        r#"{{"id":2,"predictions":{PREDICTIONS},"annotations":[],"drafts":[],"inner_id":2,"completed_at":null,"predictions_results":"","storage_filename":null,"draft_exists":false,"data":{DATA},"meta":{{}},"created_at":"2026-11-22T04:56:01.770962Z","is_labeled":false,"overlap":1,"project":2,"comment_authors":[]}}"#
    )
}

/// `GET /api/tasks?project=2&fields=all`.
fn page() -> String {
    let results = r#""predictions_results":"[{from_name: l, value: {data: dbx://Volumes/main/studio/media/7.png, labels: [a]}}]""#;
    let task = task().replace(r#""predictions_results":"""#, results);
    format!(r#"{{"total_annotations":0,"total_predictions":1,"total":1,"tasks":[{task}]}}"#)
}

/// `GET /api/projects/2/next` and `POST /api/dm/actions?id=next_task&project=2`.
fn next_task() -> String {
    format!(
        r#"{{"id":2,"predictions":[],"annotations":[],"drafts":[],"updated_by":[],"unique_lock_id":"6fbc7f67-79c2-4718-9669-e61bd2577606","data":{DATA},"meta":{{}},"is_labeled":false,"project":2,"file_upload":null,"queue":"Sequence queue"}}"#
    )
}

/// The order of `GET /api/projects/2/tasks/`, with the id behind the data.
fn id_last() -> String {
    format!(r#"[{{"data":{DATA},"predictions":{PREDICTIONS},"id":2}}]"#)
}

#[test]
fn what_label_studio_leaves_unresolved_is_rewritten_and_every_other_byte_stays() {
    for (shape, expected) in [
        (Shape::Task, task()),
        (Shape::List, page()),
        (Shape::Task, next_task()),
        (Shape::List, id_last()),
    ] {
        let answered = expected.replace(['⟨', '⟩'], "");
        let expected = with_routes(2, &expected);
        let out = rewritten(shape, answered.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), expected);
        let cuts: Vec<usize> = (0..answered.len()).collect();
        assert_eq!(
            in_pieces(shape, answered.as_bytes(), &cuts),
            expected.as_bytes()
        );
    }
}

#[test]
fn an_answer_of_another_shape_passes_as_it_is() {
    for (shape, answered) in [
        (Shape::List, task()),
        (Shape::Task, page()),
        (Shape::Task, id_last()),
        (Shape::List, format!(r#"{{"results":[{}]}}"#, task())),
        (Shape::List, format!(r#"{{"tasks":[[{}]]}}"#, task())),
        (
            Shape::List,
            format!(r#"{{"page":{{"tasks":[{}]}}}}"#, task()),
        ),
        (Shape::Task, format!(r#"{{"id":2,"task":{}}}"#, task())),
        // Label Studio's words for a mistake, and ids that are none of a task's.
        (
            Shape::Task,
            r#"{"id":"710e37e8","status_code":401,"data":"⟨dbx://Volumes/c/s/v/a⟩"}"#.into(),
        ),
        (Shape::Task, format!(r#"{{"id":2.0,"data":{DATA}}}"#)),
        (Shape::Task, format!(r#"{{"id":[5],"data":{DATA}}}"#)),
        (
            Shape::Task,
            format!(r#"{{"meta":{{"id":3}},"data":{DATA}}}"#),
        ),
    ] {
        let answered = answered.replace(['⟨', '⟩'], "");
        let out = rewritten(shape, answered.as_bytes());
        assert_eq!(String::from_utf8_lossy(&out), answered);
    }
}

#[test]
fn escapes_are_read_for_the_decision_and_kept_around_it() {
    for (answered, expected) in [
        (
            r#""dbx:\/\/Volumes\/c\/s\/v\/a.png""#,
            r#""⟨dbx://Volumes/c/s/v/a.png⟩""#,
        ),
        (
            r#""\u00733://b/\u00e9\ud83d\ude00\u20ac""#,
            r#""⟨s3://b/é😀€⟩""#,
        ),
        (
            r#""\ud83d\ude00\u20ac\u00e9\t<img src=\u0022s3:\/\/b\/k\"\/>\u002f""#,
            r#""\ud83d\ude00\u20ac\u00e9\t<img src=\u0022⟨s3://b/k⟩\"\/>\u002f""#,
        ),
        (r#"" s3://b/k\n""#, r#"" ⟨s3://b/k⟩\n""#),
        (r#""S3://b/k""#, r#""⟨S3://b/k⟩""#),
        (
            r#""<a href='s3://b/x&amp;y'>""#,
            r#""<a href='⟨s3://b/x&y⟩'>""#,
        ),
        // Half of a surrogate pair says nothing.
        (r#""s3://b/\ud83d""#, r#""s3://b/\ud83d""#),
    ] {
        let document =
            |value: &str| format!(r#"{{"i\u0064":7 , "d\u0061ta":{{"s3://a/b":{value}}}}}"#);
        let out = rewritten(Shape::Task, document(answered).as_bytes());
        let expected = with_routes(7, &document(expected));
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
