//! What is remembered, for how long, and for whom.

use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn a_logout_refuses_whoever_came_before_it_and_what_is_remembered_of_them() {
    let it = fixture().await;
    it.studio.say(|question| {
        let mut by_token = question.clone();
        by_token
            .fields
            .insert("authorization".into(), "Token anna".into());
        studio(&by_token)
    });
    let sessions = Sessions::default();
    let of = |session: &str| {
        let mut headers = HeaderMap::new();
        let cookie = format!("sessionid={session}");
        headers.insert("cookie", cookie.parse().expect("a value"));
        let presented = Presented::of(&headers, &sessions).expect("a session");
        Annotator {
            presented: Some(Arc::new(presented)),
            ..annotator("anna")
        }
    };
    let (one, other) = (of("one"), of("other"));
    let uri = MediaUri::parse("s3://media/data/a.png").expect("a URI");
    let target = task("1");
    let entitle = |annotator| it.authority.entitle(annotator, &target, &uri);
    assert!(entitle(&one).await.is_ok() && entitle(&other).await.is_ok());
    sessions.end("one");
    let asked = it.questions();
    let refused = entitle(&one).await;
    assert!(matches!(refused, Err(AuthorityError::NotAuthenticated)));
    assert!(entitle(&other).await.is_ok(), "another's session goes on");
    assert_eq!(it.questions(), asked);
    // One that ends while Label Studio is asked is no better.
    it.later(MAX_AGE.as_secs());
    it.studio.hold(true);
    let (late, ()) = tokio::join!(entitle(&other), async {
        while it.questions() == asked {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        sessions.end("other");
        it.studio.hold(false);
    });
    assert!(matches!(late, Err(AuthorityError::NotAuthenticated)));
}
use crate::signed::{NotSigned, SignedUrl};

const URI: &str = "s3://media/data/a.png";

#[tokio::test]
async fn concurrent_requests_ask_once() {
    let it = fixture().await;
    it.studio.hold(true);
    let all = join_all((0..50).map(|_| it.ask("anna", task("1"), URI)));
    let (outcomes, ()) = tokio::join!(all, async { it.studio.hold(false) });
    for outcome in outcomes {
        outcome.signed();
    }
    assert_eq!(it.questions(), 3, "{:?}", it.studio.asked());
}

#[tokio::test]
async fn a_decision_holds_for_max_age_and_is_then_asked_for_again() {
    let it = fixture().await;
    for (after, asked) in [(0, 3), (4, 3), (1, 6), (4, 6), (1, 9)] {
        it.later(after);
        it.ask("anna", task("1"), URI).await.signed();
        assert_eq!(it.questions(), asked);
    }
    // A task whose project is known is asked for without setting off predictions.
    assert_eq!(it.studio.count("/api/tasks/1/"), 1);
    assert_eq!(it.studio.count("/api/tasks?project=1&"), 2);
    assert!(
        it.studio
            .asked()
            .iter()
            .all(|it| { !it.path.starts_with("/api/tasks?") || it.path.contains("&review=true&") })
    );
}

#[tokio::test]
async fn with_no_max_age_every_request_asks() {
    let it = with(MediaRule::Task, Duration::ZERO, |_| Vec::new()).await;
    for _ in 0..3 {
        it.ask("anna", task("1"), URI).await.signed();
    }
    assert_eq!(it.studio.count("/tasks/1/resolve/"), 3);
    assert_eq!(it.studio.count("/api/tasks"), 3);
}

#[tokio::test]
async fn two_credentials_share_no_answer() {
    let it = with(MediaRule::Task, MAX_AGE, super::files::own).await;
    let file = "/data/local-files/?d=ds/a%20b.txt";
    for (target, uri) in [
        (task("1"), URI),
        (project("1"), URI),
        (Target::AnyProject, file),
    ] {
        it.ask("anna", target.clone(), uri).await.permit();
        it.ask("bert", target, uri).await.permit();
    }
    let asked = it.studio.asked();
    let of = |token: &str| {
        let own = asked
            .iter()
            .filter(|it| it.fields["authorization"] == token);
        let mut paths: Vec<_> = own.map(|it| &it.path).collect();
        paths.sort();
        paths
    };
    assert_eq!(of("Token anna"), of("Token bert"));
}

#[tokio::test]
async fn a_member_who_was_removed_is_denied_within_max_age() {
    let it = fixture().await;
    it.ask("anna", task("1"), URI).await.signed();
    it.studio.say(|_| status(403));
    it.later(4);
    it.ask("anna", task("1"), URI).await.signed();
    it.later(1);
    assert_eq!(
        it.ask("anna", task("1"), URI).await.denied(),
        Denied::Unknown
    );
}

#[tokio::test]
async fn a_refusal_holds_for_a_second() {
    let it = fixture().await;
    it.studio.say(|_| status(403));
    for (after, expected) in [(0, 1), (0, 1), (1, 2)] {
        it.later(after);
        assert_eq!(
            it.ask("anna", task("1"), URI).await.denied(),
            Denied::Unknown
        );
        assert_eq!(it.questions(), expected);
    }
    it.studio.say(studio);
    it.later(1);
    it.ask("anna", task("1"), URI).await.signed();
}

#[tokio::test]
async fn while_label_studio_is_down_decisions_hold_to_their_end_and_no_longer() {
    let mut it = fixture().await;
    it.ask("anna", task("1"), URI).await.signed();
    it.studio.stop().await;
    it.later(4);
    it.ask("anna", task("1"), URI).await.signed();
    let other = it.ask("anna", task("2"), URI).await;
    assert!(matches!(other, Outcome::Unavailable), "{other:?}");
    it.later(1);
    let outcome = it.ask("anna", task("1"), URI).await;
    assert!(matches!(outcome, Outcome::Unavailable), "{outcome:?}");
}

#[tokio::test]
async fn a_url_that_has_ended_is_asked_for_again_with_its_callers_credential() {
    let it = fixture().await;
    let location = it.ask("anna", task("1"), URI).await.signed();
    let stale = it.urls.get(&location).expect("it was put");
    it.studio.say(|question| {
        assert_eq!(question.fields["authorization"], "Token anna");
        let (status, location, body) = studio(question);
        (status, location.replace("7e88", "9a99"), body)
    });
    let renewed = it.urls.renew(&location, &stale).await.expect("a new one");
    assert!(renewed.url.expose().ends_with("9a99"));
    for (reply, expected) in [
        (status(403), NotSigned::Refused),
        (
            see_other("http://127.0.0.1:9/media/data/z.png?X-Amz-Credential=AK"),
            NotSigned::Unavailable("it is signed for another object".into()),
        ),
        (
            see_other("http://127.0.0.1:9/media/data/a.png?X-Amz-Credential=BK"),
            NotSigned::Unavailable("it is signed by another key now".into()),
        ),
    ] {
        it.studio.say(move |_| reply.clone());
        let stale: SignedUrl = it.urls.get(&location).expect("still there");
        assert_eq!(it.urls.renew(&location, &stale).await, Err(expected));
    }
}
