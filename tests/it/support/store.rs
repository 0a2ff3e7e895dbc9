//! The S3 server in this process: it checks signatures and conditions, counts requests, and can hold or fail them.

use std::ops::Deref;

use lockgate::cli::demo::s3::{AccessKey, Content, S3Server};

pub use lockgate::cli::demo::s3::{Fault, Object};

use super::content::Pattern;

pub const ID: &str = "AKIATESTS";
/// The secret access key of every server here.
pub const SECRET: &str = "the secret key of the tests";

/// A running server.
pub struct Store {
    server: S3Server,
    session_token: Option<String>,
}

impl Store {
    pub async fn start() -> Self {
        Self::with_session_token(None).await
    }

    /// One whose key is a temporary credential: requests must carry the session token with it.
    pub async fn with_session_token(session_token: Option<&str>) -> Self {
        let session_token = session_token.map(str::to_owned);
        let key = AccessKey {
            session_token: session_token.clone(),
            ..AccessKey::new(ID, SECRET)
        };
        let server = S3Server::start([key]).await.expect("the S3 server starts");
        Self {
            server,
            session_token,
        }
    }

    /// Puts an object whose bytes are made when they are asked for; its entity tag.
    pub fn generate(&self, bucket: &str, key: &str, content: Pattern, length: u64) -> String {
        let generated =
            Content::generated(length, move |offset, buffer| content.fill(offset, buffer));
        self.put(bucket, key, generated, Some("video/mp4"))
    }

    /// The keys of a `[[storage]]` section for one of its buckets.
    pub fn section(&self, bucket: &str) -> String {
        let endpoint = self.endpoint();
        let token = self.session_token.as_ref();
        let token = token.map_or_else(String::new, |token| format!("session_token = '{token}'\n"));
        format!(
            "kind = 's3'\nbucket = '{bucket}'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\n\
             access_key_id = '{ID}'\nsecret_access_key = '{SECRET}'\n{token}"
        )
    }

    /// How often bytes or metadata of this key were asked for.
    pub fn asked(&self, key: &str) -> usize {
        self.count("GetObject", key) + self.count("HeadObject", key)
    }
}

impl Deref for Store {
    type Target = S3Server;

    fn deref(&self) -> &S3Server {
        &self.server
    }
}
