//! What Cloud Storage says when it does not answer, in the house's words.
//!
//! Chooses no status. Follows "HTTP status and error codes" for XML and for JSON; the sentence in `Details` names the
//! principal and the permission that it lacks, and no secret.

use http::StatusCode;
use serde::Deserialize;

use super::ask::explanation;
use crate::backend::BackendError;

/// As much of an explanation as is worth a line in the log.
const MAX_DETAILS: usize = 300;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    #[serde(default)]
    code: String,
    details: Option<String>,
}

/// A refusal of the XML API; a HEAD's has no document.
pub fn xml(status: StatusCode, document: &[u8]) -> BackendError {
    let document: Document = quick_xml::de::from_reader(document).unwrap_or_default();
    let details = document.details.as_deref().unwrap_or_default().trim();
    let said = match (document.code.is_empty(), details.is_empty()) {
        (true, _) => status.as_u16().to_string(),
        (false, true) => document.code.clone(),
        (false, false) => format!("{}: {details}", document.code),
    };
    refusal(
        status,
        &document.code,
        said.chars().take(MAX_DETAILS).collect(),
    )
}

/// A refusal of the JSON API.
pub fn json(status: StatusCode, document: &[u8]) -> BackendError {
    let said = explanation(document);
    let code = match status {
        // The only thing that a listing can miss.
        StatusCode::NOT_FOUND => "NoSuchBucket",
        _ => "",
    };
    refusal(status, code, format!("{} {said}", status.as_u16()))
}

/// Sorted by what can be done about them.
fn refusal(status: StatusCode, code: &str, said: String) -> BackendError {
    match (status.as_u16(), code) {
        (404, "NoSuchBucket") => BackendError::NoSuchBucket,
        (404, _) => BackendError::NotFound,
        (412, _) => BackendError::Changed,
        (416, _) => BackendError::RangeNotSatisfiable,
        (_, code) if code.contains("Kms") || code.contains("EncryptionKey") => {
            BackendError::AccessDenied(format!("the object's encryption key: {said}"))
        }
        (_, "RequestTimeTooSkewed") => {
            BackendError::AccessDenied(format!("this machine's clock is wrong: {said}"))
        }
        (_, "UserProjectMissing") => BackendError::AccessDenied(format!(
            "the bucket's requesters pay, which is not supported: {said}"
        )),
        (400, "ExpiredToken") | (401, _) => BackendError::AccessDenied(format!(
            "the credentials have ended or were revoked: {said}"
        )),
        (403, _) => BackendError::AccessDenied(said),
        (429, _) | (_, "SlowDown") => BackendError::throttled(said),
        (408 | 500..=599, _) => BackendError::Unavailable(said),
        _ => BackendError::Protocol(format!("unexpected status {said}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, code: &str) -> BackendError {
        let document =
            format!("<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>");
        xml(
            StatusCode::from_u16(status).expect("a status"),
            document.as_bytes(),
        )
    }

    #[test]
    fn what_storage_says_is_told_apart() {
        use BackendError as E;
        assert!(matches!(said(404, "NoSuchKey"), E::NotFound));
        assert!(matches!(said(404, "NoSuchBucket"), E::NoSuchBucket));
        assert!(matches!(said(412, "PreconditionFailed"), E::Changed));
        assert!(matches!(said(416, "InvalidRange"), E::RangeNotSatisfiable));
        assert!(matches!(said(429, "TooManyRequests"), E::Throttled { .. }));
        assert!(matches!(said(503, "SlowDown"), E::Throttled { .. }));
        assert!(matches!(said(503, "ServiceUnavailable"), E::Unavailable(_)));
        assert!(matches!(said(302, ""), E::Protocol(_)));
    }

    #[test]
    fn a_refusal_says_why_in_words_to_act_on() {
        for (status, code, word) in [
            (400, "CloudKmsDisabledKey", "encryption key"),
            (
                400,
                "ResourceIsEncryptedWithCustomerEncryptionKey",
                "encryption key",
            ),
            (403, "RequestTimeTooSkewed", "clock"),
            (400, "UserProjectMissing", "requesters pay"),
            (400, "ExpiredToken", "ended"),
            (401, "AuthenticationRequired", "ended or were revoked"),
            (403, "AccessDenied", "AccessDenied"),
        ] {
            let error = said(status, code);
            assert!(matches!(error, BackendError::AccessDenied(_)), "{code}");
            assert!(error.to_string().contains(word), "{error}");
        }
    }

    #[test]
    fn the_principal_and_its_missing_permission_are_passed_on() {
        let document = b"<Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>reader@p.iam \
            does not have storage.objects.get access &amp; more</Details></Error>";
        let error = xml(StatusCode::FORBIDDEN, document).to_string();
        assert!(
            error.contains("reader@p.iam does not have storage.objects.get access & more"),
            "{error}"
        );
    }

    #[test]
    fn a_head_and_a_page_of_html_are_read_by_their_status() {
        assert!(matches!(
            xml(StatusCode::NOT_FOUND, b""),
            BackendError::NotFound
        ));
        assert!(matches!(
            xml(StatusCode::NOT_FOUND, b"Not Found"),
            BackendError::NotFound
        ));
        assert!(matches!(
            xml(StatusCode::BAD_GATEWAY, b"<html><p>"),
            BackendError::Unavailable(_)
        ));
    }

    #[test]
    fn a_listing_of_no_bucket_and_one_that_is_refused_are_told_apart() {
        assert!(matches!(
            json(StatusCode::NOT_FOUND, b"Not Found"),
            BackendError::NoSuchBucket
        ));
        let document = br#"{"error": {"code": 403, "message": "reader@p.iam does not have storage.objects.list access"}}"#;
        let error = json(StatusCode::FORBIDDEN, document);
        assert!(
            error.to_string().contains("storage.objects.list"),
            "{error}"
        );
    }
}
