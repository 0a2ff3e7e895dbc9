//! The composition root: the only file that names every concrete type. Builds a gate from a configuration, listens,
//! and swaps the gate for a new one when the configuration changes.
//!
//! A reload keeps what did not change: connections to storage, verified tokens, the access list, the cache. A bad one
//! keeps everything, and says so in the log and in a metric.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::auth::{AuthConfigError, Authenticator, SessionCookie};
use crate::authority::AccessConfig;
use crate::authority::file::FileAuthority;
use crate::backend::config::BackendConfig;
use crate::backend::http::{HttpClient, HttpClientError};
use crate::backend::local::Local;
use crate::backend::measured::Measured;
use crate::backend::retry::Retry;
use crate::backend::s3::S3;
use crate::backend::{Backend, Presign};
use crate::cache::memory::MemoryCache;
use crate::config::{Config, Loaded, StorageConfig};
use crate::content::{Reader, Shelf, Store};
use crate::ids::StorageId;
use crate::located::Problems;
use crate::resolve::{Names, StorageRule, Storages};
use crate::serve::admin::Admin;
use crate::serve::cors::Cors;
use crate::serve::exchange::Recorder;
use crate::serve::gate::Gate;
use crate::serve::limits::Limits;
use crate::serve::listener::Listener;
use crate::serve::tls::{Tls, TlsError};
use crate::serve::{Desk, Front};
use crate::telemetry::{AccessLog, AccessLogError, Destination, Metrics, Tier};

/// How often files are looked at for changes, and gauges set.
const TICK: Duration = Duration::from_millis(500);

/// Where the configuration comes from; read again at each reload.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub file: PathBuf,
    /// The environment that overrides it.
    pub environment: Vec<(String, String)>,
}

