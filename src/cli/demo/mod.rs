//! `lockgate demo`: Lockgate with nothing to configure: a private bucket in this process, media in it, a project with
//! tasks, two annotators and a page that shows what happens.
//!
//! Writes into one temporary directory, listens on loopback, and never asks the network for anything. What the page
//! shows is the real thing: real signatures, the access list's file changing, the access log's own lines.

mod configuration;
pub mod media;
mod page;
mod routes;
pub mod run;
pub mod s3;
mod token;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::broadcast;

use media::Media;
use s3::{AccessKey, S3Server};

pub use routes::{Body, Router};

/// The annotator who is a member of the demo's project.
pub const ANNA: &str = "anna@example.com";
/// The annotator who is not.
pub const EVE: &str = "eve@example.com";

/// The bucket: with a dot, as many have.
const BUCKET: &str = "demo.media";

/// Why the demo could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The embedded S3 server could not listen, or a file could not be written.
    #[error("cannot prepare the demo")]
    Io(#[from] io::Error),
}

/// A demo that is ready to be served: the bucket is up and the configuration is written.
pub struct Demo {
    dir: TempDir,
    shared: Arc<Shared>,
}

/// What the page's routes need.
struct Shared {
    s3: S3Server,
    tasks: Vec<Media>,
    access_list: PathBuf,
    token_secret: String,
}

impl Demo {
    /// Starts the bucket, draws the media and writes the configuration, which will listen on `listen`.
    pub async fn prepare(listen: SocketAddr) -> Result<Self, DemoError> {
        let key = AccessKey::new("LOCKGATEDEMO", random_secret());
        let secret_access_key = key.secret.clone();
        let s3 = S3Server::start([key]).await?;
        let tasks = tokio::task::spawn_blocking(media::all)
            .await
            .map_err(io::Error::other)?;
        for media in &tasks {
            s3.put(
                BUCKET,
                media.key,
                media.content.clone(),
                Some(media.content_type),
            );
        }
        let dir = tempfile::Builder::new()
            .prefix("lockgate-demo-")
            .tempdir()?;
        let token_secret = random_secret();
        configuration::write(
            dir.path(),
            &configuration::Settings {
                listen,
                endpoint: s3.endpoint(),
                secret_access_key: &secret_access_key,
                token_secret: &token_secret,
                tasks: &tasks,
            },
        )?;
        let access_list = dir.path().join(configuration::ACCESS_LIST);
        let shared = Arc::new(Shared {
            s3,
            tasks,
            access_list,
            token_secret,
        });
        Ok(Self { dir, shared })
    }

    /// The configuration to start with. It lives as long as the demo.
    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join(configuration::FILE)
    }

    /// The directory of the configuration and the access list.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The bucket.
    pub fn s3(&self) -> &S3Server {
        &self.shared.s3
    }

    /// The page and what it asks for, to be tried before the media routes. `log` gives the access log's lines.
    pub fn router(&self, log: broadcast::Receiver<Arc<str>>) -> Router {
        Router::new(self.shared.clone(), log)
    }
}

/// 256 bits from the operating system, in hexadecimal.
fn random_secret() -> String {
    let mut bytes = [0; 32];
    // Fails only where the system has no randomness at all, and then there is no TLS either.
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
