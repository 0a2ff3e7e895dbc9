//! Who asks Azure: what the section says, else Label Studio's key, else the environment of a workload.

use super::*;
use crate::backend::config::{AzureConfig, AzureCredentials, AzureIdentity};

const SECTION: &str = "kind = \"azure\"\naccount = \"acme\"\ncontainer = \"slides\"\n";

fn with(lines: &str) -> String {
    let s3 = "kind = \"s3\"\nbucket = \"acme-recordings\"\n";
    SMALL.replace(s3, lines)
}

fn azure(lines: &str, more: &[(&str, &str)]) -> AzureConfig {
    match &config(&with(lines), more).storages[0].backend {
        BackendConfig::Azure(azure) => (**azure).clone(),
        other => panic!("{other:?}"),
    }
}

/// The kind of credentials, and who vouches for an identity where.
fn asks(azure: &AzureConfig) -> String {
    match &azure.credentials {
        AzureCredentials::AccountKey(key) => format!("key {}", key.expose()),
        AzureCredentials::Sas(query) => format!("sas {}", query.expose()),
        AzureCredentials::Identity(identity) => match identity {
            AzureIdentity::ServicePrincipal {
                application,
                client_secret,
            } => format!(
                "principal {} {} {} {}",
                application.authority_host,
                application.tenant_id,
                application.client_id,
                client_secret.expose()
            ),
            AzureIdentity::Workload {
                application,
                token_file,
            } => format!(
                "workload {} {} {}",
                application.tenant_id,
                application.client_id,
                token_file.display()
            ),
            AzureIdentity::Managed {
                client_id,
                endpoint,
            } => {
                format!("managed {} {endpoint}", client_id.as_deref().unwrap_or("-"))
            }
            AzureIdentity::AppService {
                client_id,
                endpoint,
                header,
            } => format!(
                "app {} {endpoint} {}",
                client_id.as_deref().unwrap_or("-"),
                header.expose()
            ),
        },
    }
}

#[test]
fn the_section_says_who_asks() {
    let secret = [("S", "c2VjcmV0")];
    for (lines, expected) in [
        ("account_key = { env = \"S\" }", "key c2VjcmV0"),
        ("sas_token = \"?sv=1&sig=x\"", "sas sv=1&sig=x"),
        (
            "tenant_id = \"t\"\nclient_id = \"c\"\nclient_secret = { env = \"S\" }",
            "principal https://login.microsoftonline.com/ t c c2VjcmV0",
        ),
        (
            "tenant_id = \"t\"\nclient_id = \"c\"\nclient_secret = { env = \"S\" }\n\
             authority_host = \"https://login.microsoftonline.us\"",
            "principal https://login.microsoftonline.us/ t c c2VjcmV0",
        ),
        (
            "tenant_id = \"t\"\nclient_id = \"c\"\nfederated_token_file = \"token\"",
            "workload t c etc/token",
        ),
        ("", "managed - http://169.254.169.254/"),
        ("client_id = \"c\"", "managed c http://169.254.169.254/"),
    ] {
        let azure = azure(&format!("{SECTION}{lines}\n"), &secret);
        assert_eq!(asks(&azure), expected, "{lines}");
        assert!(!format!("{azure:?}").contains("c2VjcmV0"), "{azure:?}");
    }
}

