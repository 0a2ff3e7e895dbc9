//! From an error to an answer: the only place that chooses a failure's status.
//!
//! Each error is translated once, by exhaustive matches without a wildcard, to a problem document (RFC 9457) with a
//! stable `type`. Nothing internal is in it: no reason of a denial, nothing that storage said. Every denial is one
//! and the same 403, byte for byte but for the request's id, whose length is always the same.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::limits::RetryAfter;
use super::request::RequestError;
use super::upstream::UpstreamError;
use crate::access::Denied;
use crate::auth::AuthError;
use crate::authority::AuthorityError;
use crate::backend::BackendError;
use crate::content::ContentError;
use crate::ids::RequestId;
use crate::range::Unsatisfiable;

/// When a client may come back after a 503: about as long as a bounded round of retries at storage takes.
const RETRY_AFTER_UNAVAILABLE: Duration = Duration::from_secs(5);

/// Why there is no media in the answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The request cannot be understood.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Nobody was authenticated.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// They may not see it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The access source gave no answer.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// There are no bytes.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// None of the bytes asked for is there.
    #[error(transparent)]
    RangeNotSatisfiable(#[from] Unsatisfiable),
    /// The same, of media whose length nobody told.
    #[error("the range is not satisfiable")]
    NoSuchRange,
    /// A precondition failed (RFC 9110 §13).
    #[error("a precondition failed")]
    PreconditionFailed,
    /// `Accept` rules out the type that the object has.
    #[error("the object's type is not acceptable")]
    NotAcceptable,
    /// The annotator is over a limit of theirs.
    #[error(transparent)]
    TooManyRequests(#[from] RetryAfter),
    /// The gateway is over a limit of its own.
    #[error("overloaded")]
    Overloaded,
    /// The client took too long to send its request.
    #[error("the request did not come in time")]
    RequestTimeout,
    /// The client sent a body that no route wants.
    #[error("the request's content is too large")]
    ContentTooLarge,
    /// The request's fields are too many or too large (RFC 6585 §5).
    #[error("the request's header fields are too large")]
    HeaderFieldsTooLarge,
    /// The request is malformed or could be understood in two ways; the reason is for the log.
    #[error("not forwarded: {0}")]
    BadRequest(&'static str),
    /// The annotation application gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// There is no such route.
    #[error("no such route")]
    NoSuchRoute,
    /// Only the annotation application has it, and this gateway is not in front of one.
    #[error("the annotation application holds the media, and there is no server.upstream")]
    NotPassedOn,
    /// A fault of the gateway's own; the reason is for the log.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

/// What the client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Problem {
    status: StatusCode,
    /// The `type` after `urn:lockgate:problem:`; stable.
    name: &'static str,
    title: &'static str,
}

const fn problem(status: StatusCode, name: &'static str, title: &'static str) -> Problem {
    Problem {
        status,
        name,
        title,
    }
}

const ACCESS_UNAVAILABLE: Problem = problem(
    StatusCode::SERVICE_UNAVAILABLE,
    "access-unavailable",
    "Access cannot be checked at the moment",
);
const NOT_SERVED: Problem = problem(
    StatusCode::BAD_GATEWAY,
    "storage-not-served",
    "The storage cannot be served so",
);
const INVALID_CREDENTIAL: Problem = problem(
    StatusCode::UNAUTHORIZED,
    "invalid-credential",
    "The credential is not valid",
);

impl Failure {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.problem().status
    }

    /// The stable name of the problem, without its URN's beginning: for the log.
    pub fn name(&self) -> &'static str {
        self.problem().name
    }

    /// The answer, whole but for CORS. To HEAD the server sends its head alone.
    pub fn respond(&self, request_id: &RequestId) -> Response<Bytes> {
        let Problem {
            status,
            name,
            title,
        } = self.problem();
        let document = serde_json::json!({
            "type": format!("urn:lockgate:problem:{name}"),
            "title": title,
            "status": status.as_u16(),
            "request_id": request_id,
        });
        let body = Bytes::from(document.to_string());
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        self.add_fields(status, &mut headers);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The fields that a status asks for beside the document.
    fn add_fields(&self, status: StatusCode, headers: &mut HeaderMap) {
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let told = match self {
                Self::Content(ContentError::Backend(error)) => error.retry_after(),
                _ => None,
            };
            let retry_after = told.unwrap_or(RETRY_AFTER_UNAVAILABLE);
            headers.insert(header::RETRY_AFTER, seconds(retry_after));
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3.1: a client that sent no credential is told no error.
            let challenge = match self {
                Self::Auth(AuthError::Missing) => r#"Bearer realm="lockgate""#,
                _ => r#"Bearer realm="lockgate", error="invalid_token""#,
            };
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static(challenge),
            );
        }
        if let Self::Request(RequestError::MethodNotAllowed { allow }) = self {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if let Self::TooManyRequests(limit) = self {
            headers.insert(header::RETRY_AFTER, seconds(limit.after));
            let [policy, left] = limit.fields();
            let fields = [("ratelimit-policy", policy), ("ratelimit", left)];
            for (name, value) in fields {
                headers.extend(value.map(|value| (HeaderName::from_static(name), value)));
            }
        }
        if let Self::RangeNotSatisfiable(Unsatisfiable { complete_length }) = self
            && let Ok(value) = HeaderValue::try_from(format!("bytes */{complete_length}"))
        {
            headers.insert(header::CONTENT_RANGE, value);
        }
    }

    fn problem(&self) -> Problem {
        use StatusCode as S;
        match self {
            Self::Request(error) => request_problem(error),
            Self::Auth(error) => auth_problem(error),
            Self::Denied(error) => denied_problem(*error),
            Self::Authority(AuthorityError::Unavailable(_)) => ACCESS_UNAVAILABLE,
            Self::Authority(AuthorityError::NotAuthenticated) => INVALID_CREDENTIAL,
            Self::Content(error) => content_problem(error),
            Self::RangeNotSatisfiable(_) | Self::NoSuchRange => problem(
                S::RANGE_NOT_SATISFIABLE,
                "range-not-satisfiable",
                "The range is not satisfiable",
            ),
            Self::PreconditionFailed => problem(
                S::PRECONDITION_FAILED,
                "precondition-failed",
                "A precondition failed",
            ),
            Self::NotAcceptable => problem(
                S::NOT_ACCEPTABLE,
                "not-acceptable",
                "The media has another type",
            ),
            Self::TooManyRequests(_) => problem(
                S::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests",
            ),
            Self::Overloaded => {
                problem(S::SERVICE_UNAVAILABLE, "overloaded", "The gateway is busy")
            }
            Self::RequestTimeout => problem(
                S::REQUEST_TIMEOUT,
                "request-timeout",
                "The request took too long",
            ),
            Self::ContentTooLarge => problem(
                S::PAYLOAD_TOO_LARGE,
                "content-too-large",
                "The content is too large",
            ),
            Self::HeaderFieldsTooLarge => problem(
                S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "header-fields-too-large",
                "The header fields are too large",
            ),
            Self::BadRequest(_) => problem(
                S::BAD_REQUEST,
                "bad-request",
                "The request cannot be forwarded",
            ),
            Self::Upstream(UpstreamError::Unavailable(_) | UpstreamError::Protocol(_)) => problem(
                S::BAD_GATEWAY,
                "upstream-unavailable",
                "The application is not available at the moment",
            ),
            Self::Upstream(UpstreamError::TimedOut) => problem(
                S::GATEWAY_TIMEOUT,
                "upstream-timeout",
                "The application did not answer in time",
            ),
            Self::NoSuchRoute => problem(S::NOT_FOUND, "no-such-route", "There is nothing here"),
            Self::NotPassedOn => NOT_SERVED,
            Self::Internal(_) => problem(S::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }
}

fn request_problem(error: &RequestError) -> Problem {
    use StatusCode as S;
    match error {
        RequestError::UriNotUnderstood(_) => problem(
            S::BAD_REQUEST,
            "media-uri-not-understood",
            "The media URI cannot be understood",
        ),
        RequestError::MissingUri { .. } => problem(
            S::BAD_REQUEST,
            "media-uri-missing",
            "No media URI was given",
        ),
        RequestError::BadTarget => {
            problem(S::BAD_REQUEST, "bad-id", "The id in the path is not one")
        }
        RequestError::MethodNotAllowed { .. } => problem(
            S::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "The method is not allowed here",
        ),
        RequestError::BadHost => {
            problem(S::BAD_REQUEST, "bad-host", "The host is missing or not one")
        }
        RequestError::BadFraming => problem(
            S::BAD_REQUEST,
            "bad-framing",
            "The content's length cannot be understood",
        ),
        RequestError::Malformed => problem(
            S::BAD_REQUEST,
            "malformed",
            "The request cannot be understood",
        ),
        RequestError::TooManyFields => problem(
            S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header-fields-too-large",
            "The header fields are too large",
        ),
        RequestError::UriTooLong => problem(S::URI_TOO_LONG, "uri-too-long", "The URI is too long"),
    }
}

fn auth_problem(error: &AuthError) -> Problem {
    use StatusCode as S;
    match error {
        AuthError::Missing => problem(S::UNAUTHORIZED, "no-credential", "No credential was sent"),
        AuthError::Invalid(_) => INVALID_CREDENTIAL,
        AuthError::Unavailable(_) => ACCESS_UNAVAILABLE,
        AuthError::NoKeys => problem(
            S::SERVICE_UNAVAILABLE,
            "no-keys",
            "Credentials cannot be verified at the moment",
        ),
    }
}

/// One answer to all, or it would tell what there is.
fn denied_problem(error: Denied) -> Problem {
    match error {
        Denied::OutsideScope
        | Denied::Expired
        | Denied::Unknown
        | Denied::NotMember
        | Denied::NotAssigned
        | Denied::NotInTask
        | Denied::NoStorage => problem(StatusCode::FORBIDDEN, "not-permitted", "Not permitted"),
    }
}

/// Storage's refusal of Lockgate is Lockgate's trouble, never the annotator's 403. A range past the end is one here,
/// too: what is asked of storage was cut to the object's length, so storage contradicts itself.
fn content_problem(error: &ContentError) -> Problem {
    use StatusCode as S;
    match error {
        ContentError::Backend(BackendError::NotFound) => {
            problem(S::NOT_FOUND, "object-not-found", "The object is not there")
        }
        ContentError::Backend(
            BackendError::NoSuchBucket
            | BackendError::AccessDenied(_)
            | BackendError::NoCredentials(_),
        ) => problem(
            S::BAD_GATEWAY,
            "storage-refused",
            "Storage refused the gateway",
        ),
        ContentError::Backend(BackendError::Changed) => problem(
            S::BAD_GATEWAY,
            "object-changed",
            "The object changed while it was read",
        ),
        ContentError::Backend(BackendError::Protocol(_) | BackendError::RangeNotSatisfiable) => {
            problem(
                S::BAD_GATEWAY,
                "storage-protocol",
                "Storage gave an answer that is none",
            )
        }
        ContentError::Backend(
            BackendError::Throttled { .. }
            | BackendError::Unavailable(_)
            | BackendError::CredentialsUnavailable(_)
            | BackendError::CredentialsRefused(_),
        ) => problem(
            S::SERVICE_UNAVAILABLE,
            "storage-unavailable",
            "Storage is not available at the moment",
        ),
        ContentError::Backend(BackendError::TimedOut(_)) => problem(
            S::GATEWAY_TIMEOUT,
            "storage-timeout",
            "Storage did not answer in time",
        ),
        ContentError::NoStore(_) | ContentError::CannotPresign(_) => NOT_SERVED,
    }
}

/// Whole seconds, rounded up, never 0: a client that comes back at once is refused again.
fn seconds(duration: Duration) -> HeaderValue {
    HeaderValue::from(duration.as_millis().div_ceil(1000).clamp(1, 86_400) as u32)
}

#[cfg(test)]
mod tests;
