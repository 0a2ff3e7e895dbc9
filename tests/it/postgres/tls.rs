//! TLS to PostgreSQL: `sslmode` means what libpq's documentation says.

use crate::support::postgres::{PASSWORD, Postgres, READER};

/// A server that takes nobody without TLS; its certificate is for `localhost` alone.
async fn with_tls() -> Option<Postgres> {
    let mut postgres = Postgres::start().await?;
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    postgres.file(
        "ca.crt",
        &ca.self_signed(&ca_key).expect("a certificate").pem(),
    );
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("a name");
    let leaf = leaf.signed_by(&key, &issuer).expect("a certificate");
    let certificate = postgres.file("leaf.crt", &leaf.pem());
    let key = postgres.file("leaf.key", &key.serialize_pem());
    let access = postgres.file(
        "pg_hba.conf",
        "local all all scram-sha-256\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
    );
    postgres.with(&[
        "ssl=on",
        &format!("ssl_cert_file={}", certificate.display()),
        &format!("ssl_key_file={}", key.display()),
        &format!("hba_file={}", access.display()),
    ]);
    postgres.start_again(true).await;
    Some(postgres)
}

#[tokio::test]
async fn sslmode_decides_what_of_a_certificate_is_believed() {
    let Some(postgres) = with_tls().await else {
        return;
    };
    let ca = postgres.file(
        "trusted.crt",
        &std::fs::read_to_string(postgres.file_path("ca.crt")).expect("it is there"),
    );
    let ca = format!("&sslrootcert={}", ca.display());
    let port = postgres.port();
    for (host, mode, ca, lets_in) in [
        ("localhost", "verify-full", ca.as_str(), Ok(())),
        (
            "localhost",
            "verify-full",
            "",
            Err("invalid peer certificate"),
        ),
        (
            "127.0.0.1",
            "verify-full",
            &ca,
            Err("invalid peer certificate"),
        ),
        ("127.0.0.1", "verify-ca", &ca, Ok(())),
        (
            "127.0.0.1",
            "verify-ca",
            "",
            Err("invalid peer certificate"),
        ),
        ("127.0.0.1", "require", "", Ok(())),
        ("127.0.0.1", "prefer", "", Ok(())),
        ("127.0.0.1", "disable", "", Err("no encryption")),
    ] {
        // By its address alone, for the name of this machine may have several.
        let url = format!(
            "postgres://{READER}:{PASSWORD}@{host}:{port}/lockgate?hostaddr=127.0.0.1&sslmode={mode}{ca}"
        );
        let run = move || crate::support::process::run(&["db", "export", "--database", &url]);
        let output = tokio::task::spawn_blocking(run).await.expect("no panic");
        let said = crate::cli::said(&output);
        match lets_in {
            Ok(()) => assert!(output.status.success(), "{host} {mode}: {said}"),
            Err(why) => {
                assert!(!output.status.success(), "{host} {mode}: {said}");
                assert!(said.contains(why), "{host} {mode}: {said}");
            }
        }
    }
}

/// The whole gateway, as an operator configures it.
#[tokio::test]
async fn check_says_that_it_is_encrypted() {
    let Some(postgres) = with_tls().await else {
        return;
    };
    let ca = std::fs::read(postgres.file_path("ca.crt")).expect("it is there");
    let url = format!(
        "postgres://{READER}@localhost:{}/lockgate?sslmode=verify-full&hostaddr=127.0.0.1",
        postgres.port()
    );
    let setup = crate::support::postgres::setup(&url)
        .set("access.postgres.password.file", "password")
        .set("access.postgres.ca_file", "ca.crt")
        .file("password", PASSWORD)
        .file("ca.crt", ca);
    let run = move || {
        let directory = tempfile::tempdir().expect("a directory");
        crate::cli::run_with(&setup, directory.path(), &["check"])
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let said = crate::cli::said(&output);
    assert!(
        output.status.success() && said.contains("as lockgate, by TLS"),
        "{said}"
    );
    assert!(
        !said.contains("warn    rights") && !said.contains("could answer for the database"),
        "{said}"
    );
}
