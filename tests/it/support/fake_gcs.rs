//! fake-gcs-server, an emulator of Google Cloud Storage: a process of its own, that ends with the test's.
//!
//! `tests/servers` installs it. It checks neither tokens nor signatures: `google` and the tests of signed URLs do.
//! Where it is missing, the test fails with `CI=true` and says at a desk that it is skipped.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::Method;
use lockgate::backend::config::GcsConfig;
use lockgate::backend::gcs::Gcs;
use lockgate::backend::http::HttpClient;

use super::client::Client;
use super::garage::{is_ci, tools};
use super::uri::percent;
use super::{eventually, free_ports};

/// A running emulator; killed when dropped, and by the kernel when the test's process ends otherwise.
pub struct FakeGcs {
    process: Child,
    client: Client,
}

impl FakeGcs {
    /// Starts one with this bucket; `None` where it is not installed and may be skipped.
    pub async fn start(bucket: &str) -> Option<Self> {
        let program = tools().join("bin/fake-gcs-server");
        if !program.exists() {
            assert!(
                !is_ci(),
                "fake-gcs-server is not installed: run tests/servers"
            );
            eprintln!("SKIPPED, for fake-gcs-server is not installed: run tests/servers");
            return None;
        }
        let [port] = free_ports();
        let (port, host) = (port.to_string(), format!("127.0.0.1:{port}"));
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port])
            .args(["-backend", "memory", "-public-host", &host])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("fake-gcs-server starts");
        let client = Client::new(format!("http://{host}"));
        let server = Self { process, client };
        let name = format!("{{\"name\": \"{bucket}\"}}");
        eventually("the emulator makes a bucket", async || {
            let ask = server.client.ask(Method::POST, "/storage/v1/b?project=p");
            (ask.body(name.clone()).status().await == Some(200)).then_some(())
        })
        .await;
        Some(server)
    }

    pub fn endpoint(&self) -> &str {
        self.client.base()
    }

    /// Uploads an object; its generation.
    pub async fn put(&self, bucket: &str, key: &str, bytes: impl Into<bytes::Bytes>) -> String {
        self.put_encoded(bucket, key, "", bytes).await
    }

    /// The same with a `Content-Encoding`.
    pub async fn put_encoded(
        &self,
        bucket: &str,
        key: &str,
        coding: &str,
        bytes: impl Into<bytes::Bytes>,
    ) -> String {
        let path = format!(
            "/upload/storage/v1/b/{bucket}/o?uploadType=media&contentEncoding={coding}&name={}",
            percent(key)
        );
        let ask = self.client.ask(Method::POST, path);
        let ask = ask.header("content-type", "video/mp4").body(bytes);
        let answer = ask.answer().await;
        assert_eq!(answer.status, 200, "{key:?}: {}", answer.text());
        let generation = answer.json()["generation"].as_str().map(str::to_owned);
        generation.expect("a generation")
    }

    /// Removes an object.
    pub async fn delete(&self, bucket: &str, key: &str) {
        let path = format!("/storage/v1/b/{bucket}/o/{}", percent(key));
        let ask = self.client.ask(Method::DELETE, path);
        let status = ask.answer().await.status;
        assert!(matches!(status, 200 | 204), "{key:?}: {status}");
    }

    /// The keys of a `[[storage]]` section for one of its buckets.
    pub fn section(&self, bucket: &str) -> String {
        let endpoint = self.endpoint();
        format!("kind = 'gcs'\nbucket = '{bucket}'\nendpoint = '{endpoint}'\nanonymous = true\n")
    }

    /// The backend alone, over one of its buckets.
    pub fn backend(&self, bucket: &str) -> Gcs {
        Gcs::new(config(self.endpoint(), bucket), client())
    }
}

impl Drop for FakeGcs {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A public bucket at this address.
pub fn config(endpoint: &str, bucket: &str) -> GcsConfig {
    GcsConfig {
        bucket: bucket.to_owned(),
        endpoint: Some(endpoint.parse().expect("a URL")),
        iam_endpoint: None,
        identity: None,
        ca_file: None,
    }
}

/// The house's own client.
pub fn client() -> HttpClient {
    HttpClient::new(None, Duration::from_secs(10)).expect("a client")
}
