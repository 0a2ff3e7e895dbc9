//! The composition root: the only file that names every concrete type. Builds a gate from a configuration, listens,
//! and swaps the gate for a new one when the configuration changes.
//!
//! A reload keeps what did not change: connections to storage, verified tokens, the access list, the cache. A bad one
//! keeps everything, and says so in the log and in a metric.

mod audit;
mod build;
mod configured;
mod descriptors;
mod disk;
mod house;
mod judges;
pub mod sandbox;
mod status;
pub mod systemd;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{FutureExt, TryFutureExt};
use tokio::sync::Mutex;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::auth::AuthConfigError;
use crate::authority::postgres::PostgresError;
use crate::backend::http::{HttpClient, HttpClientError};
use crate::cache::disk::MAX_FILES;
use crate::cache::memory::MemoryCache;
use crate::config::{self, Loaded};
use crate::content::Shelf;
use crate::ids::StorageId;
use crate::located::Problems;
use crate::serve::admin::{Admin, Purge};
use crate::serve::caps::Caps;
use crate::serve::exchange::Recorder;
use crate::serve::listener::Listener;
use crate::serve::tls::{Tls, TlsError};
use crate::serve::upstream::Tunnels;
use crate::serve::{Desk, Front};
use crate::telemetry::otlp::{self, Courier};
use crate::telemetry::{
    AccessLog, AccessLogError, AuditLog, AuditLogError, Destination, Metrics, OtlpConfig, Tier,
    Traces,
};
use build::build;
pub use build::{Parts, backend, storage_rules};
use house::{House, stamps};
use status::Status;
use systemd::Inherited;

/// Where the configuration comes from; read again at each reload.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file; none: there is nothing but the environment.
    pub file: Option<PathBuf>,
    /// The environment that overrides it.
    pub environment: Vec<(String, String)>,
}

impl Source {
    /// Reads it. Blocks on the file.
    ///
    /// # Errors
    /// Its mistakes, all at once.
    pub fn read(&self) -> Result<Loaded, Problems> {
        self.read_naming(&mut Vec::new())
    }

    fn read_naming(&self, named: &mut Vec<PathBuf>) -> Result<Loaded, Problems> {
        let environment = self.environment.clone();
        match &self.file {
            Some(file) => config::load_naming(file, environment, named),
            None => config::Source {
                environment,
                ..config::Source::default()
            }
            .load_naming(named),
        }
    }

