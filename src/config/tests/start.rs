//! What a start would refuse is refused while the configuration is read, where file, line and key are known.

use std::path::Path;

use super::*;

/// A certificate for `localhost` and its key, in PEM.
pub(super) fn certificate() -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// What is wrong with these two files as `server.tls`, each with its line and key.
fn tls_problems(directory: &Path, certificate: &str, private_key: &str) -> Vec<String> {
    std::fs::write(directory.join("tls.crt"), certificate).expect("written");
    std::fs::write(directory.join("tls.key"), private_key).expect("written");
    let tls = "[server.tls]\ncertificate = \"tls.crt\"\nprivate_key = \"tls.key\"\n";
    let file = directory.join("lockgate.toml");
    std::fs::write(&file, format!("{tls}{SMALL}")).expect("written");
    match load(&file, environment(&[])) {
        Ok(_) => vec![],
        Err(problems) => problems.0.iter().map(describe).collect(),
    }
}

fn describe(problem: &Located) -> String {
    assert!(problem.file.is_some(), "{problem}");
    let line = problem.line.unwrap_or_default();
    format!("{line}: {}: {}", problem.key, problem.message)
}

#[test]
fn tls_files_without_certificate_or_key_are_named_by_file_line_and_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = self::certificate();
    let (_, of_another) = self::certificate();
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\nx\n";
    for (first, second, expected) in [
        (&*certificate, &*key, &[][..]),
        ("nonsense", &key, &["2: server.tls.certificate: "]),
        ("", &key, &["2: server.tls.certificate: "]),
        (no_certificate, &key, &["2: server.tls.certificate: "]),
        (&certificate, no_key, &["3: server.tls.private_key: "]),
        (broken, &key, &["2: server.tls.certificate: "]),
        (&certificate, "nonsense", &["3: server.tls.private_key: "]),
        (&certificate, &of_another, &["3: server.tls.private_key: "]),
        (
            &key,
            &certificate,
            &["2: server.tls.certificate: ", "3: server.tls.private_key: "],
        ),
    ] {
        let found = tls_problems(directory.path(), first, second);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}");
        }
    }
}

/// [`SMALL`] with one public-key algorithm and other keys in the place of the secret.
fn with_keys(algorithm: &str, keys: &str) -> String {
    let text = SMALL.replace("HS256", algorithm);
    text.replace("hmac_secret = { env = \"LOCKGATE_JWT_SECRET\" }", keys)
}

#[test]
fn keys_that_no_token_can_be_verified_with_are_named_by_file_line_and_key() {
    let pair = rcgen::KeyPair::generate().expect("a key");
    let public_key = pair.public_key_pem();
    let nonsense = "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n";
    let variables = [("GOOD", &*public_key), ("NONSENSE", nonsense)];
    let of = |name: &str| format!("public_key = {{ env = \"{name}\" }}");
    let both = format!("{}\njwks_url = \"https://h/k\"", of("GOOD"));
    assert!(load_text(&with_keys("ES256", &of("GOOD")), &variables).is_ok());
    for (algorithm, keys, word) in [
        ("ES256", of("NONSENSE"), "public key in pem"),
        ("RS256", of("GOOD"), "fits none of the algorithms"),
        ("ES256", both, "exclude each other"),
    ] {
        let text = with_keys(algorithm, &keys);
        let problems = load_text(&text, &variables).expect_err(word);
        let [problem] = &problems.0[..] else {
            panic!("{problems}");
        };
        assert!(
            describe(problem).starts_with("7: auth.jwt.public_key: ")
                && problem.message.contains(word),
            "{problem}"
        );
    }
}
