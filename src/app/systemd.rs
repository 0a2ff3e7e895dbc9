//! What a service manager hands over and wants to be told: listening sockets (sd_listen_fds(3)), and how far the
//! service is (sd_notify(3)). Without one there is neither, and nothing differs.
//!
//! Never makes a start fail because nobody listens to what is told; only sockets that were handed over and are none do.

use std::ffi::OsString;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;

/// Sockets that were bound before this process began, and stay bound after it: who connects while one process takes
/// over from another waits in the kernel's queue, and is refused by nobody.
#[derive(Debug, Default)]
pub struct Inherited {
    /// In the place of `server.listen`.
    pub(super) listen: Option<TcpListener>,
    /// In the place of `server.admin_listen`.
    pub(super) admin_listen: Option<TcpListener>,
}

impl Inherited {
    /// What `LISTEN_FDS` names: the first is for annotators, the second, where there is one, for the admin listener.
    /// Takes the variables out of the environment, so it belongs before there are threads.
    ///
    /// # Errors
    /// One of them is no TCP socket, or there are more than two.
    pub fn from_environment() -> io::Result<Self> {
        let mut sockets = listenfd::ListenFd::from_env();
        if sockets.len() > 2 {
            return Err(io::Error::other(
                "more than two: one for server.listen, one for server.admin_listen",
            ));
        }
        Ok(Self {
            listen: sockets.take_tcp_listener(0)?,
            admin_listen: sockets.take_tcp_listener(1)?,
        })
    }
}

/// The service manager, if this process has one.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// How long it may hear nothing before it takes the process for hung.
    patience: Option<Duration>,
}

impl Manager {
    /// Who `NOTIFY_SOCKET` names. Where it cannot be reached, that is said in the log and nothing more.
    pub fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let socket = match reach(&name) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything");
                return Self::default();
            }
        };
        let variable = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let mine = variable("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let patience = variable("WATCHDOG_USEC").filter(|_| mine);
        Self {
            socket: Some(Arc::new(socket)),
            patience: patience.map(Duration::from_micros),
        }
    }

    /// Traffic may come; also: what was being reloaded is in force.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The configuration is being read again. The time tells this reload from an earlier one (`Type=notify-reload`).
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// No new connection is taken; bodies finish.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says again and again that the process lives, for as long as the set is kept: from the runtime that serves, so
    /// that one whose threads all stand still is found out. Twice as often as it must be, as sd_watchdog_enabled(3) has
    /// it.
    pub fn keep_telling(&self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        if let Some(patience) = self.patience {
            let manager = self.clone();
            tasks.spawn(async move {
                loop {
                    manager.tell("WATCHDOG=1");
                    tokio::time::sleep(patience / 2).await;
                }
            });
        }
        tasks
    }

    fn tell(&self, state: &str) {
        if let Some((socket, manager)) = self.socket.as_deref()
            && let Err(error) = socket.send_to_addr(state.as_bytes(), manager)
        {
            tracing::debug!(%error, "the service manager was not told {state}");
        }
    }
}

fn reach(name: &OsString) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read must not keep requests waiting.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}
