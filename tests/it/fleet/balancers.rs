//! The balancers of `deploy/`, as their own programs: each file as it is shipped, but for the addresses in it.
//!
//! `tests/servers` installs them. Where one is missing, the test fails with `CI=true` and says at a desk that it is
//! skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::replicas::{Fleet, Place};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::garage::{is_ci, tools};

const REPOSITORY: &str = env!("CARGO_MANIFEST_DIR");

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Envoy,
}

/// A running balancer; killed when dropped, and by the kernel when the test's thread ends otherwise.
pub struct Balancer {
    process: Child,
    _directory: TempDir,
    _place: Place,
    pub address: SocketAddr,
    pub client: Client,
}

impl Balancer {
    /// Starts one before the fleet; `None` where it is not installed and may be skipped.
    pub async fn start(kind: Kind, fleet: &Fleet) -> Option<Self> {
        let Some(binary) = binary(kind) else {
            assert!(!is_ci(), "{kind:?} is not installed: run tests/servers");
            eprintln!("SKIPPED, for {kind:?} is not installed: run tests/servers");
            return None;
        };
        let (directory, place) = (tempfile::tempdir().expect("a directory"), Place::reserve());
        let mut process = run(kind, &binary, directory.path(), &place, fleet);
        let said = directory.path().join("said");
        let address = place.address;
        eventually("the balancer listens", async || {
            let ended = process.try_wait().expect("its state is known");
            let said = || std::fs::read_to_string(&said).unwrap_or_default();
            assert!(ended.is_none(), "{kind:?} ends: {}", said());
            TcpStream::connect(address).await.ok()
        })
        .await;
        Some(Self {
            process,
            _directory: directory,
            _place: place,
            address,
            client: Client::new(format!("http://{address}")),
        })
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn binary(kind: Kind) -> Option<PathBuf> {
    let (names, version) = match kind {
        Kind::Nginx => (["nginx".into(), "/usr/sbin/nginx".into()], "-v"),
        Kind::Haproxy => (["haproxy".into(), "/usr/sbin/haproxy".into()], "-v"),
        Kind::Envoy => (
            ["envoy".into(), tools().join("deploy/bin/envoy")],
            "--version",
        ),
    };
    names.into_iter().find(|binary| {
        let version = Command::new(binary).arg(version).output();
        version.is_ok_and(|output| output.status.success())
    })
}

fn run(kind: Kind, binary: &Path, directory: &Path, place: &Place, fleet: &Fleet) -> Child {
    let shipped = match kind {
        Kind::Nginx => "deploy/nginx/fleet.conf",
        Kind::Haproxy => "deploy/haproxy/haproxy.cfg",
        Kind::Envoy => "deploy/envoy/envoy.yaml",
    };
    let shipped = std::fs::read_to_string(Path::new(REPOSITORY).join(shipped));
    let file = directory.join(match kind {
        Kind::Nginx => "fleet.conf",
        Kind::Haproxy => "haproxy.cfg",
        Kind::Envoy => "envoy.yaml",
    });
    let configured = with_addresses(kind, shipped.expect("it is shipped"), place, fleet);
    std::fs::write(&file, configured).expect("it is written");
    let said = std::fs::File::create(directory.join("said")).expect("a file");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(binary);
    match kind {
        Kind::Nginx => {
            let around = directory.join("nginx.conf");
            std::fs::write(around, nginx_around(place)).expect("it is written");
            command.arg("-p").arg(directory).args(["-c", "nginx.conf"]);
        }
        Kind::Haproxy => {
            command.arg("-db").arg("-f").arg(&file);
        }
        Kind::Envoy => {
            command.arg("-c").arg(&file);
            command.args(["--concurrency", "1", "--disable-hot-restart"]);
            command.args(["--log-level", "warning"]);
        }
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .expect("it starts")
}

/// The addresses of the documentation (RFC 5737) are put aside for the test's; nothing else is touched.
fn with_addresses(kind: Kind, shipped: String, place: &Place, fleet: &Fleet) -> String {
    let mut text = shipped;
    let replicas = fleet.replicas.iter().enumerate();
    for (at, replica) in replicas {
        let (listen, admin) = (replica.listen.address, replica.admin.address);
        let written = format!("192.0.2.{}", 11 + at);
        let (from, to) = match kind {
            Kind::Nginx => (format!("{written}:8080"), listen.to_string()),
            Kind::Haproxy => {
                let checked = format!("{written}:8080 check port 9090");
                let to = format!("{listen} check port {}", admin.port());
                text = text.replace(&checked, &to);
                (format!("{written}:8080"), listen.to_string())
            }
            Kind::Envoy => {
                let line = |address: &str, port, admin| {
                    format!(
                        "address: {{ socket_address: {{ address: {address}, port_value: {port} }} }}\n                  \
                         health_check_config: {{ port_value: {admin} }}"
                    )
                };
                let to = line("127.0.0.1", listen.port(), admin.port());
                (line(&written, 8080, 9090), to)
            }
        };
        assert!(text.contains(&from), "{from} is not in\n{text}");
        text = text.replace(&from, &to);
    }
    let bound = place.address.port();
    let text = text.replace("192.0.2.10:80\n", &format!("127.0.0.1:{bound}\n"));
    text.replace(
        "address: 192.0.2.10, port_value: 80 ",
        &format!("address: 127.0.0.1, port_value: {bound} "),
    )
}

/// As an operator has it; one process in the foreground, all its files in its directory.
fn nginx_around(place: &Place) -> String {
    let address = place.address;
    format!(
        r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include fleet.conf;
    server {{
        listen {address};
        large_client_header_buffers 4 16k;
        include {REPOSITORY}/deploy/nginx/lockgate.conf;
        location / {{
            proxy_pass http://lockgate_any;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
        }}
    }}
}}
"#
    )
}
