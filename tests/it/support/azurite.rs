//! Azurite, Microsoft's own emulator of Azure Blob Storage: a process of its own, that ends with the test's.
//!
//! It checks SharedKey, every SAS, and of a token the audience and the lifetime. `tests/servers` installs it. Where it
//! is missing, the test fails with `CI=true` and says at a desk that it is skipped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use lockgate::backend::http::HttpClient;
use tempfile::TempDir;

use super::eventually;
use super::garage::{is_ci, tools};

pub const ACCOUNT: &str = "acmeslides";
pub const KEY: &str = "YSBrZXkgb2YgdGhlIHRlc3RzLCB0aGF0IGlzIG5vdCB0aGUgZW11bGF0b3IncyBvd24=";
/// Signed here as the reference says, apart from how the gateway does it.
const VERSION: &str = "2023-11-03";

/// A running server; killed when dropped, and by the kernel when the test's process ends otherwise.
pub struct Azurite {
    process: Child,
    directory: TempDir,
    endpoint: String,
    ca_file: Option<PathBuf>,
    client: HttpClient,
}

impl Azurite {
    /// Starts one over plain HTTP; `None` where it is not installed and may be skipped.
    pub async fn start() -> Option<Self> {
        Self::launch(false).await
    }

    /// Starts one over TLS, with a CA of its own, that takes tokens too.
    pub async fn start_with_tokens() -> Option<Self> {
        Self::launch(true).await
    }

