//! What `[telemetry]` means: where traces go, if anywhere.
//!
//! `telemetry.otlp.endpoint` is a collector's address, like OpenTelemetry's own: `/v1/traces` is added. Below the file
//! stand OpenTelemetry's variables
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>,
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use toml::Value;
use url::Url;

use super::raw;
use super::reader::Reader;
use crate::secret::Secret;
use crate::telemetry::OtlpConfig;

/// What the path of OTLP over HTTP ends with.
const TRACES_PATH: &str = "v1/traces";
const KEY: &str = "telemetry.otlp";

/// `Some(None)`: traces go nowhere; `None`: the section has mistakes.
pub fn otlp(reader: &mut Reader<'_>, written: Option<Value>) -> Option<Option<OtlpConfig>> {
    let telemetry: raw::Telemetry = reader.section("telemetry", written)?;
    let is_written = telemetry.otlp.is_some();
    let otlp = telemetry.otlp.unwrap_or_default();
    let environment = reader.environment();
    let variable = |name: &str| {
        let value = environment.get(name);
        value.map(|value| value.trim()).filter(|it| !it.is_empty())
    };
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    let none = variable("OTEL_TRACES_EXPORTER") == Some("none");
    if !is_written && (disabled || none) {
        return Some(None);
    }
    let own = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    let general = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    let service_name = variable("OTEL_SERVICE_NAME")
        .unwrap_or("lockgate")
        .to_owned();
    let url = match (otlp.endpoint.as_deref(), own, general) {
        (Some(endpoint), ..) => under(reader.url("telemetry.otlp.endpoint", endpoint)?),
        // For traces alone, it is taken as it is.
        (None, Some(endpoint), _) => reader.url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)?,
        (None, None, Some(endpoint)) => under(reader.url("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)?),
        (None, None, None) => {
            if is_written {
                reader.problem(
                    KEY,
                    "endpoint is missing: \"http://127.0.0.1:4318\" for one",
                );
            }
            return Some(None);
        }
    };
    if is_grpc(reader) {
        let name = "OTEL_EXPORTER_OTLP_PROTOCOL";
        reader.warn(name, "only http/protobuf is spoken, and not grpc");
    }
    Some(Some(OtlpConfig {
        url,
        headers: headers(reader, otlp.headers),
        sample_ratio: sample_ratio(reader, otlp.sample_ratio),
        service_name: otlp.service_name.unwrap_or(service_name),
    }))
}

fn under(mut endpoint: Url) -> Url {
    let path = format!("{}/{TRACES_PATH}", endpoint.path().trim_end_matches('/'));
    endpoint.set_path(&path);
    endpoint
}

fn is_grpc(reader: &Reader<'_>) -> bool {
    let environment = reader.environment();
    let protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
    let protocol = protocol.or(environment.get("OTEL_EXPORTER_OTLP_PROTOCOL"));
    protocol.is_some_and(|protocol| protocol == "grpc")
}

/// Those of the file, or those of the environment: `name=value,name=value`, values percent-encoded.
fn headers(
    reader: &mut Reader<'_>,
    written: std::collections::BTreeMap<String, raw::SecretRef>,
) -> Vec<(HeaderName, Secret)> {
    let mut headers = Vec::new();
    for (name, value) in written {
        let key = format!("{KEY}.headers.{name}");
        if let Some(value) = reader.secret(&key, Some(value)) {
            headers.extend(header(reader, &key, &name, value));
        }
    }
    if !headers.is_empty() {
        return headers;
    }
    for key in [
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "OTEL_EXPORTER_OTLP_HEADERS",
    ] {
        let Some(list) = reader.environment().get(key) else {
            continue;
        };
        for pair in list.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            let value = Secret::new(value.into_owned());
            headers.extend(header(reader, key, name.trim(), value));
        }
        break;
    }
    headers
}

fn header(
    reader: &mut Reader<'_>,
    key: &str,
    name: &str,
    value: Secret,
) -> Option<(HeaderName, Secret)> {
    let field = HeaderName::try_from(name).ok();
    let field = field.filter(|_| HeaderValue::from_str(value.expose()).is_ok());
    if field.is_none() {
        reader.problem(key, "is no field of HTTP");
    }
    Some((field?, value))
}

/// Every trace that is begun here, unless something else is written; who calls with a trace has decided already.
fn sample_ratio(reader: &mut Reader<'_>, written: Option<f64>) -> f64 {
    let environment = reader.environment();
    let variable = |name: &str| environment.get(name).map(String::as_str);
    let sampler = variable("OTEL_TRACES_SAMPLER").unwrap_or_default();
    let argument = variable("OTEL_TRACES_SAMPLER_ARG").unwrap_or("1");
    let ratio = match (written, sampler) {
        (Some(ratio), _) => Some(ratio),
        (None, "always_off" | "parentbased_always_off") => Some(0.0),
        (None, "traceidratio" | "parentbased_traceidratio") => argument.trim().parse().ok(),
        (None, _) => Some(1.0),
    };
    let ratio = ratio.filter(|ratio| (0.0..=1.0).contains(ratio));
    if ratio.is_none() {
        let key = match written {
            Some(_) => "telemetry.otlp.sample_ratio",
            None => "OTEL_TRACES_SAMPLER_ARG",
        };
        reader.problem(key, "must be a number from 0 to 1");
    }
    ratio.unwrap_or(1.0)
}
