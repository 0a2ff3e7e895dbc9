//! What S3 says when it does not give the bytes, in the house's words.
//!
//! Chooses no status for clients. Follows "Error responses" of the S3 API reference, and what servers of its protocol
//! answer; of an answer only codes and the region go into an error's text, never a message.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use quick_xml::events::Event;

use crate::backend::BackendError;
use crate::backend::http::{retry_after, text};

/// An answer that is not the bytes.
#[derive(Debug)]
pub(in crate::backend) struct Refusal {
    status: StatusCode,
    code: String,
    message: String,
    /// Where S3 says that the bucket is.
    region: Option<String>,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Of a head and its document, which is empty for HEAD.
    pub(in crate::backend) fn new(
        status: StatusCode,
        headers: &HeaderMap,
        document: &Bytes,
    ) -> Self {
        let header = text(headers, HeaderName::from_static("x-amz-bucket-region"));
        let [code, message, region] = elements(document, ["Code", "Message", "Region"]);
        Self {
            status,
            code: code.unwrap_or_default(),
            message: message.unwrap_or_default(),
            region: header.map(str::to_owned).or(region),
            retry_after: retry_after(headers),
        }
    }

    /// Whether a document, which HEAD has none of, would say more than the status does.
    pub(super) fn says_little(&self) -> bool {
        self.code.is_empty() && matches!(self.status.as_u16(), 400 | 403) && self.region.is_none()
    }

    /// The region that the bucket is in, where the request was refused for having gone or been signed to another.
    pub(super) fn elsewhere(&self) -> Option<&str> {
        let moved = matches!(
            (self.status.as_u16(), self.code.as_str()),
            (301 | 307 | 308, _)
                | (
                    400,
                    "" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException"
                )
        );
        self.region.as_deref().filter(|_| moved)
    }

    /// Whether the request came to the bucket's own region: what was refused is the object, not the way to it.
    pub(super) fn is_at_home(&self) -> bool {
        matches!(self.status.as_u16(), 403 | 404 | 412 | 416)
    }

    /// Whether storage takes the credentials for ended.
    pub(in crate::backend) fn is_of_ended_credentials(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired"
        )
    }

    /// Sorted by what can be done about it. `asked`: the region that the request was signed for.
    pub(in crate::backend) fn into_error(self, asked: &str) -> BackendError {
        let retry_after = self.retry_after;
        self.sorted(asked).after(retry_after)
    }

    fn sorted(self, asked: &str) -> BackendError {
        let said = if self.code.is_empty() {
            self.status.as_str().to_owned()
        } else {
            self.code.clone()
        };
        if let Some(region) = self.elsewhere().filter(|region| *region != asked) {
            let said = format!("{said}: the bucket is in region {region}");
            return BackendError::AccessDenied(said);
        }
        match (self.status.as_u16(), self.code.as_str()) {
            (404, "NoSuchBucket") => BackendError::NoSuchBucket,
            (404, _) => BackendError::NotFound,
            (_, "SlowDown" | "KMS.ThrottlingException") => BackendError::throttled(said),
            (_, "InvalidObjectState") => BackendError::AccessDenied(format!(
                "{said}: the object is archived, and has to be restored before it can be read"
            )),
            (400 | 401 | 403, _) if self.is_of_kms() => BackendError::AccessDenied(format!(
                "{said}: the KMS key that the object is encrypted with may not be used"
            )),
            (400, "InvalidToken" | "AuthorizationHeaderMalformed") | (401 | 403, _) => {
                BackendError::AccessDenied(said)
            }
            (400, _) if self.is_of_ended_credentials() => BackendError::AccessDenied(said),
            (409 | 412, _) => BackendError::Changed,
            (416, _) => BackendError::RangeNotSatisfiable,
            (400, "RequestTimeout") | (408, _) => BackendError::Unavailable(said),
            (429 | 503, _) => BackendError::throttled(said),
            (500..=599, _) => BackendError::Unavailable(said),
            _ => BackendError::Protocol(format!("unexpected status {said}")),
        }
    }

    /// KMS has codes of its own for keys that are disabled or gone; a missing permission is an `AccessDenied` whose
    /// message names the action.
    fn is_of_kms(&self) -> bool {
        self.code.starts_with("KMS.") || self.message.contains("kms:")
    }
}

