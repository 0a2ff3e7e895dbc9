//! Whose manners storage has, told by how the URL is signed: what it says when it refuses, and what its answers must
//! hold. Reuses what the providers' own rooms know.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::backend::BackendError;
use crate::backend::azure::answers;
use crate::backend::gcs::{refusal as google, stored::Stored};
use crate::backend::s3::refusal::Refusal;
use crate::object::ObjectMeta;

/// How a URL is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `X-Amz-Signature`, or what is not known: S3 has the most imitators.
    S3,
    /// `X-Goog-Signature`.
    Gcs,
    /// `sig` and `sv`: a shared access signature.
    Azure,
}

impl Dialect {
    /// By the names in the URL's query.
    pub(super) fn of(uri: &Uri) -> Self {
        let fields = uri.query().unwrap_or_default().split('&');
        let names: Vec<&str> = fields.filter_map(|field| field.split('=').next()).collect();
        if names.contains(&"X-Goog-Signature") {
            Self::Gcs
        } else if names.contains(&"sig") && names.contains(&"sv") {
            Self::Azure
        } else {
            Self::S3
        }
    }

    /// `Accept-Encoding`, where it must be sent: Google unpacks what is stored packed for who does not take it packed,
    /// and ranges with it. Others, or a server between, might pack what is not.
    pub(super) fn accepted_codings(self) -> Option<HeaderValue> {
        (self == Self::Gcs).then(|| HeaderValue::from_static("gzip"))
    }

    /// An answer must be of the bytes as they are stored.
    pub(super) fn check(self, headers: &HeaderMap, meta: &ObjectMeta) -> Result<(), BackendError> {
        match self {
            Self::Gcs => Stored::of(headers)?.checked(meta.clone()).map(drop),
            Self::S3 | Self::Azure => Ok(()),
        }
    }

    /// Whether a new URL may help: this one has ended, or whoever signed it was given other credentials since.
    pub(super) fn may_be_of_the_url(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        document: &Bytes,
    ) -> bool {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
            // Google says so of an ended URL, S3 of temporary credentials that have ended behind one.
            StatusCode::BAD_REQUEST => {
                Refusal::new(status, headers, document).is_of_ended_credentials()
            }
            _ => false,
        }
    }

    /// What storage says, in the house's words.
    pub(super) fn refusal(
        self,
        status: StatusCode,
        headers: &HeaderMap,
        document: &Bytes,
    ) -> BackendError {
        match self {
            Self::S3 => Refusal::new(status, headers, document).into_error(""),
            Self::Gcs => google::xml(status, document),
            Self::Azure => answers::refusal(status, headers, document),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_tells_by_its_signature_whose_it_is() {
        for (query, dialect) in [
            (
                "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0b",
                Dialect::S3,
            ),
            (
                "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Signature=0b",
                Dialect::Gcs,
            ),
            (
                "se=2026-01-01&sp=r&sv=2025-07-05&sr=b&sig=0b%3D",
                Dialect::Azure,
            ),
            ("AWSAccessKeyId=AKIA&Signature=0b&Expires=1", Dialect::S3),
            ("a=X-Goog-Signature", Dialect::S3),
            ("", Dialect::S3),
        ] {
            let uri: Uri = format!("https://h/b/k?{query}").parse().expect("a url");
            assert_eq!(Dialect::of(&uri), dialect, "{query}");
        }
    }

    #[test]
    fn an_ended_url_is_told_from_a_request_that_is_none() {
        let document = |code: &str| Bytes::from(format!("<Error><Code>{code}</Code></Error>"));
        for (dialect, status, code, renew) in [
            (Dialect::S3, 403, "AccessDenied", true),
            (Dialect::S3, 401, "", true),
            (Dialect::S3, 400, "ExpiredToken", true),
            (Dialect::S3, 400, "InvalidArgument", false),
            (Dialect::S3, 404, "NoSuchKey", false),
            (Dialect::S3, 503, "SlowDown", false),
            (Dialect::Gcs, 400, "ExpiredToken", true),
            (Dialect::Azure, 403, "AuthenticationFailed", true),
            (Dialect::Azure, 416, "InvalidRange", false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let of_url = dialect.may_be_of_the_url(status, &HeaderMap::new(), &document(code));
            assert_eq!(of_url, renew, "{status} {code}");
        }
    }
}
