//! What `error` promises, as tables.

use std::collections::HashMap;

use super::*;
use crate::media_uri::MediaUriError;
use crate::serve::LimitsConfig;
use crate::serve::limits::{Limits, Whose};

fn every_failure() -> Vec<(Failure, u16)> {
    let backend = |error| Failure::Content(ContentError::Backend(error));
    let said = || "key AKIA SECRET".to_owned();
    vec![
        (RequestError::from(MediaUriError::Traverses).into(), 400),
        (RequestError::MissingUri { parameter: "d" }.into(), 400),
        (RequestError::BadTarget.into(), 400),
        (
            RequestError::MethodNotAllowed { allow: "GET, HEAD" }.into(),
            405,
        ),
        (RequestError::UriTooLong.into(), 414),
        (AuthError::Missing.into(), 401),
        (AuthError::Invalid("SECRET").into(), 401),
        (AuthError::NoKeys.into(), 503),
        (AuthError::Unavailable(said()).into(), 503),
        (Denied::NotMember.into(), 403),
        (AuthorityError::Unavailable(said()).into(), 503),
        (AuthorityError::NotAuthenticated.into(), 401),
        (backend(BackendError::NotFound), 404),
        (backend(BackendError::NoSuchBucket), 502),
        (backend(BackendError::AccessDenied(said())), 502),
        (backend(BackendError::NoCredentials(said())), 502),
        (backend(BackendError::CredentialsUnavailable(said())), 503),
        (backend(BackendError::CredentialsRefused(said())), 503),
        (backend(BackendError::Changed), 502),
        (backend(BackendError::RangeNotSatisfiable), 502),
        (backend(BackendError::throttled(said())), 503),
        (backend(BackendError::Unavailable(said())), 503),
        (backend(BackendError::TimedOut("SECRET")), 504),
        (backend(BackendError::Protocol(said())), 502),
        (ContentError::NoStore("SECRET".into()).into(), 502),
        (ContentError::CannotPresign("SECRET".into()).into(), 502),
        (
            Unsatisfiable {
                complete_length: 100,
            }
            .into(),
            416,
        ),
        (Failure::PreconditionFailed, 412),
        (Failure::NotAcceptable, 406),
        (too_many(), 429),
        (Failure::Overloaded, 503),
        (Failure::RequestTimeout, 408),
        (Failure::ContentTooLarge, 413),
        (Failure::HeaderFieldsTooLarge, 431),
        (Failure::BadRequest("SECRET"), 400),
        (UpstreamError::Unavailable(said()).into(), 502),
        (UpstreamError::Protocol(said()).into(), 502),
        (UpstreamError::TimedOut.into(), 504),
        (Failure::NoSuchRoute, 404),
        (Failure::NotPassedOn, 502),
        (Failure::Internal("SECRET"), 500),
    ]
}

fn text<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().unwrap())
}

/// A refusal of the second request within a second.
fn too_many() -> Failure {
    let config = LimitsConfig {
        requests_per_second: Some(1),
        ..LimitsConfig::default()
    };
    let limits = Limits::new(Whose::Annotator, &config);
    let anna = "anna".to_owned();
    let refused = std::iter::repeat_with(|| limits.check_request(&anna)).find_map(Result::err);
    refused.unwrap().into()
}

#[test]
fn every_failure_has_its_status_and_a_problem_document_without_anything_internal() {
    let mut statuses = HashMap::new();
    for (failure, status) in every_failure() {
        let id = RequestId::random();
        let response = failure.respond(&id);
        assert_eq!(response.status(), status, "{failure:?}");
        assert_eq!(failure.status(), status);
        let document: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(document["status"], status);
        assert_eq!(
            document["type"],
            format!("urn:lockgate:problem:{}", failure.name())
        );
        assert_eq!(document["request_id"], id.to_string());
        assert!(document["title"].is_string());
        assert_eq!(document.as_object().unwrap().len(), 4);
        for (name, value) in [
            ("content-type", "application/problem+json"),
            ("cache-control", "no-store"),
            ("vary", "Origin"),
            ("x-content-type-options", "nosniff"),
            ("content-length", &*response.body().len().to_string()),
        ] {
            assert_eq!(text(&response, name), Some(value), "{name}");
        }
        let whole = format!("{:?} {:?}", response.headers(), response.body());
        assert!(
            !whole.contains("SECRET") && !whole.contains("AKIA"),
            "{whole}"
        );
        // One name never means two statuses.
        assert_eq!(*statuses.entry(failure.name()).or_insert(status), status);
    }
}

#[test]
fn each_status_has_the_fields_it_asks_for() {
    for (failure, status) in every_failure() {
        let response = failure.respond(&RequestId::random());
        let challenge = match failure {
            Failure::Auth(AuthError::Missing) => Some(r#"Bearer realm="lockgate""#),
            Failure::Auth(AuthError::Invalid(_))
            | Failure::Authority(AuthorityError::NotAuthenticated) => {
                Some(r#"Bearer realm="lockgate", error="invalid_token""#)
            }
            _ => None,
        };
        assert_eq!(
            text(&response, "www-authenticate"),
            challenge,
            "{failure:?}"
        );
        assert_eq!(
            text(&response, "allow"),
            (status == 405).then_some("GET, HEAD")
        );
        assert_eq!(
            text(&response, "content-range"),
            (status == 416).then_some("bytes */100")
        );
        let retry_after = match status {
            429 => Some("1"),
            503 => Some("5"),
            _ => None,
        };
        assert_eq!(text(&response, "retry-after"), retry_after, "{failure:?}");
    }
}

#[test]
fn a_403_is_the_same_byte_for_byte_whatever_the_reason() {
    let id = RequestId::random();
    let expected = Failure::from(Denied::Unknown).respond(&id);
    for denied in [
        Denied::OutsideScope,
        Denied::Expired,
        Denied::NotMember,
        Denied::NotAssigned,
        Denied::NotInTask,
        Denied::NoStorage,
    ] {
        let response = Failure::from(denied).respond(&id);
        assert_eq!(response.status(), expected.status());
        assert_eq!(response.headers(), expected.headers());
        assert_eq!(response.body(), expected.body());
        let other = Failure::from(denied).respond(&RequestId::random());
        assert_eq!(other.body().len(), expected.body().len());
        assert_eq!(other.headers(), expected.headers());
    }
}
