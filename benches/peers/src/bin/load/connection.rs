//! One connection: sends a request, reads its answer. Only what these servers send is understood: a head, and a body with
//! `Content-Length`.

use std::io::{self, Error, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::plan::{Asked, Plan};

/// A body is read in pieces of this size, as clients commonly do; a slow one's are smaller, for there are a thousand.
const READ: usize = 256 << 10;
const SLOW_READ: usize = 16 << 10;
/// From so many connections on their buffers are small, too.
const MANY: usize = 256;
/// No head of these servers is as long.
const MAX_HEAD: usize = 16 << 10;

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

pub struct Connection {
    stream: Box<dyn Stream>,
    /// Empty until something is asked: idle connections are many.
    buffer: Vec<u8>,
    /// Bytes of bodies, of one that is under way, too.
    pub received: u64,
    pub reusable: bool,
}

/// An answer that was read as far as it was wanted.
pub struct Answer {
    pub status: u16,
    pub etag: Option<String>,
    /// The body was as long as announced and wanted, and held what it should.
    pub right: bool,
    pub first_byte: Duration,
    pub whole: Duration,
}

struct Head {
    status: u16,
    length: u64,
    etag: Option<String>,
    closes: bool,
}

/// The body's way: where it should stand, and what has come.
struct Reading<'a> {
    asked: &'a Asked,
    plan: &'a Plan,
    begun: Instant,
    came: u64,
    right: bool,
}

impl Connection {
    pub async fn open(plan: &Plan, tls: Option<&TlsConnector>) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if let Some(size) = plan.receive_buffer {
            socket.set_recv_buffer_size(size)?;
        }
        let stream = socket.connect(plan.address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => Box::new(
                tls.connect(ServerName::from(plan.address.ip()), stream)
                    .await?,
            ),
        };
        Ok(Self {
            stream,
            buffer: Vec::new(),
            received: 0,
            reusable: true,
        })
    }

    pub async fn ask(&mut self, asked: &Asked, plan: &Plan) -> io::Result<Answer> {
        let many = plan.rate.is_some() || plan.connections > MANY;
        self.buffer.resize(if many { SLOW_READ } else { READ }, 0);
        let begun = Instant::now();
        self.stream.write_all(&asked.head).await?;
        // TLS may have taken it and not have sent it yet.
        self.stream.flush().await?;
        let (head, mut filled, at, first_byte) = self.head(begun).await?;
        let wanted = plan
            .drop_after
            .map_or(head.length, |most| head.length.min(most));
        let mut reading = Reading {
            asked,
            plan,
            begun: Instant::now(),
            came: 0,
            right: true,
        };
        self.received += (filled - at) as u64;
        reading.take(&self.buffer[at..filled]).await;
        while reading.came < wanted {
            let left = (wanted - reading.came).min(self.buffer.len() as u64) as usize;
            filled = self.stream.read(&mut self.buffer[..left]).await?;
            if filled == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.received += filled as u64;
            reading.take(&self.buffer[..filled]).await;
        }
        self.reusable = !head.closes && wanted == head.length;
        // A refusal's length is its own matter.
        let media = matches!(head.status, 200 | 206);
        let is_whole = !media || head.length == asked.length;
        Ok(Answer {
            status: head.status,
            etag: head.etag,
            right: head.status == plan.status && is_whole && reading.right,
            first_byte,
            whole: begun.elapsed(),
        })
    }

    /// The head; how much of the buffer is filled, where the body begins in it, and when the first byte came.
    async fn head(&mut self, begun: Instant) -> io::Result<(Head, usize, usize, Duration)> {
        let (mut filled, mut first_byte) = (0, Duration::ZERO);
        loop {
            let read = self.stream.read(&mut self.buffer[filled..MAX_HEAD]).await?;
            if filled == 0 {
                first_byte = begun.elapsed();
            }
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            let end = self.buffer[..filled]
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = Head::parse(&self.buffer[..end])?;
                return Ok((head, filled, end + 4, first_byte));
            }
        }
    }
}

impl Reading<'_> {
    /// Takes what came; a slow reader waits until it may read on.
    async fn take(&mut self, bytes: &[u8]) {
        if self.plan.compare
            && !self
                .asked
                .object
                .holds(self.asked.position + self.came, bytes)
        {
            self.right = false;
        }
        self.came += bytes.len() as u64;
        if let Some(rate) = self.plan.rate {
            let due = self.begun + Duration::from_secs_f64(self.came as f64 / rate);
            tokio::time::sleep_until(due.into()).await;
        }
    }
}

impl Head {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let none = || Error::from(ErrorKind::InvalidData);
        let text = str::from_utf8(head).map_err(|_| none())?;
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let mut head = Self {
            status: status.ok_or_else(none)?,
            length: 0,
            etag: None,
            closes: false,
        };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") && head.status != 304 {
                head.length = value.parse().map_err(|_| none())?;
            } else if name.eq_ignore_ascii_case("etag") {
                head.etag = Some(value.to_owned());
            } else if name.eq_ignore_ascii_case("connection") {
                head.closes = value.eq_ignore_ascii_case("close");
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(none());
            }
        }
        Ok(head)
    }
}

/// Trusts the one certificate, and offers one cipher suite, so that every server encrypts alike.
pub fn connector(certificate: &Path) -> Result<TlsConnector, Failure> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate)?)?;
    let provider = CryptoProvider {
        cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
