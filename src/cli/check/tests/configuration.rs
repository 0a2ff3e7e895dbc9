//! What the configuration itself points to: keys, certificates, the access list.

use super::*;
use crate::secret::Secret;
use crate::serve::TlsFiles;

#[tokio::test]
async fn an_access_list_with_mistakes_is_a_failure_that_names_its_place() {
    let desk = Desk::new().await;
    let list = desk.directory.path().join("projects.toml");
    std::fs::write(&list, "[[project]]\nid = '1'\nstorages = ['two']\n").unwrap();
    let report = desk.check(&desk.section(), CheckArgs::default()).await;
    assert!(!report.ok);
    assert!(report.to_string().contains("projects.toml:3: "), "{report}");
}

#[tokio::test]
async fn a_key_set_that_cannot_be_fetched_is_a_failure() {
    let desk = Desk::new().await;
    let file = desk.directory.path().join("lockgate.toml");
    // The bucket's server answers, and has no such object.
    let url = desk.server.endpoint().join("media/jwks.json").unwrap();
    let auth = AUTH.replace(
        "hmac_secret = { file = 'jwt.secret' }",
        &format!("jwks_url = '{url}'"),
    );
    std::fs::write(&file, auth.replace("HS256", "ES256")).unwrap();
    let loaded = config::load(&file, []).unwrap();
    let text = check(&file, &loaded, &CheckArgs::default())
        .await
        .unwrap()
        .to_string();
    assert!(
        text.contains("FAIL    keys") && text.contains("jwks_url"),
        "{text}"
    );
}

#[tokio::test]
async fn keys_are_taken_as_a_start_would_take_them() {
    let desk = Desk::new().await;
    let file = desk.directory.path().join("lockgate.toml");
    std::fs::write(&file, format!("{AUTH}{}", desk.section())).unwrap();
    let mut loaded = config::load(&file, []).unwrap();
    let report = check(&file, &loaded, &CheckArgs::default()).await.unwrap();
    assert!(report.to_string().contains("ok      keys"), "{report}");

    // Loading refuses this already: `check` does not rely on it.
    let nonsense = "-----BEGIN PUBLIC KEY-----\nnonsense\n-----END PUBLIC KEY-----\n";
    loaded.config.auth.as_mut().unwrap().public_key = Some(Secret::new(nonsense));
    let report = check(&file, &loaded, &CheckArgs::default()).await.unwrap();
    let text = report.to_string();
    assert!(!report.ok && text.contains("FAIL    keys"), "{text}");
    assert!(text.contains("-> correct auth.jwt.public_key"), "{text}");
}

#[tokio::test]
async fn a_certificate_that_is_none_is_a_failure() {
    let desk = Desk::new().await;
    let file = desk.directory.path().join("lockgate.toml");
    std::fs::write(&file, format!("{AUTH}{}", desk.section())).unwrap();
    let mut loaded = config::load(&file, []).unwrap();
    // Loading refuses such files already: these have changed since.
    let none = desk.directory.path().join("jwt.secret");
    loaded.config.server.tls = Some(TlsFiles {
        certificate: none.clone(),
        private_key: none,
        client_ca: None,
        client_optional: false,
    });
    let report = check(&file, &loaded, &CheckArgs::default()).await.unwrap();
    let text = report.to_string();
    assert!(
        text.contains("FAIL    tls") && text.contains("correct server.tls"),
        "{text}"
    );
}
