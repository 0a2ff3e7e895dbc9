//! What a browser needs in redirect mode: a presigned URL that storage honours, and CORS on the bucket.
//!
//! The URL is a credential: it is sent to storage and never shown. Follows the Fetch standard's CORS preflight.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::advice::refused;
use super::object::Objects;
use super::report::Step;
use crate::backend::config::S3Config;
use crate::backend::http::{HttpClient, text};
use crate::backend::{BackendError, Presign, PresignOptions};

/// Long enough for one request.
const EXPIRY: Duration = Duration::from_secs(60);

/// One readable object of a storage, asked for as a browser would.
pub struct Probe<'a> {
    /// Knows no credentials.
    pub client: &'a HttpClient,
    /// The storage's configuration.
    pub s3: &'a S3Config,
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
                let advice = refused(&code, self.s3, &self.objects.storage.prefix);
                Step::failed("presign", detail, advice)
            }
        }
    }

    /// The step `cors`: a preflight as an editor's page would send it.
    pub async fn cors(&self, origin: Option<&str>) -> Step {
        let Some(origin) = origin else {
            return Step::skipped("cors", "server.cors.allowed_origins is empty");
        };
        let fields = [
            (header::ORIGIN, origin),
            (header::ACCESS_CONTROL_REQUEST_METHOD, "GET"),
            (header::ACCESS_CONTROL_REQUEST_HEADERS, "range"),
        ];
        let answer = match self.send(Method::OPTIONS, &fields).await {
            Ok(answer) => answer,
            Err(error) => return self.objects.failed("cors", &error),
        };
        if answer.status().is_success() && allows(answer.headers(), origin) {
            return Step::ok("cors", format!("the bucket lets {origin} read"));
        }
        let status = answer.status().as_u16();
        Step::failed(
            "cors",
            format!(
                "the bucket does not let {origin} read (its preflight is answered with {status})"
            ),
            format!(
                "add to the bucket's CORS rules: {{\"AllowedOrigins\": [{origin:?}], \"AllowedMethods\": \
                 [\"GET\", \"HEAD\"], \"AllowedHeaders\": [\"range\"], \"ExposeHeaders\": \
                 [\"Content-Range\", \"Content-Length\", \"Accept-Ranges\", \"ETag\"]}}; where the \
                 editor's page is on another origin than Lockgate, browsers send the origin \"null\" \
                 after a redirect: allow that as well"
            ),
        )
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

/// The text of S3's `<Code>`, where it is a plain word.
fn error_code(document: &Bytes) -> Option<String> {
    let document = std::str::from_utf8(document).ok()?;
    let (_, rest) = document.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let plain = !code.is_empty() && code.bytes().all(|b| b.is_ascii_alphanumeric());
    plain.then(|| code.to_owned())
}
