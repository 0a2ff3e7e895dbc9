//! A gateway whose access source does what the test says: answers, fails, keeps silent, panics.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use lockgate::auth::{Annotator, Authenticator, SessionCookie};
use lockgate::authority::file::FileAuthority;
use lockgate::authority::{AccessSource, Authority, AuthorityError, Entitlement, Target};
use lockgate::cache::memory::MemoryCache;
use lockgate::content::{Reader, Shelf, Store as ContentStore};
use lockgate::media_uri::MediaUri;
use lockgate::serve::Desk;
use lockgate::serve::caps::Caps;
use lockgate::serve::cors::Cors;
use lockgate::serve::exchange::Recorder;
use lockgate::serve::gate::Gate;
use lockgate::serve::limits::{Limits, Whose};
use lockgate::serve::listener::Listener;
use lockgate::serve::upstream::Tunnels;
use lockgate::telemetry::{AccessLog, AuditLog, Destination, Metrics};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::client::{Ask, Client};
use super::gateway::Setup;
use super::store::Store;

/// What the source does when it is asked.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    Well,
    Down,
    Silent,
    Panics,
}

/// An access list in a mood.
pub struct Moody {
    list: Arc<FileAuthority>,
    mood: Mutex<Mood>,
}

impl Moody {
    /// From now on.
    pub fn be(&self, mood: Mood) {
        *self.mood.lock().expect("no test panicked here") = mood;
    }
}

#[async_trait]
impl Authority for Moody {
    async fn entitle(
        &self,
        annotator: &Annotator,
        target: &Target,
        uri: &MediaUri,
    ) -> Result<Entitlement, AuthorityError> {
        let mood = *self.mood.lock().expect("no test panicked here");
        match mood {
            Mood::Well => self.list.entitle(annotator, target, uri).await,
            Mood::Down => Err(AuthorityError::Unavailable("in a bad mood".to_owned())),
            Mood::Silent => std::future::pending().await,
            Mood::Panics => panic!("in a mood to panic"),
        }
    }

    fn ready(&self) -> bool {
        true
    }
}

/// The house around it: the rooms that an ordinary gateway has, in front of a store.
pub struct MoodyHouse {
    pub source: Arc<Moody>,
    pub store: Store,
    pub client: Client,
    metrics: Arc<Metrics>,
    _serving: AbortOnDropHandle<usize>,
    _directory: TempDir,
}

impl MoodyHouse {
    pub async fn start() -> Self {
        let store = Store::start().await;
        let directory = tempfile::tempdir().expect("a directory");
        let file = Setup::over(&store.section("media")).write(directory.path());
        let loaded = lockgate::config::load(&file, Vec::new());
        let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
        let AccessSource::File(file) = config.access.source.clone() else {
            panic!("a list in a file");
        };
        let list = FileAuthority::open(file, config.access.media);
        let source = Arc::new(Moody {
            list: list.unwrap_or_else(|error| panic!("{error}")),
            mood: Mutex::new(Mood::Well),
        });
        let metrics = Arc::new(Metrics::new().expect("a registry"));
        let log = AccessLog::start(Destination::Off, &metrics).expect("a log");
        let recorder = Recorder {
            metrics: metrics.clone(),
            log: Arc::new(log),
            audit: Arc::new(AuditLog::start(None, &metrics).expect("none")),
            cut: CancellationToken::new(),
        };
        let memory = MemoryCache::new(&config.cache, |_| ());
        let stores = config.storages.iter().map(|storage| {
            let parts = lockgate::app::backend(storage, config.delivery.stall_timeout);
            let parts = parts.unwrap_or_else(|error| panic!("{error}"));
            let store = ContentStore::new(parts.backend, parts.presign);
            (storage.id.clone(), store)
        });
        let gate = Gate {
            auth: Arc::new(Authenticator::new(config.auth.clone().expect("tokens")).expect("keys")),
            cookie: SessionCookie::new(false),
            authority: source.clone(),
            storages: lockgate::app::storage_rules(&config),
            reader: Reader::new(
                stores.collect::<HashMap<_, _>>(),
                Shelf::new(Arc::new(memory), None, metrics.clone()),
                config.content.clone(),
            ),
            limits: Arc::new(Limits::new(Whose::Annotator, &config.server.limits)),
            upstream: None,
            exchanges_tokens: true,
            project_limits: Arc::new(Limits::new(Whose::Project, &config.server.project_limits)),
            hsts: None,
            cors: Cors::new(&[]),
            delivery: config.delivery.clone(),
        };
        let shutdown = CancellationToken::new();
        let desk = Arc::new(Desk {
            gate: Arc::new(ArcSwap::from_pointee(gate)),
            recorder: Arc::new(recorder),
            caps: Arc::new(Caps::new(config.server.caps.clone())),
            front: None,
            tunnels: Tunnels::until(&shutdown),
        });
        let address = "127.0.0.1:0".parse().expect("an address");
        let listener = Listener::bind(address, None).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let serving = listener.serve(
            move |peer| desk.clone().service(peer),
            shutdown,
            Duration::ZERO,
        );
        Self {
            source,
            store,
            client: Client::new(format!("http://{address}")),
            metrics,
            _serving: AbortOnDropHandle::new(tokio::spawn(serving)),
            _directory: directory,
        }
    }

    /// A GET by anna.
    pub fn get(&self, path: impl AsRef<str>) -> Ask {
        self.client.get(path).by("anna")
    }

    /// The metrics as they would be scraped.
    pub fn metrics(&self) -> String {
        self.metrics.render().expect("they are shown")
    }
}
