//! The example as it stands, and a table of what operators get wrong.

mod azure;
mod gcs;
mod label_studio;
mod mistakes;
mod start;
mod stores;
mod trust;
mod warnings;

use super::*;
use crate::backend::gcs::identity::Identity;

const EXAMPLE: &str = include_str!("../../tests/data/lockgate.toml");

/// The least that works, in ten lines: mistakes are made in it.
const SMALL: &str = r#"[server]
listen = "127.0.0.1:0"
[auth.jwt]
issuer = "https://platform.example.com"
audience = "lockgate"
algorithms = ["HS256"]
hmac_secret = { env = "LOCKGATE_JWT_SECRET" }
[access]
file = "projects.toml"
[delivery]
presign_expiry = "1h"
[[storage]]
id = "recordings"
kind = "s3"
bucket = "acme-recordings"
"#;

/// A credentials file without a secret: whose identity it is, the machine knows.
const GCS: &str = r#"{"type": "external_account", "audience": "//iam.googleapis.com/pool",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"file": "/var/run/token"}}"#;

fn environment(more: &[(&str, &str)]) -> Vec<(String, String)> {
    let secrets = [
        ("LOCKGATE_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
        ("ACME_EXTERNAL_ID", "acme-7"),
        ("MINIO_KEY", "minio"),
        ("MINIO_SECRET", "minio-secret"),
        ("DATABRICKS_TOKEN", "dapi-7"),
        ("AZURE_KEY", "YSBrZXk="),
    ];
    let all = secrets.iter().chain(more);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// How tokens are verified.
fn auth(config: &Config) -> &AuthConfig {
    config.auth.as_ref().expect("tokens are verified")
}

fn load_text(text: &str, more: &[(&str, &str)]) -> Result<Loaded, Problems> {
    Source {
        file: Some("etc/lockgate.toml".into()),
        text: text.to_owned(),
        environment: environment(more),
    }
    .load()
}

fn config(text: &str, more: &[(&str, &str)]) -> Config {
    load_text(text, more)
        .expect("the configuration loads")
        .config
}

#[test]
fn the_example_loads_as_it_stands() {
    let example = EXAMPLE.replace("{ file = \"gcs.json\" }", "{ env = \"GCS_JSON\" }");
    let loaded = load_text(&example, &[("GCS_JSON", GCS)]).expect("the example loads");
    let config = loaded.config;
    assert_eq!(config.server.listen.port(), 8080);
    assert_eq!(
        config.server.allowed_origins,
        ["https://editor.example.com"]
    );
    assert_eq!(config.server.limits.concurrent_streams, Some(32));
    assert_eq!(config.cache.memory, 512 << 20);
    assert_eq!(config.access.file(), Some(Path::new("etc/projects.toml")));
    assert_eq!(auth(&config).leeway, Duration::from_secs(30));
    assert_eq!(config.delivery.max_range_size, None);
    let ids: Vec<_> = config.storages.iter().map(|s| s.id.as_str()).collect();
    let expected = [
        "recordings",
        "minio",
        "scans",
        "slides",
        "volumes",
        "workstation",
    ];
    assert_eq!(ids, expected);
    assert_eq!(&*config.storages[0].prefix, "datasets/production/");
    let BackendConfig::S3(minio) = &config.storages[1].backend else {
        panic!("minio is s3");
    };
    assert!(minio.path_style);
    let BackendConfig::Local(local) = &config.storages[5].backend else {
        panic!("workstation is local");
    };
    assert_eq!(local.root, Path::new("etc/media"));
    let BackendConfig::Gcs(gcs) = &config.storages[2].backend else {
        panic!("scans is gcs");
    };
    assert_eq!(gcs.bucket, "acme-scans");
    assert!(matches!(gcs.identity, Some(Identity::External(_))));
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("auth.secure_cookie"));
}

#[test]
fn the_examples_commented_lines_load_too() {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path();
    let (certificate, key) = start::certificate();
    let public_key = rcgen::KeyPair::generate().expect("a key").public_key_pem();
    for (name, text) in [
        ("gcs.json", GCS),
        ("tls.crt", &certificate),
        ("tls.key", &key),
        ("jwt.pem", &public_key),
    ] {
        std::fs::write(root.join(name), text).expect("written");
    }
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        // Beside a public key it would be a mistake.
        Some(rest) if rest.starts_with("jwks_url") => String::new(),
        Some(rest) if rest.contains(" = ") => rest.replace("   client", "\nclient"),
        _ => line.to_owned(),
    };
    let text: String = EXAMPLE.lines().map(|line| uncomment(line) + "\n").collect();
    let text = text.replace("[\"HS256\"]", "[\"HS256\", \"ES256\"]");
    let file = root.join("lockgate.toml");
    std::fs::write(&file, text).expect("written");
    let loaded = load(&file, environment(&[("...", "session")])).expect("it loads");
    assert!(loaded.config.server.tls.is_some());
    assert_eq!(loaded.config.server.limits.bandwidth, Some(50 << 20));
    assert_eq!(loaded.config.delivery.max_range_size, Some(8 << 20));
    for name in ["lockgate.toml", "tls.crt", "tls.key", "jwt.pem", "gcs.json"] {
        assert!(loaded.files.contains(&root.join(name)), "{name} is watched");
    }
    let disk = loaded.config.disk.expect("it is set");
    assert_eq!(disk.path, std::path::Path::new("/var/cache/lockgate"));
    assert_eq!(disk.capacity, 200 << 30);
    let upstream = loaded.config.server.upstream;
    assert_eq!(
        upstream.expect("it is set").as_str(),
        "http://127.0.0.1:8081/"
    );
}