/// The text of the first element of each name, wherever it stands; error documents are this flat.
fn elements<const N: usize>(document: &Bytes, names: [&str; N]) -> [Option<String>; N] {
    let mut found = [const { None }; N];
    let mut reader = quick_xml::Reader::from_reader(&document[..]);
    let mut inside = None;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                let name = start.local_name();
                inside = names
                    .iter()
                    .position(|wanted| wanted.as_bytes() == name.as_ref());
            }
            Ok(Event::Text(text)) => {
                if let (Some(index), Ok(text)) = (inside, text.decode())
                    && found[index].is_none()
                {
                    found[index] = Some(text.into_owned());
                }
            }
            Ok(Event::End(_)) => inside = None,
            Ok(Event::Eof) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, code: &str, message: &str, region: Option<&str>) -> Refusal {
        let region = region.map(|region| format!("<Region>{region}</Region>"));
        let document = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message>{}</Error>",
            region.unwrap_or_default()
        );
        let status = StatusCode::from_u16(status).expect("a status");
        Refusal::new(status, &HeaderMap::new(), &document.into())
    }

    #[test]
    fn what_storage_says_is_told_apart() {
        let said = |status, code| refusal(status, code, "", None).into_error("us-east-1");
        for (status, code) in [(404, "NoSuchKey"), (404, "")] {
            assert!(matches!(said(status, code), BackendError::NotFound));
        }
        assert!(matches!(
            said(404, "NoSuchBucket"),
            BackendError::NoSuchBucket
        ));
        for (status, code) in [
            (403, "AccessDenied"),
            (403, "RequestTimeTooSkewed"),
            (403, "SignatureDoesNotMatch"),
            (400, "ExpiredToken"),
            (400, "InvalidToken"),
            (401, "Unauthorized"),
        ] {
            let error = said(status, code);
            assert!(
                matches!(&error, BackendError::AccessDenied(said) if said == code),
                "{error}"
            );
        }
        assert!(matches!(
            said(412, "PreconditionFailed"),
            BackendError::Changed
        ));
        assert!(matches!(
            said(416, "InvalidRange"),
            BackendError::RangeNotSatisfiable
        ));
        for (status, code) in [
            (503, "SlowDown"),
            (429, ""),
            (400, "KMS.ThrottlingException"),
        ] {
            assert!(
                matches!(said(status, code), BackendError::Throttled { .. }),
                "{code}"
            );
        }
        for (status, code) in [(500, "InternalError"), (400, "RequestTimeout"), (502, "")] {
            assert!(
                matches!(said(status, code), BackendError::Unavailable(_)),
                "{code}"
            );
        }
        assert!(matches!(said(302, ""), BackendError::Protocol(_)));
    }

    #[test]
    fn kms_archives_and_regions_are_named() {
        let arn =
            "User: arn:aws:iam::1:user/x is not authorized to perform: kms:Decrypt on resource";
        for (refusal, named) in [
            (refusal(403, "AccessDenied", arn, None), "KMS key"),
            (refusal(400, "KMS.DisabledException", "", None), "KMS key"),
            (refusal(403, "InvalidObjectState", "", None), "archived"),
            (
                refusal(400, "AuthorizationHeaderMalformed", "", Some("eu-west-1")),
                "in region eu-west-1",
            ),
        ] {
            let error = refusal.into_error("us-east-1");
            let text = error.to_string();
            assert!(matches!(error, BackendError::AccessDenied(_)), "{text}");
            assert!(text.contains(named) && !text.contains("arn:"), "{text}");
        }
    }

    #[test]
    fn a_region_is_another_only_where_the_refusal_is_of_that() {
        let denied = refusal(403, "AccessDenied", "", Some("eu-west-1"));
        assert_eq!(denied.elsewhere(), None);
        let expired = refusal(400, "ExpiredToken", "", Some("eu-west-1"));
        assert_eq!(expired.elsewhere(), None);
        assert!(expired.is_of_ended_credentials());
        let moved = refusal(301, "PermanentRedirect", "", Some("eu-west-1"));
        assert_eq!(moved.elsewhere(), Some("eu-west-1"));
        let same = refusal(400, "AuthorizationHeaderMalformed", "", Some("eu-west-1"));
        assert_eq!(
            same.into_error("eu-west-1").to_string(),
            "storage refused access: AuthorizationHeaderMalformed"
        );
    }

    #[test]
    fn a_document_that_is_none_says_nothing() {
        let document = Bytes::from_static(b"<html");
        assert_eq!(elements(&document, ["Code"]), [None]);
    }
}
