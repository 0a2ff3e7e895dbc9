//! What S3 itself answers, one refusal at a time: the step that it fails, and what is said to change.

use super::*;

#[tokio::test]
async fn each_refusal_of_s3_is_told_apart() {
    let desk = Desk::new().await;
    for (status, code, advice) in [
        (403, "RequestTimeTooSkewed", "set the clock"),
        (400, "ExpiredToken", "replace access_key_id"),
        (400, "AuthorizationHeaderMalformed", "set region"),
        (403, "InvalidAccessKeyId", "correct access_key_id"),
        (503, "SlowDown", "try again later"),
        (500, "InternalError", "status page"),
    ] {
        desk.server.fail_next(1, Fault::Status(status, code));
        // A key that is asked for by name: whatever fails first is told.
        let (step, said) = desk
            .failure(&desk.section(), uri("s3://media/clips/none.mp4"))
            .await;
        assert_eq!(step, "list", "{code}: {said}");
        let (_, advised) = said.split_once(" -> ").unwrap();
        assert!(advised.contains(advice), "{code}: {said}");
    }
}

#[tokio::test]
async fn in_redirect_mode_the_presigned_url_is_fetched() {
    let desk = Desk::new().await;
    let section = format!("{}delivery = 'redirect'\n", desk.section());
    let report = desk.check(&section, CheckArgs::default()).await;
    assert!(report.ok, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("presigned URL gives the first byte"),
        "{text}"
    );
    let presigned = desk.server.requests();
    assert!(presigned.iter().any(|request| request.presigned));
}
