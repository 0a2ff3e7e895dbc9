//! What a browser needs in redirect mode: a presigned URL that storage honours, and CORS on the bucket.
//!
//! The URL is a credential: it is sent to storage and never shown. Follows the Fetch standard's CORS preflight.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::advice::advice;
use super::object::Objects;
use super::report::Step;
use crate::backend::http::{HttpClient, text};
use crate::backend::{BackendError, Presign, PresignOptions};
use crate::cli::setup;

/// Long enough for one request.
const EXPIRY: Duration = Duration::from_secs(60);
/// What a browser calls a page's origin once a redirect took it from one foreign origin to another: from Lockgate's to
/// storage's, where the page is neither's (Fetch, "HTTP-redirect fetch", the redirect-tainted origin).
const TAINTED: &str = "null";

/// One readable object of a storage, asked for as a browser would.
pub struct Probe<'a> {
    /// Knows no credentials.
    pub client: &'a HttpClient,
    /// The storage's objects.
    pub objects: &'a Objects<'a>,
    /// Signs.
    pub presign: &'a dyn Presign,
    /// The object's key.
    pub key: &'a str,
}

impl Probe<'_> {
    /// The step `presign`: the first byte by URL alone.
    pub async fn presigned(&self) -> Step {
        let fields = [(header::RANGE, "bytes=0-0")];
        let answer = match self.send(Method::GET, &fields).await {
            Ok(answer) => answer,
            Err(error) => return self.objects.failed("presign", &error),
        };
        match answer.status().as_u16() {
            206 => Step::ok("presign", "a presigned URL gives the first byte"),
            // An empty object has no first byte (RFC 9110 §15.5.17).
            416 => Step::ok("presign", "a presigned URL is honoured"),
            status => {
                let document = self.client.error_document(answer.into_body()).await;
                let code = error_code(&document).unwrap_or_else(|| status.to_string());
                let detail = format!("a presigned URL is answered with {status}: {code}");
                let advice = advice(&refusal(status, &code), self.objects.storage);
                Step::failed("presign", detail, advice)
            }
        }
    }

    /// The step `cors`: a preflight as each editor's page would send it, and as it comes after a redirect.
    pub async fn cors(&self, origins: &[String]) -> Step {
        if origins.is_empty() {
            return Step::skipped("cors", "server.cors.allowed_origins is empty");
        }
        let origins: Vec<_> = origins
            .iter()
            .map(String::as_str)
            .chain([TAINTED])
            .collect();
        let mut refused = vec![];
        for origin in &origins {
            match self.preflight(origin).await {
                Ok(None) => {}
                Ok(Some(answer)) => refused.push(format!("{origin} ({answer})")),
                Err(error) => return self.objects.failed("cors", &error),
            }
        }
        if refused.is_empty() {
            let detail = format!("storage lets pages of {} read", origins.join(", "));
            return Step::ok("cors", detail);
        }
        let detail = format!("storage does not let pages of {} read", refused.join(", "));
        let rules = setup::cors(self.objects.storage, &origins);
        let advice = format!(
            "put these rules in force: {rules}. Browsers send \"Origin: null\" where they follow a redirect from Lockgate \
             on another origin than the page's; without null (or *) in the rules, serve Lockgate on the editor's own \
             origin, or set delivery = \"proxy\""
        );
        Step::failed("cors", detail, advice)
    }

    /// Nothing where storage lets a page of this origin read ranges; else what it answers.
    async fn preflight(&self, origin: &str) -> Result<Option<String>, BackendError> {
        let fields = [
            (header::ORIGIN, origin),
            (header::ACCESS_CONTROL_REQUEST_METHOD, "GET"),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, "range"),
        ];
        let answer = self.send(Method::OPTIONS, &fields).await?;
        let (status, headers) = (answer.status(), answer.headers());
        let lets_in = status.is_success() && allows(headers, origin);
        Ok(match lets_in {
            true if allows_range(headers) => None,
            true => Some("not with the header range".into()),
            false => Some(format!("the preflight's answer is {}", status.as_u16())),
        })
    }

    async fn send(
        &self,
        method: Method,
        fields: &[(header::HeaderName, &str)],
    ) -> Result<Response<Incoming>, BackendError> {
        let options = PresignOptions {
            head_only: false,
            expiry: EXPIRY,
            content_type: None,
        };
        let location = self.objects.location(self.key);
        let signed = self.presign.presign(&location, &options).await?;
        let request = Request::builder().method(method).uri(signed.url.expose());
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(name, *value)
        });
        // The URL must not come into the message.
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|_| BackendError::Protocol("the presigned URL is no URL".into()))?;
        self.client.send(request).await
    }
}

fn allows(headers: &HeaderMap, origin: &str) -> bool {
    text(headers, header::ACCESS_CONTROL_ALLOW_ORIGIN)
        .is_some_and(|allowed| allowed == "*" || allowed == origin)
}

/// A page that reads more than one range from the beginning needs it: not every form of `Range` is safelisted.
fn allows_range(headers: &HeaderMap) -> bool {
    let fields = headers.get_all(header::ACCESS_CONTROL_ALLOW_HEADERS);
    let mut names = fields
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    names.any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("range"))
}

/// A presigned URL's refusal in the words that advice goes by.
fn refusal(status: u16, code: &str) -> BackendError {
    match status {
        404 => BackendError::NotFound,
        429 | 503 => BackendError::throttled(code.to_owned()),
        500..=599 => BackendError::Unavailable(code.to_owned()),
        _ => BackendError::AccessDenied(code.to_owned()),
    }
}

/// The text of `<Code>`, which the error documents of S3, Google and Azure have, where it is a plain word.
fn error_code(document: &Bytes) -> Option<String> {
    let document = std::str::from_utf8(document).ok()?;
    let (_, rest) = document.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| code.to_owned())
}