#[test]
fn a_secret_in_plain_text_works_and_is_warned_about_without_showing_it() {
    let text = SMALL.replace("{ env = \"LOCKGATE_JWT_SECRET\" }", "\"in-plain-sight\"");
    let loaded = load_text(&text, &[]).expect("it loads");
    let secret = auth(&loaded.config).hmac_secret.clone();
    let secret = secret.expect("there is one");
    assert_eq!(secret.expose(), "in-plain-sight");
    assert!(loaded.warnings[0].starts_with("etc/lockgate.toml:7: auth.jwt.hmac_secret: "));
    assert!(loaded.warnings[1].contains("shorter than 32 bytes"));
    assert!(!format!("{loaded:?}").contains("in-plain-sight"));
}

#[test]
fn a_secrets_file_loses_its_trailing_newline_and_is_watched() {
    let directory = tempfile::tempdir().expect("a directory");
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef\n").expect("written");
    let reference = format!("{{ file = {:?} }}", secret.display().to_string());
    let text = SMALL.replace("{ env = \"LOCKGATE_JWT_SECRET\" }", &reference);
    let loaded = load_text(&text, &[]).expect("it loads");
    let read = auth(&loaded.config)
        .hmac_secret
        .clone()
        .expect("there is one");
    assert_eq!(read.expose().len(), 32);
    assert!(loaded.files.contains(&secret));
}

#[test]
fn the_environment_overrides_every_kind_of_key() {
    let config = config(
        SMALL,
        &[
            ("LOCKGATE__SERVER__DRAIN", "5m"),
            ("LOCKGATE__SERVER__LIMITS__CONCURRENT_STREAMS", "7"),
            (
                "LOCKGATE__SERVER__CORS__ALLOWED_ORIGINS",
                "[\"http://a.example\"]",
            ),
            ("LOCKGATE__AUTH__QUERY_TOKEN", "true"),
            ("LOCKGATE__AUTH__JWT__AUDIENCE", "12345"),
            ("LOCKGATE__AUTH__JWT__HMAC_SECRET__ENV", "OTHER"),
            ("OTHER", "another secret of thirty-two bytes"),
            ("LOCKGATE__STORAGE__RECORDINGS__REGION", "eu-west-1"),
            ("LOCKGATE__LOG__ACCESS", "off"),
        ],
    );
    assert_eq!(config.server.drain, Duration::from_secs(300));
    assert_eq!(config.server.limits.concurrent_streams, Some(7));
    assert_eq!(config.server.allowed_origins, ["http://a.example"]);
    assert!(auth(&config).query_token);
    assert_eq!(auth(&config).audience, "12345");
    let secret = auth(&config).hmac_secret.clone().expect("there is one");
    assert!(secret.expose().starts_with("another"));
    let BackendConfig::S3(s3) = &config.storages[0].backend else {
        panic!("recordings is s3");
    };
    assert_eq!(s3.region.as_deref(), Some("eu-west-1"));
    assert_eq!(config.log.access, AccessLog::Off);
}

