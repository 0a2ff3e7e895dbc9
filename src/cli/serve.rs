//! `lockgate serve`: runs until SIGTERM or SIGINT, reloads on SIGHUP. A second signal does not wait for bodies.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CONFIG, fail};
use crate::app::systemd::{Inherited, Manager};
use crate::app::{self, Running, Source, sandbox};
use crate::telemetry::logging::{self, LoggingError};

/// Begins to log, and confines the process to its files: before there are threads that would be left out of it.
///
/// # Errors
/// The level is none.
pub fn prepare(source: &Source) -> Result<(), LoggingError> {
    // A configuration with mistakes is reported by `start`, in its own words.
    let loaded = source.read().ok();
    let level = loaded.as_ref().map(|loaded| &*loaded.config.log.level);
    logging::init(level.unwrap_or("info"))?;
    if source.file.is_none() && Path::new(CONFIG).exists() {
        tracing::warn!(
            "{CONFIG} is here and not read: with --label-studio a file is to be named by --config"
        );
    }
    if let Some(loaded) = &loaded {
        sandbox::confine(loaded, &source.environment);
    }
    Ok(())
}

/// Lets the allocator give back what nobody uses, in a thread of its own: only now, for one that was there before the
/// process was confined would be left out of it.
fn give_memory_back() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::debug!(%error, "memory that is free is given back only where some is asked for");
    }
}

/// Serves what `source` configures, on the sockets that were handed over where there are any.
pub async fn run(source: Source, inherited: Inherited) -> ExitCode {
    let mut signals = match Signals::handle() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    give_memory_back();
    let manager = Manager::from_environment();
    // A start may wait for somebody's keys: to be told to stop is heard meanwhile.
    let started = tokio::select! {
        started = app::start_on(inherited, source, None) => started,
        () = signals.stop() => {
            manager.stopping();
            return ExitCode::SUCCESS;
        }
    };
    match started {
        Ok(running) => {
            tracing::info!(
                listen = %running.local_addr(),
                admin = running.admin_addr().map(|address| address.to_string()),
                version = env!("CARGO_PKG_VERSION"),
                "lockgate serves"
            );
            manager.ready();
            let _telling = manager.keep_telling();
            until_stopped(running, signals, &manager).await
        }
        Err(error) => fail(&error),
    }
}

/// The signals that mean something. Handled before anybody can know that Lockgate serves: one that comes early waits.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    pub fn handle() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when one says to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Obeys signals until one says to stop, and says so.
pub async fn until_stopped(running: Running, mut signals: Signals, manager: &Manager) -> ExitCode {
    loop {
        // A reload may wait for a disk: to be told to stop is heard meanwhile.
        let reloaded = async {
            signals.hang_up.recv().await;
            manager.reloading();
            running.reload().await;
            // Also where the new configuration is not taken: it serves, by the old one.
            manager.ready();
        };
        tokio::select! {
            () = reloaded => {}
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    manager.stopping();
    tracing::info!("draining: no new connections, bodies may finish");
    tokio::select! {
        cut = running.drain() => {
            tracing::info!(cut, "stopped");
            ExitCode::SUCCESS
        }
        _ = signals.terminate.recv() => ExitCode::FAILURE,
        _ = signals.interrupt.recv() => ExitCode::FAILURE,
    }
}
