//! Makes a gate from a configuration, keeping of the one before what did not change.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::judges::Judges;
use crate::auth::SessionCookie;
use crate::backend::azure::Azure;
use crate::backend::config::{AzureCredentials, BackendConfig};
use crate::backend::databricks::Databricks;
use crate::backend::epoch::epoch;
use crate::backend::gcs::Gcs;
use crate::backend::hedged::Hedged;
use crate::backend::http::HttpClient;
use crate::backend::local::Local;
use crate::backend::measured::Measured;
use crate::backend::redis::Redis;
use crate::backend::retry::Retry;
use crate::backend::s3::S3;
use crate::backend::traced::Traced;
use crate::backend::{Backend, Presign};
use crate::config::{Config, Loaded, StorageConfig};
use crate::content::{Reader, Shelf, Store};
use crate::ids::{ProjectId, Subject};
use crate::resolve::{Names, StorageRule, Storages};
use crate::serve::cors::Cors;
use crate::serve::exchange::Recorder;
use crate::serve::gate::Gate;
use crate::serve::limits::{Limits, Whose};
use crate::serve::response::strict_transport_security;
use crate::serve::upstream::Upstream;

/// What the gate was made of, to be kept where a reload does not change it.
pub(super) struct InForce {
    pub(super) loaded: Loaded,
    pub(super) stores: Vec<OpenStore>,
    pub(super) judges: Judges,
    pub(super) limits: Arc<Limits<Subject>>,
    pub(super) project_limits: Arc<Limits<ProjectId>>,
    pub(super) upstream: Option<Arc<Upstream>>,
    /// Whether annotators are listened to by TLS: as at start, whatever was configured since.
    pub(super) tls: bool,
    /// Files that a reload which was not taken named: what it missed may come.
    pub(super) missed: Vec<PathBuf>,
}

#[derive(Clone)]
pub(super) struct OpenStore {
    pub(super) config: StorageConfig,
    pub(super) stall_timeout: Duration,
    /// What its CA file holds: a client trusts what it read when it was made.
    pub(super) ca: Option<Vec<u8>>,
    pub(super) epoch: u64,
    pub(super) store: Store,
    pub(super) backend: Arc<dyn Backend>,
}

/// A gate from a configuration, keeping of `before` what did not change.
pub(super) async fn build(
    loaded: Loaded,
    before: Option<&InForce>,
    shelf: &Arc<Shelf>,
    recorder: &Recorder,
) -> Result<(Gate, InForce), StartError> {
    let config = &loaded.config;
    let old_config = before.map(|before| &before.loaded.config);
    let old_judges = old_config.zip(before.map(|before| &before.judges));
    let judges = Judges::open(config, old_judges, recorder).await?;
    let limits = match before {
        Some(before) if old_config.is_some_and(|old| old.server.limits == config.server.limits) => {
            before.limits.clone()
        }
        Some(_) | None => Arc::new(Limits::new(Whose::Annotator, &config.server.limits)),
    };
    let old_limits = old_config.map(|old| &old.server.project_limits);
    let project_limits = match before {
        Some(before) if old_limits == Some(&config.server.project_limits) => {
            before.project_limits.clone()
        }
        Some(_) | None => Arc::new(Limits::new(Whose::Project, &config.server.project_limits)),
    };
    let upstream = match before {
        // Its connections stay.
        Some(before)
            if before.loaded.config.server.upstream == config.server.upstream
                && before.loaded.config.server.trusted_proxies == config.server.trusted_proxies
                && before.judges.sessions().is_some() == judges.sessions().is_some() =>
        {
            before.upstream.clone()
        }
        Some(_) | None => open_upstream(config, &judges)?,
    };
    let stores = open_stores(
        config,
        before.map_or(&[], |before| &before.stores),
        recorder,
    )?;
    let tls = before.map_or(config.server.tls.is_some(), |before| before.tls);
    let auth = config.auth.as_ref();
    let secure = auth.is_some_and(|auth| auth.secure_cookie.unwrap_or(tls));
    let served = stores
        .iter()
        .map(|open| (open.config.id.clone(), open.store.clone()))
        .chain(judges.store());
    let gate = Gate {
        auth: judges.auth(),
        cookie: SessionCookie::new(secure),
        authority: judges.authority(),
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
        project_limits: project_limits.clone(),
        // Never over plain HTTP (RFC 6797 §7.2).
        hsts: config
            .server
            .hsts
            .filter(|_| tls)
            .and_then(strict_transport_security),
        cors: Cors::new(&config.server.allowed_origins),
        delivery: config.delivery.clone(),
        exchanges_tokens: config.auth.is_some(),
        upstream: upstream.clone(),
    };
    Ok((
        gate,
        InForce {
            loaded,
            stores,
            judges,
            limits,
            project_limits,
            upstream,
            tls,
            missed: Vec::new(),
        },
    ))
}