/// Why Lockgate does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration or the access list has mistakes.
    #[error("{0}")]
    Configuration(#[from] Problems),
    /// The keys cannot be used.
    #[error("auth.jwt.{}: {}", .0.key(), .0)]
    Auth(#[from] AuthConfigError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The access log cannot be written.
    #[error(transparent)]
    AccessLog(#[from] AccessLogError),
    /// A storage cannot be reached for a reason that lies here.
    #[error("storage {0}: {1}")]
    Storage(StorageId, HttpClientError),
    /// An address cannot be listened at.
    #[error("cannot listen at {0}: {1}; is another process there?")]
    Listen(SocketAddr, std::io::Error),
    /// The metrics registry refused a metric.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A running Lockgate. Dropping it stops everything at once; [`Running::drain`] lets bodies finish.
pub struct Running {
    local_addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    house: Arc<House>,
    shutdown: CancellationToken,
    admin_shutdown: CancellationToken,
    server: JoinHandle<usize>,
    others: JoinSet<()>,
}

/// What lives as long as the process does.
struct House {
    source: Source,
    gate: Arc<ArcSwap<Gate>>,
    recorder: Recorder,
    shelf: Arc<Shelf>,
    tls: Option<Arc<Tls>>,
    in_force: Mutex<InForce>,
    configuration_ok: AtomicBool,
    draining: AtomicBool,
}

/// What the gate was made of, to be kept where a reload does not change it.
struct InForce {
    loaded: Loaded,
    stores: Vec<OpenStore>,
    auth: Arc<Authenticator>,
    authority: Arc<FileAuthority>,
    limits: Arc<Limits>,
}

#[derive(Clone)]
struct OpenStore {
    config: StorageConfig,
    stall_timeout: Duration,
    epoch: u64,
    store: Option<Store>,
    backend: Option<Arc<dyn Backend>>,
}

/// Starts Lockgate. `front`, where given, answers requests before any route does (the demo's page).
pub async fn start(source: Source, front: Option<Arc<dyn Front>>) -> Result<Running, StartError> {
    let loaded = crate::config::load(&source.file, source.environment.clone())?;
    let seen = stamps(loaded.files.clone()).await;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let metrics = Arc::new(Metrics::new()?);
    let log = Arc::new(AccessLog::start(
        destination(&loaded.config.log.access),
        &metrics,
    )?);
    let recorder = Recorder {
        metrics: metrics.clone(),
        log,
    };
    let evictions = metrics.clone();
    let memory = MemoryCache::new(&loaded.config.cache, move |_| {
        evictions.cache_eviction(Tier::Memory)
    });
    let shelf = Shelf::new(Arc::new(memory), metrics.clone());
    let tls = loaded
        .config
        .server
        .tls
        .as_ref()
        .map(Tls::load)
        .transpose()?
        .map(Arc::new);
    let server = loaded.config.server.clone();
    let (gate, in_force) = build(loaded, None, &shelf, &recorder).await?;
    metrics.reload(true);

    let listener = listen(server.listen, tls.clone())?;
    let admin_listener = server
        .admin_listen
        .map(|address| listen(address, None))
        .transpose()?;
    let (local_addr, admin_addr) = (
        listener.0,
        admin_listener.as_ref().map(|listener| listener.0),
    );
    let house = Arc::new(House {
        source,
        gate: Arc::new(ArcSwap::from_pointee(gate)),
        recorder: recorder.clone(),
        shelf,
        tls,
        in_force: Mutex::new(in_force),
        configuration_ok: AtomicBool::new(true),
        draining: AtomicBool::new(false),
    });
    let (shutdown, admin_shutdown) = (CancellationToken::new(), CancellationToken::new());
    let desk = Arc::new(Desk {
        gate: house.gate.clone(),
        recorder: recorder.clone(),
        front,
    });
    let drain = server.drain;
    let serving = listener.1.serve(
        move |peer| desk.clone().service(peer),
        shutdown.clone(),
        drain,
    );
    let mut others = JoinSet::new();
    if let Some((_, admin)) = admin_listener {
        let readiness = house.clone();
        let service = Admin::new(metrics, Arc::new(move || readiness.not_ready()));
        let shutdown = admin_shutdown.clone();
        others.spawn(async move {
            admin
                .serve(move |_| service.clone(), shutdown, Duration::ZERO)
                .await;
        });
    }
    others.spawn(house.clone().tick(seen));
    Ok(Running {
        local_addr,
        admin_addr,
        house,
        shutdown,
        admin_shutdown,
        server: tokio::spawn(serving),
        others,
    })
}

fn listen(
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
) -> Result<(SocketAddr, Listener), StartError> {
    let refused = |error| StartError::Listen(address, error);
    let listener = Listener::bind(address, tls).map_err(refused)?;
    Ok((listener.local_addr().map_err(refused)?, listener))
}

impl Running {
    /// Where annotators are served; with the port that the system chose where it was 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Where health and metrics are served, if anywhere.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The lines of the access log as they are written.
    pub fn access_log(&self) -> &Arc<AccessLog> {
        &self.house.recorder.log
    }

    /// Reads the configuration, certificates and access lists again; `false` where a mistake keeps the old ones.
    pub async fn reload(&self) -> bool {
        self.house.recorder.log.reopen().await;
        self.house.reload().await
    }

    /// Not ready, no new connection; bodies go on for `server.drain`. Gives how many connections were cut after that.
    pub async fn drain(mut self) -> usize {
        self.house.draining.store(true, Ordering::Relaxed);
        self.shutdown.cancel();
        let cut = (&mut self.server).await.unwrap_or_default();
        self.admin_shutdown.cancel();
        self.others.abort_all();
        self.house.recorder.log.close().await;
        cut
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl House {
    /// What is missing for `/readyz`; nothing: ready.
    fn not_ready(&self) -> Vec<String> {
        let gate = self.gate.load();
        let mut missing = Vec::new();
        if self.draining.load(Ordering::Relaxed) {
            missing.push("draining".to_owned());
        }
        if !gate.auth.ready() {
            missing.push("keys".to_owned());
        }
        if !gate.authority.ready() {
            missing.push("access list".to_owned());
        }
        missing
    }

    /// Looks at files for changes and sets gauges, for as long as the process runs.
    ///
    /// `seen` is what the files were when they were read: what changed since then has not been.
    async fn tick(self: Arc<Self>, mut seen: Vec<Stamp>) {
        loop {
            tokio::time::sleep(TICK).await;
            let files = self.in_force.lock().await.loaded.files.clone();
            let now = stamps(files).await;
            if now != seen {
                self.reload().await;
                // Looked at before the reload, so that a change during it is not missed; where the reload named
                // other files, it costs one more.
                seen = now;
            }
            self.set_gauges().await;
        }
    }

    async fn set_gauges(&self) {
        let metrics = &self.recorder.metrics;
        metrics.cache_bytes(Tier::Memory, self.shelf.cached_bytes());
        let in_force = self.in_force.lock().await;
        self.set_reload_gauge(&in_force.authority);
        for open in &in_force.stores {
            let expiry = open
                .backend
                .as_ref()
                .and_then(|backend| backend.credential_expiry());
            if let Some(expiry) = expiry {
                metrics.credential_expiry(&open.config.id, expiry);
            }
        }
    }

    /// One gauge for both: what was read last, of the configuration and of the access list, is in force.
    fn set_reload_gauge(&self, authority: &FileAuthority) {
        let configuration_ok = self.configuration_ok.load(Ordering::Relaxed);
        self.recorder
            .metrics
            .reload(configuration_ok && authority.last_reload_ok());
    }

    async fn reload(&self) -> bool {
        let mut in_force = self.in_force.lock().await;
        let reloaded = self.try_reload(&mut in_force).await;
        self.configuration_ok
            .store(reloaded.is_ok(), Ordering::Relaxed);
        self.set_reload_gauge(&in_force.authority);
        match &reloaded {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => {
                tracing::error!("the new configuration is not taken, the old one stays: {error}")
            }
        }
        reloaded.is_ok()
    }

    async fn try_reload(&self, in_force: &mut InForce) -> Result<(), StartError> {
        let loaded = crate::config::load(&self.source.file, self.source.environment.clone())?;
        if let Some(tls) = &self.tls {
            tls.reload()?;
        }
        for key in needs_restart(&in_force.loaded.config, &loaded.config) {
            tracing::warn!("{key} has changed: that takes effect at the next start");
        }
        let (gate, fresh) = build(loaded, Some(in_force), &self.shelf, &self.recorder).await?;
        *in_force = fresh;
        self.gate.store(Arc::new(gate));
        Ok(())
    }
}

fn destination(access: &crate::config::AccessLog) -> Destination {
    match access {
        crate::config::AccessLog::Stdout => Destination::Stdout,
        crate::config::AccessLog::Off => Destination::Off,
        crate::config::AccessLog::File(path) => Destination::File(path.clone()),
    }
}

/// Keys that cannot change while the process runs.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let (old_server, new_server) = (&old.server, &new.server);
    if (old_server.listen, old_server.admin_listen) != (new_server.listen, new_server.admin_listen)
    {
        keys.push("server.listen or server.admin_listen");
    }
    if old_server.tls != new_server.tls {
        keys.push("server.tls (its files are read again, their names are not)");
    }
    if old.cache != new.cache {
        keys.push("cache.memory");
    }
    if old.log != new.log {
        keys.push("log");
    }
    keys
}

type Stamp = Option<(std::time::SystemTime, u64, u64)>;

/// What the configuration's files are now: enough to see that they changed, also through a swapped symlink.
async fn stamps(files: Vec<PathBuf>) -> Vec<Stamp> {
    tokio::task::spawn_blocking(move || files.iter().map(|file| stamp(file)).collect())
        .await
        .unwrap_or_default()
}

fn stamp(file: &std::path::Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

/// A gate from a configuration, keeping of `before` what did not change.
async fn build(
    loaded: Loaded,
    before: Option<&InForce>,
    shelf: &Arc<Shelf>,
    recorder: &Recorder,
) -> Result<(Gate, InForce), StartError> {
    let config = &loaded.config;
    let old_config = before.map(|before| &before.loaded.config);
    let auth = match before {
        Some(before) if before.loaded.config.auth == config.auth => before.auth.clone(),
        Some(_) | None => authenticator(config).await?,
    };
    let authority = match before {
        Some(before) if before.loaded.config.access == config.access => before.authority.clone(),
        Some(_) | None => open_authority(config.access.clone()).await?,
    };
    let ids: Vec<StorageId> = config
        .storages
        .iter()
        .map(|storage| storage.id.clone())
        .collect();
    authority.check_storages(&ids)?;
    let limits = match before {
        Some(before) if old_config.is_some_and(|old| old.server.limits == config.server.limits) => {
            before.limits.clone()
        }
        Some(_) | None => Arc::new(Limits::new(&config.server.limits)),
    };
    let stores = open_stores(
        config,
        before.map_or(&[], |before| &before.stores),
        recorder,
    )?;
    let served = stores
        .iter()
        .filter_map(|open| Some((open.config.id.clone(), open.store.clone()?)));
    let gate = Gate {
        auth: auth.clone(),
        cookie: SessionCookie::new(config.server.tls.is_some()),
        authority: authority.clone(),
        storages: Storages::new(
            stores
                .iter()
                .map(|open| rule(&open.config, open.epoch))
                .collect(),
        ),
        reader: Reader::new(
            served.collect::<HashMap<_, _>>(),
            shelf.clone(),
            config.content.clone(),
        ),
        limits: limits.clone(),
        cors: Cors::new(&config.server.allowed_origins),
        delivery: config.delivery.clone(),
    };
    Ok((
        gate,
        InForce {
            loaded,
            stores,
            auth,
            authority,
            limits,
        },
    ))
}

async fn authenticator(config: &Config) -> Result<Arc<Authenticator>, StartError> {
    let auth = Arc::new(Authenticator::new(config.auth.clone())?);
    // Bounded by the fetch's own time-out; a request that comes before would have to wait for the same.
    auth.loaded().await;
    Ok(auth)
}

async fn open_authority(config: AccessConfig) -> Result<Arc<FileAuthority>, StartError> {
    Ok(FileAuthority::open(config)?)
}

fn open_stores(
    config: &Config,
    before: &[OpenStore],
    recorder: &Recorder,
) -> Result<Vec<OpenStore>, StartError> {
    static EPOCH: AtomicU64 = AtomicU64::new(1);
    let stall_timeout = config.delivery.stall_timeout;
    let open = |storage: &StorageConfig| {
        let kept = before
            .iter()
            .find(|open| open.config == *storage && open.stall_timeout == stall_timeout);
        if let Some(kept) = kept {
            return Ok(kept.clone());
        }
        let parts = backend(storage, stall_timeout)?;
        let measured = parts.map(|parts| {
            let metrics = || recorder.metrics.clone();
            let backend: Arc<dyn Backend> = Arc::new(Retry(Measured::new(
                parts.backend,
                storage.id.clone(),
                metrics(),
            )));
            let presign = parts.presign.map(|presign| {
                Arc::new(Measured::new(presign, storage.id.clone(), metrics())) as Arc<dyn Presign>
            });
            (backend, presign)
        });
        let backend = measured.as_ref().map(|(backend, _)| backend.clone());
        let store = measured.map(|(backend, presign)| Store::new(backend, presign));
        let epoch = EPOCH.fetch_add(1, Ordering::Relaxed);
        Ok(OpenStore {
            config: storage.clone(),
            stall_timeout,
            epoch,
            store,
            backend,
        })
    };
    config.storages.iter().map(open).collect()
}

/// A storage as it can be read from, and handed out where it can.
pub struct Parts {
    /// Reads.
    pub backend: Arc<dyn Backend>,
    /// Makes URLs.
    pub presign: Option<Arc<dyn Presign>>,
}

/// A storage's backend; `None` for kinds that this version does not serve. Neither retried nor measured.
pub fn backend(
    config: &StorageConfig,
    stall_timeout: Duration,
) -> Result<Option<Parts>, StartError> {
    match &config.backend {
        BackendConfig::S3(s3) => {
            let client = HttpClient::new(s3.ca_file.as_deref(), stall_timeout)
                .map_err(|error| StartError::Storage(config.id.clone(), error))?;
            let s3 = Arc::new(S3::new(s3.clone(), client));
            Ok(Some(Parts {
                backend: s3.clone(),
                presign: Some(s3),
            }))
        }
        BackendConfig::Local(local) => Ok(Some(Parts {
            backend: Arc::new(Local::new(local.clone())),
            presign: None,
        })),
        BackendConfig::Unserved(_) => Ok(None),
    }
}

/// The rules of all configured storages.
pub fn storage_rules(config: &Config) -> Storages {
    Storages::new(
        config
            .storages
            .iter()
            .map(|storage| rule(storage, 0))
            .collect(),
    )
}

fn rule(config: &StorageConfig, epoch: u64) -> StorageRule {
    let names = match &config.backend {
        BackendConfig::S3(s3) => Names::S3 {
            bucket: s3.bucket.as_str().into(),
            endpoint: s3.endpoint.clone(),
        },
        BackendConfig::Local(_) => Names::Local,
        BackendConfig::Unserved(_) => Names::Nothing,
    };
    StorageRule {
        id: config.id.clone(),
        epoch,
        names,
        prefix: config.prefix.clone(),
        pattern: config.pattern.clone(),
        delivery: config.delivery,
        presign_expiry: config.presign_expiry,
    }
}
