//! The S3 server in this process: it checks signatures and conditions, counts requests, and can hold or fail them.

use std::ops::Deref;

use lockgate::cli::demo::s3::{AccessKey, Content, S3Server};

pub use lockgate::cli::demo::s3::{Fault, Object};

use super::content::Pattern;

const ID: &str = "AKIATESTS";
const SECRET: &str = "the secret key of the tests";

/// A running server.
pub struct Store(S3Server);

impl Store {
    pub async fn start() -> Self {
        let server = S3Server::start([AccessKey::new(ID, SECRET)]).await;
        Self(server.expect("the S3 server starts"))
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
        format!(
            "kind = 's3'\nbucket = '{bucket}'\nendpoint = '{endpoint}'\nregion = 'us-east-1'\n\
             access_key_id = '{ID}'\nsecret_access_key = '{SECRET}'\n"
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
        &self.0
    }
}
