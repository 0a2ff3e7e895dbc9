//! Whether Label Studio can be asked: that it is there, which it is, and that it tells strangers nothing.
//!
//! Asks without a credential and prints nothing that Label Studio says but its version.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use super::report::Step;
use crate::authority::LabelStudioConfig;
use crate::backend::BackendError;
use crate::backend::http::HttpClient;

/// As long as a decision may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The release whose answers Lockgate is tested with.
const TESTED: &str = "1.23";

/// The steps `reach` and `strangers`.
pub(super) async fn steps(config: &LabelStudioConfig) -> Vec<Step> {
    let client = match HttpClient::new(config.ca_file.as_deref(), PATIENCE) {
        Ok(client) => client,
        Err(error) => {
            let advice = "correct access.label_studio.ca_file";
            return vec![Step::failed("reach", error.to_string(), advice)];
        }
    };
    let version = match ask(&client, config, "api/version").await {
        Ok(answer) => version(&answer),
        Err(error) => {
            let advice = "correct access.label_studio.url, and let this machine reach it; is Label Studio up?";
            return vec![
                Step::failed("reach", format!("{}: {error}", config.url), advice),
                Step::skipped("strangers", "it cannot be reached"),
            ];
        }
    };
    vec![reached(config, version), strangers(&client, config).await]
}

fn reached(config: &LabelStudioConfig, version: Option<String>) -> Step {
    let url = &config.url;
    match version {
        Some(version) if version.starts_with(TESTED) => {
            Step::ok("reach", format!("{url} is Label Studio {version}"))
        }
        Some(version) => Step::warning(
            "reach",
            format!("{url} is Label Studio {version}; {TESTED} is what Lockgate is tested with"),
        ),
        None => Step::failed(
            "reach",
            format!("{url} answers, and not as Label Studio does"),
            "correct access.label_studio.url: Label Studio itself, not its sign-on or a proxy's page",
        ),
    }
}

/// What says who somebody is must not say so of nobody: a proxy in between that signs in for everybody would let
/// everybody see everything.
async fn strangers(client: &HttpClient, config: &LabelStudioConfig) -> Step {
    match ask(client, config, "api/current-user/whoami").await {
        Ok(answer) if answer.status().as_u16() == 401 => {
            Step::ok("strangers", "a request without a credential is told 401")
        }
        Ok(answer) => Step::failed(
            "strangers",
            format!(
                "a request without a credential is told {}",
                answer.status().as_u16()
            ),
            "reach Label Studio itself: whatever stands before it must not sign anybody in",
        ),
        Err(error) => Step::failed("strangers", error.to_string(), "let this machine reach it"),
    }
}

async fn ask(
    client: &HttpClient,
    config: &LabelStudioConfig,
    path: &str,
) -> Result<Response<Bytes>, BackendError> {
    let request = Request::get(format!("{}{path}", config.url))
        .header("accept", "application/json")
        .body(Full::default());
    let request = request.map_err(|error| BackendError::Protocol(error.to_string()))?;
    client.fetch(request).await
}

/// Of `/api/version`: a number, as far as it is one.
fn version(answer: &Response<Bytes>) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(answer.body()).ok()?;
    let version = document.get("release")?.as_str()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
    Some(version.chars().filter(|c| plain(*c)).take(32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::stub::{Stub, answer};
    use crate::cli::check::report::Report;

    async fn found(version: &'static str, whoami: u16) -> (bool, String) {
        let studio = Stub::start(None, move |head| match head.uri().path() {
            "/api/version" => answer(200, &[], version),
            _ => answer(whoami, &[], "{}"),
        })
        .await;
        let url = format!("http://127.0.0.1:{}", studio.port);
        let steps = steps(&config(&url)).await;
        let report = Report::new(vec![], steps, vec![]);
        (report.ok, report.to_string())
    }

    fn config(url: &str) -> LabelStudioConfig {
        LabelStudioConfig {
            url: url.parse().expect("a url"),
            ca_file: None,
        }
    }

    #[tokio::test]
    async fn a_label_studio_is_told_by_its_version_and_by_what_it_tells_strangers() {
        for (version, whoami, ok, said) in [
            (r#"{"release":"1.23.2"}"#, 401, true, "Label Studio 1.23.2"),
            (r#"{"release":"2.0"}"#, 401, true, "tested with"),
            (
                r#"{"release":"1.23.2"}"#,
                200,
                false,
                "must not sign anybody in",
            ),
            (
                "<html>sign in</html>",
                401,
                false,
                "not as Label Studio does",
            ),
        ] {
            let (is_ok, report) = found(version, whoami).await;
            assert_eq!(is_ok, ok, "{report}");
            assert!(report.contains(said), "{report}");
        }
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_a_failure_that_says_what_to_change() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        drop(listener);
        let steps = steps(&config(&url)).await;
        let report = Report::new(vec![], steps, vec![]);
        assert!(!report.ok);
        assert!(
            report.to_string().contains("access.label_studio.url"),
            "{report}"
        );
    }
}
