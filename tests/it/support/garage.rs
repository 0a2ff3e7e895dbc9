//! Garage, a real S3 server: a process of its own, that ends with the test's.
//!
//! `tests/servers` builds it. Where it is missing, the test fails with `CI=true` and says at a desk that it is skipped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use http::Method;
use tempfile::TempDir;

use super::client::Client;
use super::eventually;
use super::free_ports;

const ID: &str = "GK31c2f218a2e44f485b94239e";
const SECRET: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";
/// Not the one that is begun with: sections name no region, so that every test has it found out.
const REGION: &str = "garage-east";
const RPC_SECRET: &str = "4425f5c26c5e11581d3223904324dcb5b5d5dfb14e5e7f35e38c595424f5f1e6";

/// A running server; killed when dropped, and by the kernel when the test's process ends otherwise.
pub struct Garage {
    process: Child,
    directory: TempDir,
    program: PathBuf,
    endpoint: String,
    client: Client,
}

impl Garage {
    /// Starts one; `None` where it is not installed and may be skipped.
    pub async fn start() -> Option<Self> {
        let Some(program) = program() else {
            assert!(!is_ci(), "garage is not installed: run tests/servers");
            eprintln!("SKIPPED, for garage is not installed: run tests/servers");
            return None;
        };
        for _ in 0..3 {
            let garage = Self::begin(program.clone());
            if let Some(garage) = garage.laid_out().await {
                return Some(garage);
            }
        }
        panic!("garage ends as soon as it has started");
    }

    fn begin(program: PathBuf) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [s3, rpc] = free_ports();
        std::fs::write(
            directory.path().join("g.toml"),
            configuration(directory.path(), s3, rpc),
        )
        .expect("its configuration is written");
        let endpoint = format!("http://127.0.0.1:{s3}");
        Self {
            process: serve(&program, directory.path()),
            client: Client::new(&endpoint),
            directory,
            program,
            endpoint,
        }
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, bucket: &str) {
        self.send(Method::PUT, &format!("/{bucket}"), Bytes::new(), &[])
            .await;
    }

    /// Uploads an object.
    pub async fn put(&self, bucket: &str, key: &str, content_type: &str, bytes: impl Into<Bytes>) {
        let path = format!("/{bucket}/{}", super::uri::key(key));
        self.send(
            Method::PUT,
            &path,
            bytes.into(),
            &[("content-type", content_type)],
        )
        .await;
    }

    /// Removes an object.
    pub async fn delete(&self, bucket: &str, key: &str) {
        let path = format!("/{bucket}/{}", super::uri::key(key));
        self.send(Method::DELETE, &path, Bytes::new(), &[]).await;
    }

    /// The keys of a `[[storage]]` section for one of its buckets.
    pub fn section(&self, bucket: &str) -> String {
        let endpoint = &self.endpoint;
        format!(
            "kind = 's3'\nbucket = '{bucket}'\nendpoint = '{endpoint}'\n\
             access_key_id = '{ID}'\nsecret_access_key = '{SECRET}'\n"
        )
    }

    /// One node, one key, as soon as it answers; `None` where it has ended, for somebody took its port.
    async fn laid_out(mut self) -> Option<Self> {
        let node = self.once_it_answers(&["node", "id", "-q"]).await?;
        let assign = ["layout", "assign", "-z", "dc1", "-c", "2G", &node[..16]];
        self.once_it_answers(&assign).await?;
        for command in [
            &["layout", "apply", "--version", "1"][..],
            &["key", "import", "--yes", "-n", "tests", ID, SECRET],
            &["key", "allow", "--create-bucket", ID],
        ] {
            self.command(command)
                .unwrap_or_else(|| panic!("garage refused {command:?}"));
        }
        Some(self)
    }

    async fn once_it_answers(&mut self, arguments: &[&str]) -> Option<String> {
        eventually("garage answers", async || {
            let ended = self.process.try_wait().expect("its state is known");
            let said = self.command(arguments);
            (ended.is_some() || said.is_some()).then_some(said)
        })
        .await
    }

    fn command(&self, arguments: &[&str]) -> Option<String> {
        let mut command = Command::new(&self.program);
        command
            .arg("-c")
            .arg(self.directory.path().join("g.toml"))
            .args(arguments);
        let output = command.output().expect("garage runs");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn send(&self, method: Method, path: &str, body: Bytes, headers: &[(&str, &str)]) {
        let url = format!("{}{path}", self.endpoint);
        let mut ask = self.client.ask(method.clone(), &url);
        for (name, value) in signature(method.as_str(), &url)
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
        {
            ask = ask.header(name, value);
        }
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        let answer = ask.body(body).answer().await;
        assert!(
            matches!(answer.status, 200 | 204),
            "{path}: {:?}",
            answer.body
        );
    }
}

impl Drop for Garage {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether what is missing is a failure.
pub fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Where `tests/servers` puts what it builds.
pub fn tools() -> PathBuf {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
    std::env::var_os("LOCKGATE_TOOLS").map_or_else(own, PathBuf::from)
}

fn program() -> Option<PathBuf> {
    let program = tools().join("bin/garage");
    program.exists().then_some(program)
}

/// `setpriv` (util-linux) makes the kernel end Garage with the thread that started it, however that ends.
fn serve(program: &Path, directory: &Path) -> Child {
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .arg("-c")
        .arg(directory.join("g.toml"))
        .arg("server")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("garage starts")
}

fn configuration(directory: &Path, s3: u16, rpc: u16) -> String {
    let directory = directory.display();
    format!(
        "metadata_dir = '{directory}/meta'\ndata_dir = '{directory}/data'\ndb_engine = 'sqlite'\n\
         replication_factor = 1\nrpc_bind_addr = '127.0.0.1:{rpc}'\nrpc_public_addr = '127.0.0.1:{rpc}'\n\
         rpc_secret = '{RPC_SECRET}'\nmetadata_fsync = false\ndata_fsync = false\n\
         [s3_api]\ns3_region = '{REGION}'\napi_bind_addr = '127.0.0.1:{s3}'\nroot_domain = '.s3.localhost'\n"
    )
}

/// The fields of an AWS Signature Version 4 over this request, the body left out.
fn signature(method: &str, url: &str) -> Vec<(String, String)> {
    let identity = Credentials::new(ID, SECRET, None, None, "tests").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .expect("complete parameters")
        .into();
    let request = SignableRequest::new(
        method,
        url,
        std::iter::empty(),
        SignableBody::UnsignedPayload,
    );
    let signed = sign(request.expect("a request"), &parameters).expect("it signs");
    let (instructions, _signature) = signed.into_parts();
    let fields = instructions.headers();
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}
