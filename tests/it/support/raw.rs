//! HTTP/1.1 byte by byte, for what no client library would send, and for readers that stop reading.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::PATIENCE;

/// One connection.
pub struct Raw(TcpStream);

impl Raw {
    /// Connects and sends these bytes.
    pub async fn send(address: SocketAddr, request: impl AsRef<[u8]>) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        // A server may refuse before it has read everything; what it says is still to be read.
        let _ = stream.write_all(request.as_ref()).await;
        Self(stream)
    }

    /// A GET with a token, written out.
    pub async fn get(address: SocketAddr, path: &str, token: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: lockgate\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        Self::send(address, request).await
    }

    /// Reads at least `len` bytes, and no more than a buffer beyond.
    pub async fn read_some(&mut self, len: usize) -> Vec<u8> {
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        while read.len() < len {
            let got = timeout(PATIENCE, self.0.read(&mut buffer))
                .await
                .expect("it answers");
            match got.expect("the connection holds") {
                0 => break,
                len => read.extend_from_slice(&buffer[..len]),
            }
        }
        read
    }

    /// A GET whose target is sent as it is written, and its whole answer.
    pub async fn answer(address: SocketAddr, target: &str, token: &str) -> Vec<u8> {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: lockgate\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        Self::send(address, request).await.read_to_end().await
    }

    /// Reads exactly `len` bytes.
    pub async fn read_exactly(&mut self, len: usize) -> Vec<u8> {
        let mut read = vec![0; len];
        let got = timeout(PATIENCE, self.0.read_exact(&mut read)).await;
        got.expect("it answers").expect("the connection holds");
        read
    }

    /// Sends more.
    pub async fn write(&mut self, bytes: &[u8]) {
        let wrote = timeout(PATIENCE, self.0.write_all(bytes)).await;
        wrote.expect("it reads").expect("the connection holds");
    }

    /// Sends as much of this as is taken at once; waits where nothing is.
    pub async fn write_some(&mut self, bytes: &[u8]) -> usize {
        self.0.write(bytes).await.expect("the connection holds")
    }

    /// Has nothing more to say.
    pub async fn finish(&mut self) {
        self.0.shutdown().await.expect("the connection holds");
    }

    /// Reads until the server closes or resets.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match timeout(PATIENCE, self.0.read(&mut buffer))
                .await
                .expect("it ends")
            {
                Ok(0) | Err(_) => return read,
                Ok(len) => read.extend_from_slice(&buffer[..len]),
            }
        }
    }
}

/// The status of an answer read raw; 0 where there was none.
pub fn status(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(64)]).into_owned();
    text.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}
