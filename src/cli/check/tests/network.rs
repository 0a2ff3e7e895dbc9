//! The way to a server, with a certificate authority of the test's own.

use tokio::net::TcpListener;
use url::Url;

use super::super::network::{Server, reach};
use super::super::provider::Naming;
use super::super::report::{Outcome, Step};
use crate::backend::stub;

/// A server that only shakes hands, whose certificate is for `name`; its port, and its authority in PEM.
async fn server(name: &str) -> (u16, String) {
    let (acceptor, pem) = stub::authority(name);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    (port, pem)
}

async fn steps_to(url: &str, ca_file: Option<&std::path::Path>) -> Vec<Step> {
    let naming = Naming::of(&crate::backend::config::BackendConfig::S3(Box::default()));
    let url = &Url::parse(url).unwrap();
    reach(&Server {
        url,
        ca_file,
        naming,
    })
    .await
}

/// The last step that was come to.
async fn last_step(url: &str, ca_file: Option<&std::path::Path>) -> Step {
    steps_to(url, ca_file).await.pop().unwrap()
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_asks_for_ca_file() {
    let (port, pem) = server("127.0.0.1").await;
    let url = format!("https://127.0.0.1:{port}/");
    let step = last_step(&url, None).await;
    assert!(step.step == "tls" && step.has_failed(), "{}", step.detail);
    assert!(step.advice.unwrap().contains("set ca_file"));

    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let step = last_step(&url, Some(&ca_file)).await;
    assert_eq!(step.outcome, Outcome::Ok, "{}", step.detail);
    assert_eq!(step.detail, "TLSv1_3");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told_apart() {
    let (port, pem) = server("storage.test").await;
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, pem).unwrap();
    let step = last_step(&format!("https://127.0.0.1:{port}/"), Some(&ca_file)).await;
    assert!(
        step.advice.unwrap().contains("path_style"),
        "{}",
        step.detail
    );
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart() {
    let server = super::S3Server::start([]).await.unwrap();
    let port = server.endpoint().port().unwrap();
    let step = last_step(&format!("https://127.0.0.1:{port}/"), None).await;
    assert!(step.step == "tls" && step.has_failed(), "{}", step.detail);
    assert!(step.advice.unwrap().contains("http://"), "{}", step.detail);
}

#[tokio::test]
async fn an_address_in_brackets_is_looked_up_without_them() {
    let steps = steps_to("http://[::1]:9/", None).await;
    assert_eq!(steps[0].outcome, Outcome::Ok, "{}", steps[0].detail);
}
