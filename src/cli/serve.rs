//! `lockgate serve`: runs until SIGTERM or SIGINT, reloads on SIGHUP. A second signal does not wait for bodies.

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::fail;
use crate::app::{self, Running, Source};
use crate::telemetry::logging;

/// Serves what `source` configures.
pub async fn run(source: Source) -> ExitCode {
    let level = crate::config::load(&source.file, source.environment.clone())
        .map(|loaded| loaded.config.log.level);
    // A configuration with mistakes is reported by `start`, in its own words.
    if let Err(error) = logging::init(level.as_deref().unwrap_or("info")) {
        return fail(&error);
    }
    match app::start(source, None).await {
        Ok(running) => {
            tracing::info!(
                listen = %running.local_addr(),
                admin = running.admin_addr().map(|address| address.to_string()),
                version = env!("CARGO_PKG_VERSION"),
                "lockgate serves"
            );
            until_stopped(running).await
        }
        Err(error) => fail(&error),
    }
}

/// Handles signals until one says to stop.
pub async fn until_stopped(running: Running) -> ExitCode {
    let (mut terminate, mut interrupt, mut hang_up) = match signals() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    loop {
        tokio::select! {
            _ = hang_up.recv() => { running.reload().await; }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("draining: no new connections, bodies may finish");
    tokio::select! {
        cut = running.drain() => {
            tracing::info!(cut, "stopped");
            ExitCode::SUCCESS
        }
        _ = terminate.recv() => ExitCode::FAILURE,
        _ = interrupt.recv() => ExitCode::FAILURE,
    }
}

fn signals() -> std::io::Result<(Signal, Signal, Signal)> {
    Ok((
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ))
}