    /// Reads it, off the threads that serve; and the files that it names, also where it has mistakes.
    async fn load(&self) -> (Result<Loaded, StartError>, Vec<PathBuf>) {
        let source = self.clone();
        let read = move || {
            let mut named = Vec::new();
            (source.read_naming(&mut named), named)
        };
        match tokio::task::spawn_blocking(read).await {
            Ok((loaded, named)) => (loaded.map_err(StartError::from), named),
            Err(_) => (Err(StartError::Interrupted), Vec::new()),
        }
    }
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
    /// The audit log cannot be written.
    #[error(transparent)]
    AuditLog(#[from] AuditLogError),
    /// A storage cannot be reached for a reason that lies here.
    #[error("storage {0}: {1}")]
    Storage(StorageId, HttpClientError),
    /// A storage would serve what the disk cache keeps.
    #[error(
        "the disk cache, which stays where it is until the next start, lies below the root of storage {0}"
    )]
    DiskBelow(StorageId),
    /// The storage that Label Studio signs for cannot be reached for a reason that lies here.
    #[error("access.label_studio: {0}")]
    LabelStudio(HttpClientError),
    /// Label Studio cannot be asked for a reason that lies here.
    #[error("access.label_studio: {0}")]
    AskLabelStudio(std::io::Error),
    /// The database cannot be asked for a reason that lies here.
    #[error("access.postgres: {0}")]
    Postgres(#[from] PostgresError),
    /// Tokens would have to be verified, and nothing says how.
    #[error("auth.jwt is missing")]
    NoTokens,
    /// The application cannot be reached for a reason that lies here.
    #[error("server.upstream: {0}")]
    Upstream(HttpClientError),
    /// The collector of traces cannot be reached for a reason that lies here.
    #[error("telemetry.otlp: {0}")]
    Collector(HttpClientError),
    /// An address cannot be listened at.
    #[error("cannot listen at {0}: {1}; is another process there?")]
    Listen(SocketAddr, std::io::Error),
    /// A socket that the service manager handed over cannot be listened at.
    #[error("cannot listen at a socket that was handed over: {0}")]
    Inherited(std::io::Error),
    /// There can be no thread for the disk cache.
    #[error("the disk cache cannot be started: {0}")]
    Disk(std::io::Error),
    /// The process is ending.
    #[error("interrupted")]
    Interrupted,
    /// The metrics registry refused a metric.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A running Lockgate. Dropping it stops everything at once; [`Running::drain`] lets bodies finish.
pub struct Running {
    local_addr: SocketAddr,
    admin_addr: Option<SocketAddr>,
    house: Arc<House>,
    desk: Arc<Desk>,
    shutdown: CancellationToken,
    admin_shutdown: CancellationToken,
    server: JoinHandle<usize>,
    others: JoinSet<()>,
}

/// Starts Lockgate. `front`, where given, answers requests before any route does (the demo's page).
pub async fn start(source: Source, front: Option<Arc<dyn Front>>) -> Result<Running, StartError> {
    start_on(Inherited::default(), source, front).await
}

/// The same, on sockets that were handed over: they stand in the place of the addresses that are configured.
pub async fn start_on(
    inherited: Inherited,
    source: Source,
    front: Option<Arc<dyn Front>>,
) -> Result<Running, StartError> {
    let loaded = source.load().await.0?;
    let seen = stamps(loaded.files.clone()).await;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let metrics = Arc::new(Metrics::new()?);
    let log = Arc::new(AccessLog::start(
        destination(&loaded.config.log.access),
        &metrics,
    )?);
    let audit = Arc::new(AuditLog::start(loaded.config.log.audit.as_ref(), &metrics)?);
    let mut others = JoinSet::new();
    let traces = traces(loaded.config.otlp.as_ref(), &metrics, &mut others)?;
    let recorder = Recorder {
        metrics: metrics.clone(),
        log,
        audit,
        denials: Arc::default(),
        traces,
        cut: CancellationToken::new(),
    };
    let evictions = metrics.clone();
    let memory = MemoryCache::new(&loaded.config.cache, move |_| {
        evictions.cache_eviction(Tier::Memory)
    });
    // Before the disk cache, which opens many files.
    let disk_files = loaded.config.disk.as_ref().map_or(0, |_| MAX_FILES);
    let fit = descriptors::raise(disk_files);
    let disk = disk::open(loaded.config.disk.clone(), metrics.clone()).await?;
    let shelf = Shelf::new(Arc::new(memory), disk.clone(), metrics.clone());
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

    let listener = listen(inherited.listen, server.listen, tls.clone())?;
    let admin_listener = server
        .admin_listen
        .map(|address| listen(inherited.admin_listen, address, None))
        .transpose()?;
    let (local_addr, admin_addr) = (
        listener.0,
        admin_listener.as_ref().map(|listener| listener.0),
    );
    let caps = Arc::new(Caps::new(server.caps.clone()));
    let status = Status::new(
        (metrics.clone(), recorder.denials.clone()),
        shelf.clone(),
        caps.clone(),
        &in_force,
    );
    let house = Arc::new(House {
        source,
        gate: Arc::new(ArcSwap::from_pointee(gate)),
        recorder: recorder.clone(),
        shelf,
        disk,
        tls,
        in_force: Mutex::new(in_force),
        configuration_ok: AtomicBool::new(true),
        draining: AtomicBool::new(false),
        status,
    });
    let (shutdown, admin_shutdown) = (CancellationToken::new(), CancellationToken::new());
    let desk = Arc::new(Desk {
        gate: house.gate.clone(),
        recorder: Arc::new(recorder.clone()),
        caps,
        front,
        tunnels: Tunnels::until(&shutdown),
    });
    let drain = server.drain;
    let places = server.caps.connections;
    if fit < places {
        tracing::info!("the limit of open files leaves {fit} connections of {places}");
    }
    let (refusing, at_the_desk) = (desk.clone(), desk.clone());
    let serving = listener
        .1
        .with_max_connections(fit.min(places))
        .with_refusal(Arc::new(move |failure| refusing.refuse_unread(failure)))
        .with_cut(recorder.cut.clone())
        .serve(
            move |peer| at_the_desk.clone().service(peer),
            shutdown.clone(),
            drain,
        );
    if let Some((_, admin)) = admin_listener {
        let (readiness, looked_at) = (house.clone(), house.clone());
        let shelf = house.shelf.clone();
        let purge: Arc<Purge> = Arc::new(move || {
            let shelf = shelf.clone();
            Box::pin(async move { shelf.purge().await })
        });
        let service = Admin::new(
            metrics,
            Arc::new(move || readiness.not_ready()),
            purge,
            Arc::new(move || looked_at.status.document(&looked_at.not_ready())),
            server.admin_hosts.into(),
        );
        others.spawn(house.clone().sample());
        let shutdown = admin_shutdown.clone();
        others.spawn(async move {
            admin
                .serve(move |_| service.clone(), shutdown, Duration::ZERO)
                .await;
        });
    }
    house.audit_files().await;
    others.spawn(house.clone().tick(seen));
    Ok(Running {
        local_addr,
        admin_addr,
        house,
        desk,
        shutdown,
        admin_shutdown,
        server: tokio::spawn(serving),
        others,
    })
}

fn listen(
    inherited: Option<TcpListener>,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
) -> Result<(SocketAddr, Listener), StartError> {
    let listener = match inherited {
        Some(socket) => Listener::on(socket, tls).map_err(StartError::Inherited)?,
        None => Listener::bind(address, tls).map_err(|error| StartError::Listen(address, error))?,
    };
    let bound = listener.local_addr();
    let bound = bound.map_err(|error| StartError::Listen(address, error))?;
    Ok((bound, listener))
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
        self.house.recorder.log.reopen();
        self.house.recorder.audit.reopen();
        self.house.reload().await
    }

    /// Not ready, no new connection; bodies go on for `server.drain`. Gives how many connections were cut after that.
    pub async fn drain(mut self) -> usize {
        self.house.draining.store(true, Ordering::Relaxed);
        self.shutdown.cancel();
        let cut = (&mut self.server).await.unwrap_or_default();
        self.desk.tunnels.close().await;
        self.admin_shutdown.cancel();
        let Recorder {
            log, audit, traces, ..
        } = &self.house.recorder;
        let disk = disk::close(&self.house.disk);
        // The last batch of spans is sent by one of the others.
        tokio::join!(log.close(), audit.close(), traces.close(), disk);
        self.others.abort_all();
        cut
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Where spans are begun; who brings them to the collector is one of `others`.
fn traces(
    otlp: Option<&OtlpConfig>,
    metrics: &Metrics,
    others: &mut JoinSet<()>,
) -> Result<Traces, StartError> {
    let Some(otlp) = otlp else {
        return Ok(Traces::off());
    };
    let client = HttpClient::new(None, otlp::TIMEOUT).map_err(StartError::Collector)?;
    let post: Box<otlp::Post> = Box::new(move |request| {
        let client = client.clone();
        let sent = async move { client.fetch(request).await };
        sent.map_err(|error| error.to_string()).boxed()
    });
    let (traces, courier) = Courier::new(otlp.clone(), metrics, post);
    others.spawn(courier.run());
    Ok(traces)
}

fn destination(access: &crate::config::AccessLog) -> Destination {
    match access {
        crate::config::AccessLog::Stdout => Destination::Stdout,
        crate::config::AccessLog::Off => Destination::Off,
        crate::config::AccessLog::File(path) => Destination::File(path.clone()),
    }
}