#[test]
fn label_studios_variables_stand_below_the_file() {
    let variables = [
        ("RESOLVER_PROXY_MAX_RANGE_SIZE", "8388608"),
        ("RESOLVER_PROXY_TIMEOUT", "20"),
        ("LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED", "true"),
        (
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT",
            "/label-studio/files",
        ),
        ("AZURE_BLOB_ACCOUNT_NAME", "acme"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "gcs.json"),
    ];
    let alone = config(SMALL, &variables);
    assert_eq!(alone.delivery.max_range_size, Some(8 << 20));
    assert_eq!(alone.delivery.stall_timeout, Duration::from_secs(20));
    assert_eq!(alone.storages[1].id.as_str(), "local-files");

    let text = SMALL.replace("[delivery]", "[delivery]\nmax_range_size = \"1MiB\"");
    let below = config(&text, &variables);
    assert_eq!(below.delivery.max_range_size, Some(1 << 20));

    let over = [
        &variables[..],
        &[("LOCKGATE__DELIVERY__MAX_RANGE_SIZE", "2MiB")],
    ]
    .concat();
    assert_eq!(config(&text, &over).delivery.max_range_size, Some(2 << 20));
}

#[test]
fn path_style_is_the_default_with_an_endpoint_and_for_names_with_dots() {
    for (bucket, endpoint, expected) in [
        ("plain", "", false),
        ("dotted.name", "", true),
        ("plain", "endpoint = \"http://127.0.0.1:9000\"\n", true),
        (
            "plain",
            "endpoint = \"http://127.0.0.1:9000\"\npath_style = false\n",
            false,
        ),
    ] {
        let text = SMALL.replace("acme-recordings", bucket) + endpoint;
        let BackendConfig::S3(s3) = config(&text, &[]).storages[0].backend.clone() else {
            panic!("it is s3");
        };
        assert_eq!(s3.path_style, expected, "{bucket} {endpoint}");
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    let text = SMALL
        .replace("127.0.0.1:0", "nowhere")
        .replace("\"1h\"", "\"8d\"")
        .replace("kind = \"s3\"", "kind = \"s4\"");
    let problems = load_text(&text, &[]).expect_err("it is refused");
    let text = problems.to_string();
    for key in [
        "server.listen",
        "delivery.presign_expiry",
        "storage[0].kind",
    ] {
        assert!(text.contains(key), "{key} in {text}");
    }
}

#[test]
fn a_configuration_without_a_file_loads_from_text() {
    let source = Source {
        file: None,
        text: SMALL.to_owned(),
        environment: environment(&[]),
    };
    let loaded = source.load().expect("it loads");
    assert_eq!(
        loaded.config.access.file(),
        Some(Path::new("projects.toml"))
    );
    assert!(loaded.files.is_empty());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problems = load(Path::new("no/such.toml"), []).expect_err("it is refused");
    assert!(
        problems
            .to_string()
            .starts_with("no/such.toml: cannot be read")
    );
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    for (variable, value, word) in [
        ("LOCKGATE__SERVER__LISTEN", "nowhere", "IP address"),
        (
            "LOCKGATE__SERVER__LISEN",
            "127.0.0.1:1",
            "did you mean `listen`",
        ),
        (
            "LOCKGATE__SERVER__LIMITS__CONCURRENT_STREAMS",
            "many",
            "expected u32",
        ),
        ("LOCKGATE__CACHE__MEMORY", "512", "not a size"),
        (
            "LOCKGATE__SERVER__CORS__ALLOWED_ORIGINS",
            "https://a.example",
            "in the environment a list is written [\"…\"]",
        ),
        (
            "LOCKGATE__AUTH__JWT__ALGORITHMS",
            "HS256",
            "in the environment a list is written [\"…\"]",
        ),
        (
            "LOCKGATE__AUTH__JWT__HMAC_SECRET__FILE",
            "none",
            "one of the two",
        ),
        (
            "LOCKGATE__STORAGE__NONE__BUCKET",
            "b",
            "no storage has this id",
        ),
        ("LOCKGATE__SERVER", "x", "LOCKGATE__SECTION__KEY"),
        (
            "RESOLVER_PROXY_MAX_RANGE_SIZE",
            "8MiB",
            "whole number of bytes",
        ),
    ] {
        let problems = load_text(SMALL, &[(variable, value)]).expect_err(variable);
        let text = problems.to_string();
        assert!(
            text.starts_with(&format!("{variable}: ")) || text.contains("hmac_secret"),
            "{text}"
        );
        assert!(text.contains(word), "{text}");
    }
}
