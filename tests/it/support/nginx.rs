//! nginx, the real server (Debian's), with `deploy/nginx/lockgate.conf` in it as an operator includes it.
//!
//! `tests/servers` installs it. Where it is missing, the test fails with `CI=true` and says at a desk that it is skipped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::client::Client;
use super::garage::is_ci;
use super::{eventually, free_ports};

/// A running server; killed when dropped, and by the kernel when the test's thread ends otherwise.
pub struct Nginx {
    process: Child,
    directory: TempDir,
    pub address: SocketAddr,
    pub client: Client,
}

impl Nginx {
    /// Starts one in front of Lockgate and the application; `None` where it is not installed and may be skipped.
    pub async fn start(lockgate: SocketAddr, application: SocketAddr) -> Option<Self> {
        let Some(binary) = binary() else {
            assert!(!is_ci(), "nginx is not installed: run tests/servers");
            eprintln!("SKIPPED, for nginx is not installed: run tests/servers");
            return None;
        };
        let mut said = String::new();
        for _ in 0..3 {
            let directory = tempfile::tempdir().expect("a directory");
            let [port] = free_ports();
            let configuration = configuration(port, lockgate, application);
            std::fs::write(directory.path().join("nginx.conf"), configuration).expect("written");
            let mut process = serve(&binary, directory.path());
            // Where somebody else took the port meanwhile it ends without that file, and another port is tried.
            let listens = directory.path().join("nginx.pid");
            let listens = eventually("nginx listens", async || {
                let ended = process.try_wait().expect("its state is known").is_some();
                (ended || listens.exists()).then_some(!ended)
            });
            if listens.await {
                let address = SocketAddr::from(([127, 0, 0, 1], port));
                return Some(Self {
                    process,
                    directory,
                    address,
                    client: Client::new(format!("http://{address}")),
                });
            }
            said = std::fs::read_to_string(directory.path().join("error.log")).unwrap_or_default();
        }
        panic!("nginx ends as soon as it has started: {said}");
    }

    /// What `nginx -t` says of the configuration.
    pub fn tested(&self) -> Output {
        let binary = binary().expect("it has been started");
        command(&binary, self.directory.path())
            .arg("-t")
            .output()
            .expect("nginx runs")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where Debian puts it, which only root's PATH has.
fn binary() -> Option<PathBuf> {
    let found = ["nginx", "/usr/sbin/nginx"].into_iter().find(|binary| {
        let version = Command::new(binary).arg("-v").output();
        version.is_ok_and(|output| output.status.success())
    });
    found.map(PathBuf::from)
}

fn command(binary: &Path, directory: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(binary)
        .arg("-p")
        .arg(directory)
        .args(["-c", "nginx.conf"]);
    command
}

fn serve(binary: &Path, directory: &Path) -> Child {
    command(binary, directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("nginx starts")
}

/// As an operator has it, with what would do harm if the snippet did not switch it off: compression of everything, a
/// small buffer, and answers of errors of nginx's own. One process in the foreground, all its files in its directory.
fn configuration(port: u16, lockgate: SocketAddr, application: SocketAddr) -> String {
    let snippet = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/nginx/lockgate.conf");
    format!(
        r#"
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events {{ worker_connections 64; }}
http {{
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    gzip_proxied any;
    proxy_intercept_errors on;
    error_page 403 404 = /nothing;
    upstream lockgate {{ server {lockgate}; keepalive 8; }}
    upstream label_studio {{ server {application}; }}
    server {{
        listen 127.0.0.1:{port};
        large_client_header_buffers 4 16k;
        include {snippet};
        location / {{
            proxy_pass http://label_studio;
            proxy_set_header Host $http_host;
        }}
    }}
}}
"#
    )
}
