//! moto, an STS, IAM and S3 whose checks are on: a process of its own, that ends with the test's.
//!
//! `tests/servers` installs it. Where it is missing, the test fails with `CI=true` and says at a desk that it is skipped.

use std::process::{Child, Command};

use serde_json::Value;

use super::client::Client;
use super::eventually;
use super::garage::{is_ci, tools};

/// The role, which asks for an external id.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

/// A running server with a user, who may assume the role, and the bucket `media`.
pub struct Moto {
    process: Child,
    pub endpoint: String,
    pub access_key_id: String,
    pub secret_access_key: String,
}

impl Moto {
    /// Starts one whose role may do what `role_policy` says; `None` where it is not installed and may be skipped.
    pub async fn start(external_id: &str, role_policy: &str) -> Option<Self> {
        let program = tools().join("py/bin/moto_server");
        if !program.exists() {
            assert!(!is_ci(), "moto is not installed: run tests/servers");
            eprintln!("SKIPPED, for moto is not installed: run tests/servers");
            return None;
        }
        let said = tempfile::NamedTempFile::new().expect("a file");
        let log = || said.reopen().expect("the file is there");
        let process = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            // The script names the interpreter by the path it was installed at; the directory may have moved since.
            .arg(tools().join("py/bin/python"))
            .arg(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            // Far more than the test's own preparations: `reset-auth` turns the checks on.
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "100000")
            .env("PYTHONUNBUFFERED", "1")
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("moto starts");
        let mut moto = Self {
            process,
            endpoint: String::new(),
            access_key_id: String::new(),
            secret_access_key: String::new(),
        };
        moto.endpoint = eventually("moto says where it listens", async || {
            let said = std::fs::read_to_string(said.path()).ok()?;
            let (_, rest) = said.split_once("Running on ")?;
            let (endpoint, _) = rest.split_once('\n')?;
            Some(endpoint.trim().to_owned())
        })
        .await;
        let client = Client::new(&moto.endpoint);
        moto.prepare(&client, external_id, role_policy).await;
        Some(moto)
    }

    async fn prepare(&mut self, client: &Client, external_id: &str, role_policy: &str) {
        let may = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}"#;
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"AWS":"*"}},"Condition":{{"StringEquals":{{"sts:ExternalId":"{external_id}"}}}}}}]}}"#
        );
        iam(client, "CreateUser", &[("UserName", "lockgate")]).await;
        let policy = [
            ("UserName", "lockgate"),
            ("PolicyName", "assume"),
            ("PolicyDocument", may),
        ];
        iam(client, "PutUserPolicy", &policy).await;
        let key = iam(client, "CreateAccessKey", &[("UserName", "lockgate")]).await;
        let role = [("RoleName", "reader"), ("AssumeRolePolicyDocument", &trust)];
        assert_eq!(
            element(&iam(client, "CreateRole", &role).await, "Arn"),
            ROLE
        );
        let policy = [
            ("RoleName", "reader"),
            ("PolicyName", "media"),
            ("PolicyDocument", role_policy),
        ];
        iam(client, "PutRolePolicy", &policy).await;
        for (path, bytes) in [
            ("/media", ""),
            ("/media/data/a.mp4", "0123456789"),
            ("/media/private/b.mp4", "secret"),
        ] {
            let put = client.ask(http::Method::PUT, path).body(bytes);
            let put = put.header("authorization", credential("s3"));
            assert_eq!(put.answer().await.status, 200, "{path}");
        }
        self.access_key_id = element(&key, "AccessKeyId");
        self.secret_access_key = element(&key, "SecretAccessKey");
        let on = client
            .ask(http::Method::POST, "/moto-api/reset-auth")
            .body("0");
        let on: Value = on.answer().await.json();
        assert_eq!(on["status"], "ok");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn iam(client: &Client, action: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", action)
        .append_pair("Version", "2010-05-08");
    form.extend_pairs(parameters);
    let ask = client.ask(http::Method::POST, "/").body(form.finish());
    let ask = ask
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", credential("iam"));
    let answer = ask.answer().await;
    assert_eq!(answer.status, 200, "{action}: {}", answer.text());
    answer.text().to_owned()
}

/// How moto knows which service is meant; nothing is verified yet.
fn credential(service: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/{service}/aws4_request")
}

/// The text of an element; these documents are flat enough.
fn element(document: &str, name: &str) -> String {
    let (_, rest) = document.split_once(&format!("<{name}>")).expect(name);
    rest.split('<').next().expect(name).to_owned()
}
