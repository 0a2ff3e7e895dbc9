//! The disk cache in the house: opened at start, counted, closed at the end.

use std::sync::Arc;

use super::StartError;
use crate::cache::disk::{DiskCache, DiskConfig, Watcher};
use crate::telemetry::{Metrics, Tier};

struct Counted(Arc<Metrics>);

impl Watcher for Counted {
    fn evicted(&self) {
        self.0.cache_eviction(Tier::Disk);
    }

    fn damaged(&self) {
        self.0.disk_damaged();
    }

    fn not_kept(&self) {
        self.0.disk_not_kept();
    }
}

/// Opens it where one is configured. A directory that cannot be used keeps nobody from starting.
pub(super) async fn open(
    config: Option<DiskConfig>,
    metrics: Arc<Metrics>,
) -> Result<Option<Arc<DiskCache>>, StartError> {
    let Some(config) = config else {
        return Ok(None);
    };
    let start = move || DiskCache::start(config, Arc::new(Counted(metrics)));
    let started = tokio::task::spawn_blocking(start).await;
    let started = started.map_err(|_| StartError::Interrupted)?;
    Ok(Some(Arc::new(started.map_err(StartError::Disk)?)))
}

/// Writes what waits.
pub(super) async fn close(disk: &Option<Arc<DiskCache>>) {
    if let Some(disk) = disk.clone() {
        // A panic in there has been logged by its hook.
        let _ = tokio::task::spawn_blocking(move || disk.close()).await;
    }
}
