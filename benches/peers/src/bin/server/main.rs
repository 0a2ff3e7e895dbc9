//! Three servers in one, all hyper over HTTP/1.1 with a runtime for each core: storage that is not the bottleneck (any
//! object, S3 in path style without signatures, as slow as it is told to be); the floor that hyper sets (objects from
//! memory, no check); and the floor of a cold read (another server's answer passed on, nothing kept).
//!
//!     server [--workers N] [--keep FILE] [--proxy ADDRESS] [--tls CERTIFICATE KEY]
//!     server --write DIRECTORY FILE
//!
//! `FILE` has the names of objects, one a line. Listens on loopback, at a port of the system's choice, which it prints.

mod answer;
mod body;

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

use answer::{Desk, State};
use peers::Object;

type Failure = Box<dyn Error + Send + Sync>;

/// As many as wait to be accepted; 10,000 connect at once in one of the measurements.
const BACKLOG: u32 = 4096;

#[derive(Default)]
struct Options {
    workers: usize,
    keep: Option<String>,
    proxy: Option<SocketAddr>,
    tls: Option<(String, String)>,
    write: Option<(String, String)>,
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    if let Some((directory, names)) = &options.write {
        return write(Path::new(directory), names);
    }
    let kept = options.keep.as_deref().map(keep).transpose()?;
    let state = Arc::new(State::new(kept.unwrap_or_default()));
    let tls = options.tls.as_ref().map(acceptor).transpose()?;
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut workers = Vec::new();
    for _ in 0..options.workers.max(1) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = runtime.block_on(async { listen(address) })?;
        address = listener.local_addr()?;
        let (state, tls) = (state.clone(), tls.clone());
        workers.push(std::thread::spawn(move || {
            runtime.block_on(accept(listener, state, options.proxy, tls))
        }));
    }
    println!("{address}");
    std::io::stdout().flush()?;
    for worker in workers {
        worker.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}

fn options() -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    let next = |arguments: &mut dyn Iterator<Item = String>| {
        arguments.next().ok_or("an argument is missing")
    };
    while let Some(argument) = arguments.next() {
        let value = next(&mut arguments)?;
        match argument.as_str() {
            "--workers" => options.workers = value.parse()?,
            "--keep" => options.keep = Some(value),
            "--proxy" => options.proxy = Some(value.parse()?),
            "--tls" => options.tls = Some((value, next(&mut arguments)?)),
            "--write" => options.write = Some((value, next(&mut arguments)?)),
            other => return Err(format!("{other} is not known").into()),
        }
    }
    Ok(options)
}

/// Writes the objects named as files, for servers that read files.
fn write(directory: &Path, names: &str) -> Result<(), Failure> {
    for name in fs::read_to_string(names)?.lines() {
        let object = Object::at(name).ok_or("not an object's name")?;
        let mut file = fs::File::create(directory.join(name))?;
        let mut position = 0;
        while position < object.length {
            let piece = object.piece(position, u64::MAX);
            file.write_all(&piece)?;
            position += piece.len() as u64;
        }
    }
    Ok(())
}

/// The objects named, each in one piece of memory of its own, as a cache would hold it.
fn keep(names: &str) -> Result<HashMap<Box<str>, Bytes>, Failure> {
    let mut kept = HashMap::new();
    for name in fs::read_to_string(names)?.lines() {
        let object = Object::at(name).ok_or("not an object's name")?;
        let mut whole = BytesMut::with_capacity(object.length.try_into()?);
        while (whole.len() as u64) < object.length {
            whole.extend_from_slice(&object.piece(whole.len() as u64, u64::MAX));
        }
        kept.insert(name.into(), whole.freeze());
    }
    Ok(kept)
}

fn acceptor((certificate, key): &(String, String)) -> Result<TlsAcceptor, Failure> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Every worker has a listener of its own on the one port; the kernel deals out connections.
fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket.listen(BACKLOG)?)
}

async fn accept(
    listener: TcpListener,
    state: Arc<State>,
    proxy: Option<SocketAddr>,
    tls: Option<TlsAcceptor>,
) {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    // Out of descriptors: a moment later there may be one.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let (state, tls) = (state.clone(), tls.clone());
                tokio::task::spawn_local(async move {
                    let _ = stream.set_nodelay(true);
                    let desk = Desk::new(state, proxy);
                    match tls {
                        None => serve(stream, desk).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, desk).await;
                            }
                        }
                    }
                });
            }
        })
        .await;
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, desk: Desk) {
    let desk = std::rc::Rc::new(desk);
    let service = service_fn(|request| {
        let desk = desk.clone();
        async move { desk.answer(request).await }
    });
    // A client that leaves is an error here, and none of ours.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