    async fn launch(tokens: bool) -> Option<Self> {
        let program = tools().join("node/node_modules/.bin/azurite-blob");
        if !program.exists() {
            assert!(!is_ci(), "azurite is not installed: run tests/servers");
            eprintln!("SKIPPED, for azurite is not installed: run tests/servers");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        let ca_file = tokens.then(|| certificates(directory.path()));
        let client = HttpClient::new(ca_file.as_deref(), Duration::from_secs(10));
        let mut azurite = Self {
            process: serve(&program, directory.path(), tokens),
            directory,
            endpoint: String::new(),
            ca_file,
            client: client.expect("a client"),
        };
        let address = eventually("azurite listens", async || azurite.address()).await;
        azurite.endpoint = format!("{address}/{ACCOUNT}");
        Some(azurite)
    }

    /// Where it listens, as it says once it does: the system chose the port.
    fn address(&mut self) -> Option<String> {
        let ended = self.process.try_wait().expect("its state is known");
        let said = std::fs::read_to_string(self.directory.path().join("stdout")).ok()?;
        assert!(ended.is_none(), "azurite has ended: {said}");
        let (_, rest) = said.split_once("successfully listens on ")?;
        let (address, _) = rest.split_once('\n')?;
        Some(address.trim().to_owned())
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn ca_file(&self) -> Option<&Path> {
        self.ca_file.as_deref()
    }

    /// A directory that ends with the server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The keys of a `[[storage]]` section for one of its containers, but for who asks.
    pub fn place(&self, container: &str) -> String {
        let endpoint = &self.endpoint;
        let ca_file = self.ca_file.as_ref();
        let ca_file = ca_file.map(|file| format!("ca_file = '{}'\n", file.display()));
        format!(
            "kind = 'azure'\naccount = '{ACCOUNT}'\ncontainer = '{container}'\nendpoint = '{endpoint}'\n{}",
            ca_file.unwrap_or_default()
        )
    }

    /// The same with the account's key.
    pub fn section(&self, container: &str) -> String {
        self.place(container) + &format!("account_key = '{KEY}'\n")
    }

    pub async fn create_container(&self, container: &str) {
        let path = format!("/{container}?restype=container");
        self.write(Method::PUT, &path, &[], Bytes::new()).await;
    }

    /// Uploads a blob.
    pub async fn put(
        &self,
        container: &str,
        key: &str,
        content_type: &str,
        bytes: impl Into<Bytes>,
    ) {
        let path = format!("/{container}/{}", super::uri::key(key));
        let fields = [
            ("x-ms-blob-content-type", content_type),
            ("x-ms-blob-type", "BlockBlob"),
        ];
        self.write(Method::PUT, &path, &fields, bytes.into()).await;
    }

    /// Removes a blob.
    pub async fn delete(&self, container: &str, key: &str) {
        let path = format!("/{container}/{}", super::uri::key(key));
        self.write(Method::DELETE, &path, &[], Bytes::new()).await;
    }

    /// Gives a blob an MD5 that is not of its bytes, as damage would.
    pub async fn damage(&self, container: &str, key: &str) {
        let path = format!("/{container}/{}?comp=properties", super::uri::key(key));
        let fields = [("x-ms-blob-content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
        self.write(Method::PUT, &path, &fields, Bytes::new()).await;
    }

    /// A GET of a URL as it is.
    pub async fn get(&self, url: &str, range: Option<&str>) -> Response<Bytes> {
        let mut request = Request::get(url);
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let request = request.body(Full::default()).expect("a request");
        self.client.fetch(request).await.expect("an answer")
    }

    /// Lets pages of these origins (comma-separated) read.
    pub async fn allow_origins(&self, origins: &str) {
        let rule = format!(
            "<AllowedOrigins>{origins}</AllowedOrigins><AllowedMethods>GET,HEAD</AllowedMethods>\
             <AllowedHeaders>range</AllowedHeaders><ExposedHeaders>*</ExposedHeaders>\
             <MaxAgeInSeconds>60</MaxAgeInSeconds>"
        );
        let document = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><StorageServiceProperties><Cors><CorsRule>{rule}</CorsRule></Cors>\
             </StorageServiceProperties>"
        );
        let path = "/?comp=properties&restype=service";
        self.write(Method::PUT, path, &[], document.into()).await;
    }

    /// A SAS of the whole container, to read and to list.
    pub fn container_sas(&self, container: &str, ends_at: SystemTime) -> String {
        self.container_sas_to("rl", container, ends_at)
    }

    /// A SAS of the whole container with these permissions.
    pub fn container_sas_to(
        &self,
        permissions: &str,
        container: &str,
        ends_at: SystemTime,
    ) -> String {
        let end = time::OffsetDateTime::from(ends_at)
            .replace_nanosecond(0)
            .expect("0 is one");
        let end = end
            .format(&time::format_description::well_known::Rfc3339)
            .expect("a time");
        let resource = format!("/blob/{ACCOUNT}/{container}");
        let signed =
            format!("{permissions}\n\n{end}\n{resource}\n\n\n\n{VERSION}\nc\n\n\n\n\n\n\n");
        let signature = super::uri::percent(&mac(&signed));
        format!("sv={VERSION}&sr=c&sp={permissions}&se={end}&sig={signature}")
    }

    async fn write(&self, method: Method, path: &str, fields: &[(&str, &str)], body: Bytes) {
        let date = httpdate::fmt_http_date(SystemTime::now());
        let own = [("x-ms-date", date.as_str()), ("x-ms-version", VERSION)];
        let mut fields: Vec<_> = fields.iter().copied().chain(own).collect();
        fields.sort();
        let length = if body.is_empty() {
            String::new()
        } else {
            body.len().to_string()
        };
        let headers: String = fields.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let resource = path.replacen(['?', '&'], "\n", 2).replace('=', ":");
        let signed = format!(
            "{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{headers}/{ACCOUNT}/{ACCOUNT}{resource}"
        );
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint))
            .header("content-length", body.len())
            .header(
                "authorization",
                format!("SharedKey {ACCOUNT}:{}", mac(&signed)),
            );
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let answer = self.client.fetch(request).await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {:?}", answer.body());
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mac(signed: &str) -> String {
    let key = STANDARD.decode(KEY).expect("base64");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    STANDARD.encode(hmac::sign(&key, signed.as_bytes()))
}

/// `setpriv` (util-linux) makes the kernel end Azurite with the thread that started it, however that ends.
fn serve(program: &Path, directory: &Path, tokens: bool) -> Child {
    let stdout = std::fs::File::create(directory.join("stdout")).expect("a file");
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .args(["--blobHost", "127.0.0.1", "--blobPort", "0"])
        .args([
            "--silent",
            "--skipApiVersionCheck",
            "--disableProductStyleUrl",
        ])
        .args(["--disableTelemetry", "--inMemoryPersistence"])
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
    if tokens {
        command.args([
            "--oauth", "basic", "--cert", "leaf.crt", "--key", "leaf.key",
        ]);
    }
    command
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .expect("azurite starts")
}

/// A CA and a leaf for this machine; rustls takes no server whose own certificate is a CA's. The CA's file.
fn certificates(directory: &Path) -> PathBuf {
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new([]).expect("no names");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_file = directory.join("ca.crt");
    let certificate = ca.self_signed(&ca_key).expect("it signs");
    std::fs::write(&ca_file, certificate.pem()).expect("it is written");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let leaf = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &issuer).expect("it signs");
    std::fs::write(directory.join("leaf.crt"), leaf.pem()).expect("it is written");
    std::fs::write(directory.join("leaf.key"), key.serialize_pem()).expect("it is written");
    ca_file
}
