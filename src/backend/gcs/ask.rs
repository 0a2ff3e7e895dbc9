//! Small questions to Google's token and signing services, and what they answer.
//!
//! Never puts what was sent into an error. A refusal is [`BackendError::NoCredentials`] in the service's own words
//! (RFC 6749 §5.2, AIP-193); a service that is out of order, [`BackendError::CredentialsUnavailable`].

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::Full;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::backend::BackendError;
use crate::backend::http::HttpClient;
use crate::backend::retry::{MAX_TRIES, pause};
use crate::secret::Secret;

/// As much of a service's explanation as is worth a line in the log.
const MAX_EXPLANATION: usize = 300;

/// Asks and reads JSON; `whom` says in errors who was asked.
pub async fn json<T: DeserializeOwned>(
    client: &HttpClient,
    whom: &str,
    request: Request<Full<Bytes>>,
) -> Result<T, BackendError> {
    let document = bytes(client, whom, request).await?;
    // The parser's own words could repeat what stands in the document.
    serde_json::from_slice(&document)
        .map_err(|_| refused(whom, "its answer is not what its interface says it is"))
}

/// Asks and reads text.
pub async fn text(
    client: &HttpClient,
    whom: &str,
    request: Request<Full<Bytes>>,
) -> Result<String, BackendError> {
    let document = bytes(client, whom, request).await?;
    String::from_utf8(document.to_vec()).map_err(|_| refused(whom, "its answer is not text"))
}

/// Asks again what is out of order for a moment: nothing else would, and every request may wait for this.
async fn bytes(
    client: &HttpClient,
    whom: &str,
    request: Request<Full<Bytes>>,
) -> Result<Bytes, BackendError> {
    let mut tries = 1;
    loop {
        let (reason, transient) = match client.fetch(request.clone()).await {
            Ok(answer) if answer.status() == StatusCode::OK => return Ok(answer.into_body()),
            Ok(answer) => {
                let status = answer.status();
                let transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                let said = explanation(answer.body());
                (format!("it answered {} {said}", status.as_u16()), transient)
            }
            // It is no storage that these say to be out of order.
            Err(BackendError::Unavailable(reason)) => (reason, true),
            Err(BackendError::TimedOut(_)) => {
                let reason = format!("{whom}: it did not answer in time");
                return Err(BackendError::CredentialsUnavailable(reason));
            }
            Err(error) => (error.to_string(), false),
        };
        let reason = reason.trim_end();
        if !transient {
            return Err(refused(whom, reason));
        }
        if tries == MAX_TRIES {
            let reason = format!("{whom}: {reason}");
            return Err(BackendError::CredentialsUnavailable(reason));
        }
        pause(tries).await;
        tries += 1;
    }
}

fn refused(whom: &str, reason: &str) -> BackendError {
    BackendError::NoCredentials(format!("{whom}: {reason}"))
}

/// `{"error": "…", "error_description": "…"}` or `{"error": {"status": "…", "message": "…"}}`.
pub fn explanation(document: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: Value,
        error_description: Option<String>,
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(document) else {
        return String::new();
    };
    let part = |name: &str| refusal.error.get(name).and_then(Value::as_str);
    let code = refusal.error.as_str().or_else(|| part("status"));
    let message = refusal
        .error_description
        .as_deref()
        .or_else(|| part("message"));
    let said = [code, message]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": ");
    said.chars().take(MAX_EXPLANATION).collect()
}

/// A GET.
pub fn get(url: &str, fields: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, BackendError> {
    request("GET", url, fields, Bytes::new())
}

/// A POST of an HTML form.
pub fn form(url: &str, fields: &[(&str, &str)]) -> Result<Request<Full<Bytes>>, BackendError> {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let content_type = ("content-type", "application/x-www-form-urlencoded");
    request("POST", url, &[content_type], form.into())
}

/// A POST of JSON, on behalf of who holds the token.
pub fn post(url: &str, token: &Secret, body: &Value) -> Result<Request<Full<Bytes>>, BackendError> {
    let content_type = ("content-type", "application/json");
    let mut request = request("POST", url, &[content_type], body.to_string().into())?;
    let fields = request.headers_mut();
    fields.insert(header::AUTHORIZATION, bearer(token)?);
    Ok(request)
}

/// The field that carries a token; hidden in `Debug`.
pub fn bearer(token: &Secret) -> Result<HeaderValue, BackendError> {
    let field = HeaderValue::try_from(format!("Bearer {}", token.expose()));
    let mut field = field.map_err(|_| {
        BackendError::NoCredentials("the token has bytes that no header can carry".into())
    })?;
    field.set_sensitive(true);
    Ok(field)
}

/// A request; one that cannot be made has a URL that is none.
pub fn request(
    method: &str,
    url: &str,
    fields: &[(&str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, BackendError> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).map_err(|error| {
        BackendError::NoCredentials(format!("what is configured is no address: {error}"))
    })
}
