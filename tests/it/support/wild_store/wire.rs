//! An answer as it goes over the wire, byte by byte.

use std::ops::Range;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::answer::{Answer, At, Break, Framing};

/// A piece of a body: small enough that a body can be broken anywhere.
const PIECE: u64 = 64 << 10;

/// Sends an answer; `None` where the connection is over.
pub(super) async fn send(
    stream: &mut (impl AsyncWrite + AsyncRead + Unpin),
    answer: &Answer,
) -> Option<()> {
    if let Some((raw, times)) = &answer.raw {
        for _ in 0..*times {
            stream.write_all(raw).await.ok()?;
        }
        return close(stream).await;
    }
    stream.write_all(&answer.before).await.ok()?;
    let head = answer.head();
    match answer.breaks.clone() {
        Some((At::BeforeHead, how)) => broken(stream, how).await?,
        Some((At::MidHead, how)) => {
            stream
                .write_all(&head.as_bytes()[..head.len() / 2])
                .await
                .ok()?;
            return broken(stream, how).await;
        }
        Some((At::Body(_), _)) | None => {}
    }
    stream.write_all(head.as_bytes()).await.ok()?;
    let bodiless = answer.asked.method == "HEAD" || answer.status.starts_with("304");
    if bodiless {
        return (answer.framing != Framing::Close).then_some(());
    }
    let pause = answer.before_break();
    send_body(stream, answer, 0..pause).await?;
    if let Some((At::Body(_), how)) = answer.breaks.clone() {
        broken(stream, how).await?;
        send_body(stream, answer, pause..answer.length()).await?;
    }
    match answer.framing {
        Framing::Length => Some(()),
        Framing::Chunked => stream.write_all(b"0\r\n\r\n").await.ok(),
        Framing::Close => close(stream).await,
    }
}

async fn send_body(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: &Answer,
    mut left: Range<u64>,
) -> Option<()> {
    while !left.is_empty() {
        let length = if answer.drip.is_some() { 1 } else { PIECE };
        let length = length.min(left.end - left.start);
        let piece = answer.piece(left.start, length);
        if answer.framing == Framing::Chunked {
            let line = format!("{length:x}\r\n");
            stream.write_all(line.as_bytes()).await.ok()?;
        }
        stream.write_all(&piece).await.ok()?;
        if answer.framing == Framing::Chunked {
            stream.write_all(b"\r\n").await.ok()?;
        }
        left.start += length;
        if let Some(pause) = answer.drip {
            tokio::time::sleep(pause).await;
        }
    }
    stream.flush().await.ok()
}

async fn broken(stream: &mut (impl AsyncWrite + AsyncRead + Unpin), how: Break) -> Option<()> {
    let _ = stream.flush().await;
    match how {
        Break::Close => close(stream).await,
        // Dropped with what is unread and unsent: the peer sees a reset.
        Break::Reset => None,
        Break::Stall => {
            // Until the other side has had enough.
            let _ = stream.read_u8().await;
            None
        }
        Break::Wait(permits) => {
            permits.acquire().await.ok()?.forget();
            Some(())
        }
    }
}

/// Closes in order: the other side has read everything before this side lets go.
async fn close(stream: &mut (impl AsyncWrite + AsyncRead + Unpin)) -> Option<()> {
    let _ = stream.shutdown().await;
    let _ = stream.read_u8().await;
    None
}
