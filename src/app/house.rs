//! What lives as long as the process does: looks at files for changes, sets gauges, and reloads.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use super::audit;
use super::build::{InForce, build};
use super::judges::Judges;
use super::status::Status;
use super::{Source, StartError, sandbox};
use crate::authority::file::FileAuthority;
use crate::cache::disk::DiskCache;
use crate::config::{Config, served_by};
use crate::content::Shelf;
use crate::serve::ServerConfig;
use crate::serve::exchange::Recorder;
use crate::serve::gate::Gate;
use crate::serve::tls::Tls;
use crate::telemetry::{Tier, samples};

/// How often files are looked at for changes, and gauges set.
const TICK: Duration = Duration::from_millis(500);

/// What lives as long as the process does.
pub(super) struct House {
    pub(super) source: Source,
    pub(super) gate: Arc<ArcSwap<Gate>>,
    pub(super) recorder: Recorder,
    pub(super) shelf: Arc<Shelf>,
    pub(super) disk: Option<Arc<DiskCache>>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) in_force: Mutex<InForce>,
    pub(super) configuration_ok: AtomicBool,
    pub(super) draining: AtomicBool,
    pub(super) status: Status,
}

impl House {
    /// What is missing for `/readyz`; nothing: ready.
    pub(super) fn not_ready(&self) -> Vec<String> {
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
    pub(super) async fn tick(self: Arc<Self>, mut seen: Vec<Stamp>) {
        let mut list = self.list().await.map(|list| list.changed());
        loop {
            tokio::time::sleep(TICK).await;
            let now = stamps(self.watched().await).await;
            if now != seen {
                self.reload().await;
                // Looked at before the reload, so that a change during it is not missed; where the reload named
                // other files, it costs one more.
                seen = now;
            }
            // An error says that there is another list, from a reload that named it.
            let changed = match &list {
                Some(list) => list.has_changed().unwrap_or(true),
                None => self.list().await.is_some(),
            };
            if changed {
                list = self.audit_list().await;
            }
            self.set_gauges().await;
        }
    }

    /// Takes readings for people who look, for as long as the process runs.
    pub(super) async fn sample(self: Arc<Self>) {
        loop {
            tokio::time::sleep(samples::EVERY).await;
            self.status.sample();
        }
    }

    /// The files that are in force, and those that a reload which failed would have needed.
    async fn watched(&self) -> Vec<PathBuf> {
        let in_force = self.in_force.lock().await;
        let mut files = in_force.loaded.files.clone();
        let missed = in_force.missed.iter();
        files.extend(
            missed
                .filter(|it| !in_force.loaded.files.contains(it))
                .cloned(),
        );
        files
    }

    /// Says which files decide who may see what, at start.
    pub(super) async fn audit_files(&self) {
        self.audit_configuration(true).await;
        self.audit_list().await;
    }

    /// Says which access list was read last, and hears of the next.
    async fn audit_list(&self) -> Option<watch::Receiver<u64>> {
        let list = self.list().await?;
        let mut changed = list.changed();
        changed.mark_unchanged();
        let audit = &self.recorder.audit;
        let taken = list.last_reload_ok();
        audit::was_read(audit, list.file(), taken).await;
        if !taken {
            let loaded = self.in_force.lock().await.loaded.clone();
            sandbox::say_what_is_out_of_reach(move || sandbox::read_from(&loaded)).await;
        }
        Some(changed)
    }

    async fn list(&self) -> Option<Arc<FileAuthority>> {
        self.in_force.lock().await.judges.list()
    }

    /// Without a file the environment is the configuration.
    async fn audit_configuration(&self, taken: bool) {
        if let Some(file) = &self.source.file {
            audit::was_read(&self.recorder.audit, file, taken).await;
        }
    }

    async fn set_gauges(&self) {
        let metrics = &self.recorder.metrics;
        metrics.cache_bytes(Tier::Memory, self.shelf.cached_bytes());
        metrics.cache_bytes(Tier::Disk, self.shelf.disk_bytes());
        let in_force = self.in_force.lock().await;
        self.set_reload_gauge(&in_force.judges);
        metrics.changes_heard(in_force.judges.changes_heard());
        self.set_credential_gauges(&in_force);
    }

    fn set_credential_gauges(&self, in_force: &InForce) {
        for open in &in_force.stores {
            let expiry = open.backend.credential_expiry();
            let metrics = &self.recorder.metrics;
            metrics.credential_expiry(&open.config.id, expiry);
        }
    }

    /// One gauge for both: what was read last, of the configuration and of the access list, is in force.
    fn set_reload_gauge(&self, judges: &Judges) {
        let configuration_ok = self.configuration_ok.load(Ordering::Relaxed);
        self.recorder
            .metrics
            .reload(configuration_ok && judges.last_reload_ok());
    }

    pub(super) async fn reload(&self) -> bool {
        let mut in_force = self.in_force.lock().await;
        let reloaded = self.try_reload(&mut in_force).await;
        let taken = reloaded.is_ok();
        self.audit_configuration(taken).await;
        self.configuration_ok
            .store(reloaded.is_ok(), Ordering::Relaxed);
        self.set_reload_gauge(&in_force.judges);
        match &reloaded {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(error) => {
                tracing::error!("the new configuration is not taken, the old one stays: {error}")
            }
        }
        reloaded.is_ok()
    }

    async fn try_reload(&self, in_force: &mut InForce) -> Result<(), StartError> {
        let (loaded, named) = self.source.load().await;
        in_force.missed.clone_from(&named);
        let read = loaded.as_ref().ok().cloned();
        let read = move || read.map_or(named, |loaded| sandbox::read_from(&loaded));
        sandbox::say_what_is_out_of_reach(read).await;
        let loaded = loaded?;
        if let Some(disk) = self.disk.clone() {
            let storages = loaded.config.storages.clone();
            // Where the disk cache is, until the next start, whatever the new configuration says.
            let look = move || served_by(disk.path(), &storages).map(|storage| storage.id.clone());
            let served = tokio::task::spawn_blocking(look).await;
            if let Some(storage) = served.map_err(|_| StartError::Interrupted)? {
                return Err(StartError::DiskBelow(storage));
            }
        }
        for key in needs_restart(&in_force.loaded.config, &loaded.config) {
            tracing::warn!("{key} has changed: that takes effect at the next start");
        }
        let (gate, fresh) = build(loaded, Some(in_force), &self.shelf, &self.recorder).await?;
        if let (Some(tls), Some(files)) = (&self.tls, &fresh.loaded.config.server.tls) {
            tls.reload(files)?;
        }
        // Nothing can fail from here on: a bad reload is not half taken.
        for open in &in_force.stores {
            self.recorder
                .metrics
                .credential_expiry(&open.config.id, None);
        }
        *in_force = fresh;
        self.set_credential_gauges(in_force);
        self.status.configured(in_force);
        self.gate.store(Arc::new(gate));
        Ok(())
    }
}

/// Keys that cannot change while the process runs.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let (old_server, new_server) = (&old.server, &new.server);
    if (old_server.listen, old_server.admin_listen) != (new_server.listen, new_server.admin_listen)
        || old_server.admin_hosts != new_server.admin_hosts
    {
        keys.push("server.listen, server.admin_listen or server.admin_hosts");
    }
    if old_server.caps != new_server.caps {
        keys.push("server.limits.total_connections, total_streams or total_memory");
    }
    if old_server.tls.is_some() != new_server.tls.is_some() {
        keys.push("whether there is server.tls");
    }
    if old_server.drain != new_server.drain {
        keys.push("server.drain");
    }
    let sandbox = |server: &ServerConfig| (server.sandbox, server.sandbox_paths.clone());
    if sandbox(old_server) != sandbox(new_server) {
        keys.push("server.sandbox or server.sandbox_paths");
    }
    if old.cache != new.cache {
        keys.push("cache.memory");
    }
    if old.disk != new.disk {
        keys.push("cache.disk");
    }
    if old.log != new.log {
        keys.push("log");
    }
    if old.otlp != new.otlp {
        keys.push("telemetry");
    }
    keys
}

