use super::*;
use crate::telemetry::OtlpConfig;

fn otlp(section: &str, more: &[(&str, &str)]) -> Option<OtlpConfig> {
    config(&format!("{SMALL}{section}"), more).otlp
}

const COLLECTOR: &str = "\n[telemetry]\notlp = { endpoint = 'http://127.0.0.1:4318' }\n";

#[test]
fn traces_go_nowhere_unless_a_collector_is_named() {
    assert_eq!(otlp("", &[]), None);
    assert_eq!(otlp("\n[telemetry]\n", &[]), None);
    let otlp = otlp(COLLECTOR, &[]).unwrap();
    assert_eq!(otlp.url.as_str(), "http://127.0.0.1:4318/v1/traces");
    assert_eq!((otlp.sample_ratio, &*otlp.service_name), (1.0, "lockgate"));
    assert_eq!(otlp.headers, []);
}

#[test]
fn opentelemetrys_variables_stand_below_the_file() {
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector/base/");
    let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/here");
    let url =
        |section: &str, more: &[(&str, &str)]| otlp(section, more).map(|it| it.url.to_string());
    let base = Some("https://collector/base/v1/traces".to_owned());
    assert_eq!(url("", &[general]), base);
    assert_eq!(
        url("", &[general, own]).as_deref(),
        Some("https://traces/here")
    );
    let file = Some("http://127.0.0.1:4318/v1/traces".to_owned());
    assert_eq!(url(COLLECTOR, &[general, own]), file);
    assert_eq!(url("", &[general, ("OTEL_SDK_DISABLED", "true")]), None);
    let more = [
        general,
        ("OTEL_SERVICE_NAME", "media-eu"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x=y"),
    ];
    let otlp = otlp("", &more).unwrap();
    assert_eq!((otlp.sample_ratio, &*otlp.service_name), (0.25, "media-eu"));
    let headers: Vec<(&str, &str)> = otlp
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose()))
        .collect();
    assert_eq!(headers, [("api-key", "a b"), ("x", "y")]);
    assert!(!format!("{otlp:?}").contains("a b"));
}

#[test]
fn mistakes_of_telemetry_are_named() {
    for (section, place) in [
        ("otlp = { sample_ratio = 0.5 }", "telemetry.otlp"),
        (
            "otlp = { endpoint = 'collector:4318' }",
            "telemetry.otlp.endpoint",
        ),
        (
            "otlp = { endpoint = 'http://c', sample_ratio = 2.0 }",
            "sample_ratio",
        ),
        (
            "otlp = { endpoint = 'http://c', headers = { 'a b' = 'x' } }",
            "headers",
        ),
        (
            "otlp = { endpoint = 'http://c', protocol = 'grpc' }",
            "protocol",
        ),
    ] {
        let text = format!("{SMALL}\n[telemetry]\n{section}\n");
        let found = load_text(&text, &[]).unwrap_err().to_string();
        assert!(found.contains(place), "{place} is not in {found}");
    }
}
