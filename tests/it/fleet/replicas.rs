//! Several replicas as processes of their own, over one storage that counts what it is asked.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};

use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::process::Serving;
use crate::support::store::Store;

/// What a log says of a disk that is passed by.
const SLOW: &str = "the disk cache is slow to read";

/// A port that stays this test's: bound and not listened at, so that a process can be stopped and started again there
/// and nobody else is given it meanwhile (both sides set SO_REUSEADDR).
pub struct Place {
    _held: TcpSocket,
    pub address: SocketAddr,
}

impl Place {
    pub fn reserve() -> Self {
        let held = TcpSocket::new_v4().expect("a socket");
        held.set_reuseaddr(true).expect("it is set");
        held.bind((Ipv4Addr::LOCALHOST, 0).into())
            .expect("a port is free");
        let address = held.local_addr().expect("it is bound");
        Self {
            _held: held,
            address,
        }
    }
}

/// One of them, which keeps its addresses and its disk cache when it is started again.
pub struct Replica {
    pub listen: Place,
    pub admin: Place,
    disk: TempDir,
    /// A read of its disk took so long that storage was asked instead.
    disk_was_slow: bool,
    pub serving: Serving,
}

impl Replica {
    async fn start(store: &Store) -> Self {
        let (listen, admin) = (Place::reserve(), Place::reserve());
        let disk = tempfile::tempdir().expect("a directory");
        let serving = serve(store, &listen, &admin, &disk).await;
        Self {
            listen,
            admin,
            disk,
            disk_was_slow: false,
            serving,
        }
    }

    /// Stops it as an upgrade does, and starts it again at the same addresses. It has to end well, with no body cut.
    pub async fn restart(&mut self, store: &Store) {
        self.serving.signal("TERM");
        assert_eq!(self.serving.ended().await.code(), Some(0));
        let log = self.serving.written("stderr");
        assert!(log.contains("\"cut\":0"), "bodies were cut: {log}");
        self.disk_was_slow |= log.contains(SLOW);
        self.serving = serve(store, &self.listen, &self.admin, &self.disk).await;
    }

    /// Whether its disk ever took so long for a read that it was passed by.
    pub fn disk_was_slow(&self) -> bool {
        self.disk_was_slow || self.serving.written("stderr").contains(SLOW)
    }

    /// Which of the requests it answered, by their trace.
    pub fn traces(&self) -> Vec<String> {
        let log = self.serving.written("access.log");
        let lines = log.lines().filter(|line| line.ends_with('}'));
        let field = "\"trace_id\":\"";
        lines
            .filter_map(|line| Some(line.split_once(field)?.1.split_once('"')?.0.to_owned()))
            .collect()
    }
}

async fn serve(store: &Store, listen: &Place, admin: &Place, disk: &TempDir) -> Serving {
    let cache = disk.path().join("cache");
    let setup = Setup::over(&store.section("media"))
        .set("server.listen", listen.address.to_string())
        .set("server.admin_listen", admin.address.to_string())
        .set("cache.memory", "256MiB")
        .set("cache.disk.path", cache.to_str().expect("UTF-8"))
        .set("cache.disk.capacity", "1GiB");
    Serving::start_at("info", setup).await
}

/// Three of them.
pub struct Fleet {
    pub store: Store,
    pub replicas: Vec<Replica>,
}

impl Fleet {
    pub async fn start() -> Self {
        let store = Store::start().await;
        let mut replicas = Vec::new();
        for _ in 0..3 {
            replicas.push(Replica::start(&store).await);
        }
        Self { store, replicas }
    }

    /// Which replica answered each request whose trace begins so, once so many have been answered.
    pub async fn answered(&self, trace: &str, count: usize) -> HashMap<String, usize> {
        eventually("all answers stand in the access logs", async || {
            let replicas = self.replicas.iter().enumerate();
            let lines = replicas.flat_map(|(at, replica)| {
                let traces = replica.traces().into_iter();
                traces.map(move |trace| (trace, at))
            });
            let ours: HashMap<_, _> = lines.filter(|(it, _)| it.starts_with(trace)).collect();
            (ours.len() == count).then_some(ours)
        })
        .await
    }
}