fn open_upstream(config: &Config, judges: &Judges) -> Result<Option<Arc<Upstream>>, StartError> {
    let url = config.server.upstream.as_ref();
    let label_studio = config.access.label_studio();
    let ca_file = label_studio.and_then(|label_studio| label_studio.ca_file.as_deref());
    let open = url.map(|url| Upstream::new(url, ca_file, judges.sessions()));
    let open = open.map(|opened| opened.map_err(StartError::Upstream));
    let behind = |upstream: Upstream| upstream.behind(config.server.trusted_proxies.clone());
    Ok(open.transpose()?.map(behind).map(Arc::new))
}

fn open_stores(
    config: &Config,
    before: &[OpenStore],
    recorder: &Recorder,
) -> Result<Vec<OpenStore>, StartError> {
    let stall_timeout = config.delivery.stall_timeout;
    let open = |storage: &StorageConfig| {
        let ca = storage
            .backend
            .ca_file()
            .and_then(|file| std::fs::read(file).ok());
        let kept = before.iter().find(|open| {
            open.config == *storage && open.stall_timeout == stall_timeout && open.ca == ca
        });
        if let Some(kept) = kept {
            return Ok(kept.clone());
        }
        let parts = backend(storage, stall_timeout)?;
        let metrics = || recorder.metrics.clone();
        let traced = Traced::around(parts.backend, &storage.id, &recorder.traces);
        let measured = Measured::new(traced, storage.id.clone(), metrics());
        let backend: Arc<dyn Backend> = match storage.hedge {
            None => Arc::new(Retry::new(measured)),
            Some(hedge) => {
                let hedged = Hedged::new(measured, hedge, storage.id.clone(), metrics());
                Arc::new(hedged.retried())
            }
        };
        let presign = parts.presign.map(|presign| {
            Arc::new(Measured::new(presign, storage.id.clone(), metrics())) as Arc<dyn Presign>
        });
        let store = Store::new(backend.clone(), presign);
        let epoch = epoch(&storage.backend, &storage.prefix);
        Ok(OpenStore {
            config: storage.clone(),
            stall_timeout,
            ca,
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

/// A storage's backend, neither retried nor measured.
pub fn backend(config: &StorageConfig, stall_timeout: Duration) -> Result<Parts, StartError> {
    match &config.backend {
        BackendConfig::S3(s3) => {
            let client = HttpClient::new(s3.ca_file.as_deref(), stall_timeout)
                .map_err(|error| StartError::Storage(config.id.clone(), error))?;
            let s3 = Arc::new(S3::new((**s3).clone(), client));
            Ok(Parts {
                backend: s3.clone(),
                presign: Some(s3),
            })
        }
        BackendConfig::Local(local) => Ok(Parts {
            backend: Arc::new(Local::new(local.clone(), stall_timeout)),
            presign: None,
        }),
        BackendConfig::Azure(azure) => {
            let client = HttpClient::new(azure.ca_file.as_deref(), stall_timeout)
                .map_err(|error| StartError::Storage(config.id.clone(), error))?;
            let signs = !matches!(azure.credentials, AzureCredentials::Sas(_));
            let azure = Arc::new(Azure::new((**azure).clone(), client));
            Ok(Parts {
                backend: azure.clone(),
                presign: signs.then_some(azure as Arc<dyn Presign>),
            })
        }
        BackendConfig::Gcs(gcs) => {
            let client = HttpClient::new(gcs.ca_file.as_deref(), stall_timeout)
                .map_err(|error| StartError::Storage(config.id.clone(), error))?;
            let gcs = Arc::new(Gcs::new((**gcs).clone(), client));
            Ok(Parts {
                backend: gcs.clone(),
                presign: Some(gcs),
            })
        }
        BackendConfig::Databricks(databricks) => {
            let client = HttpClient::new(databricks.ca_file.as_deref(), stall_timeout)
                .map_err(|error| StartError::Storage(config.id.clone(), error))?;
            Ok(Parts {
                backend: Arc::new(Databricks::new(databricks.clone(), client)),
                presign: None,
            })
        }
        BackendConfig::Redis(redis) => {
            let redis = Redis::new(redis.clone(), stall_timeout)
                .map_err(|error| StartError::Storage(config.id.clone(), error))?;
            Ok(Parts {
                backend: Arc::new(redis),
                presign: None,
            })
        }
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
        BackendConfig::Azure(azure) => Names::Azure {
            account: azure.account.as_str().into(),
            container: azure.container.as_str().into(),
        },
        BackendConfig::Gcs(gcs) => Names::Gcs {
            bucket: gcs.bucket.as_str().into(),
        },
        BackendConfig::Databricks(databricks) => Names::Volume {
            volume: databricks.volume.as_str().into(),
        },
        BackendConfig::Redis(redis) => Names::Redis {
            host: redis.host.as_str().into(),
            port: redis.port,
            db: redis.db,
        },
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