pub(super) type Stamp = Option<(SystemTime, u64, u64)>;

/// What the configuration's files are now: enough to see that they changed, also through a swapped symlink.
pub(super) async fn stamps(files: Vec<PathBuf>) -> Vec<Stamp> {
    tokio::task::spawn_blocking(move || files.iter().map(|file| stamp(file)).collect())
        .await
        .unwrap_or_default()
}

fn stamp(file: &std::path::Path) -> Stamp {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    fn config(server: &str) -> Config {
        let text = format!(
            "[server]\n{server}\n[access]\nsource = 'label-studio'\n\
             [access.label_studio]\nurl = 'http://127.0.0.1:8081'\n"
        );
        let source = crate::config::Source {
            text,
            ..crate::config::Source::default()
        };
        source.load().unwrap().config
    }

    #[test]
    fn a_key_that_takes_effect_at_the_next_start_is_named() {
        let old = config("");
        assert_eq!(needs_restart(&old, &config("")), Vec::<&str>::new());
        for (server, key) in [
            ("drain = '1s'", "server.drain"),
            ("sandbox = false", "server.sandbox or"),
            ("sandbox_paths = ['/srv']", "server.sandbox_paths"),
            ("listen = '127.0.0.1:1'", "server.listen"),
        ] {
            let named = needs_restart(&old, &config(server));
            assert!(matches!(named[..], [it] if it.contains(key)), "{named:?}");
        }
    }
}