#[test]
fn the_environment_says_who_asks_where_the_section_does_not() {
    let workload = [
        ("AZURE_TENANT_ID", "t"),
        ("AZURE_CLIENT_ID", "c"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/token"),
    ];
    let secret = [workload[0], workload[1], ("AZURE_CLIENT_SECRET", "s")];
    let app = [
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:4141/token"),
        ("IDENTITY_HEADER", "h"),
    ];
    let key = [
        ("AZURE_BLOB_ACCOUNT_NAME", "acme"),
        ("AZURE_BLOB_ACCOUNT_KEY", "YQ=="),
    ];
    let others_key = [("AZURE_BLOB_ACCOUNT_NAME", "other"), key[1]];
    for (lines, environment, expected) in [
        ("", &workload[..], "workload t c /var/run/token"),
        (
            "client_id = \"d\"\n",
            &workload,
            "workload t d /var/run/token",
        ),
        (
            "",
            &secret,
            "principal https://login.microsoftonline.com/ t c s",
        ),
        ("", &app, "app - http://127.0.0.1:4141/token h"),
        ("", &key, "key YQ=="),
        ("", &key[1..], "managed - http://169.254.169.254/"),
        ("", &others_key, "managed - http://169.254.169.254/"),
        ("sas_token = \"sv=1&sig=x\"\n", &key, "sas sv=1&sig=x"),
        (
            "client_id = \"d\"\n",
            &key,
            "managed d http://169.254.169.254/",
        ),
    ] {
        let azure = azure(&format!("{SECTION}{lines}"), environment);
        assert_eq!(asks(&azure), expected, "{lines} {environment:?}");
    }
    let nameless = SECTION.replace("account = \"acme\"\n", "");
    assert_eq!(azure(&nameless, &key).account, "acme");
    assert_eq!(asks(&azure(&nameless, &key)), "key YQ==");
}

#[test]
fn a_second_way_to_ask_is_warned_about() {
    let lines = "account_key = { env = \"AZURE_KEY\" }\nsas_token = { env = \"AZURE_KEY\" }\n";
    let loaded = load_text(&with(&format!("{SECTION}{lines}")), &[]).expect("it loads");
    let of_the_storage = |warning: &&String| warning.contains("storage[0]");
    let warnings: Vec<_> = loaded.warnings.iter().filter(of_the_storage).collect();
    let [warning] = &warnings[..] else {
        panic!("{:?}", loaded.warnings);
    };
    assert!(
        warning.contains("storage[0].sas_token: is not used"),
        "{warning}"
    );
}

#[test]
fn what_azure_would_refuse_is_refused_at_start() {
    for (lines, key, word) in [
        (
            "account = \"a.evil\"\ncontainer = \"c-1\"",
            "account",
            "lower-case",
        ),
        ("container = \"c-1\"", "account", "is missing"),
        (
            "account = \"acme\"\ncontainer = \"c/p\"",
            "container",
            "prefix",
        ),
        (
            "account = \"acme\"\ncontainer = \"\"",
            "container",
            "not a container",
        ),
        ("account_key = \"not base64!\"", "account_key", "base64"),
        (
            "sas_token = \"https://acme/?sv\"",
            "sas_token",
            "without the URL",
        ),
        (
            "sas_token = \"sv=1&sig=x\"\ndelivery = \"redirect\"",
            "delivery",
            "one blob",
        ),
        (
            "tenant_id = \"t\"\nclient_id = \"c\"",
            "client_secret",
            "is missing",
        ),
        ("client_secret = \"s\"", "tenant_id", "is missing"),
        (
            "client_secret = \"s\"\ntenant_id = \"t/../x\"\nclient_id = \"c\"",
            "tenant_id",
            "not a tenant",
        ),
        (
            "client_secret = \"s\"\ntenant_id = \"t\"\nclient_id = \"c\"\nauthority_host = \"http://h\"",
            "authority_host",
            "https",
        ),
        (
            "endpoint = \"http://acme.example\"",
            "endpoint",
            "must be https",
        ),
        (
            "endpoint = \"https://acme.example/?sv=1\"",
            "endpoint",
            "sas_token",
        ),
        ("bucket = \"b\"", "bucket", "unknown key"),
    ] {
        let section = if lines.contains("container") {
            "kind = \"azure\"\n"
        } else {
            SECTION
        };
        let problems = load_text(&with(&format!("{section}{lines}\n")), &[]).expect_err(lines);
        let text = problems.to_string();
        assert!(
            text.contains(&format!("storage[0].{key}: ")),
            "{lines}: {text}"
        );
        assert!(text.contains(word), "{lines}: {text}");
        assert!(!text.contains("not base64!"), "a secret is shown: {text}");
    }
}
