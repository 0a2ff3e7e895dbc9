//! A blob's own MD5, compared where a read brings the whole blob: the bytes pass once, and are hashed as they pass.
//!
//! Against damage, not against malice. Follows "Get Blob" (`x-ms-blob-content-md5`), as AzCopy compares by default.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName};
use md5::{Digest, Md5};

use super::{BackendError, text};
use crate::backend::{ByteStream, Fetched};

/// The same, with an error in place of the last frame where the whole blob was read and is not what its MD5 is of. Not
/// every blob has one.
pub(super) fn compared(fetched: Fetched, headers: &HeaderMap) -> Fetched {
    let whole = fetched.range == (0..fetched.meta.complete_length);
    let stored = text(headers, HeaderName::from_static("x-ms-blob-content-md5"))
        .and_then(|md5| STANDARD.decode(md5).ok());
    match stored {
        Some(stored) if whole => Fetched {
            body: against(stored, fetched.body),
            ..fetched
        },
        Some(_) | None => fetched,
    }
}

/// The last frame is held back until the sum is known: a client that has the whole length takes what it has for good.
fn against(stored: Vec<u8>, body: ByteStream) -> ByteStream {
    let begin = Some((body, Md5::new(), None::<Bytes>));
    Box::pin(stream::try_unfold(
        (begin, stored),
        |(state, stored)| async move {
            let Some((mut body, mut md5, mut held)) = state else {
                return Ok(None);
            };
            while let Some(frame) = body.next().await {
                let frame = frame?;
                md5.update(&frame);
                if let Some(earlier) = held.replace(frame) {
                    return Ok(Some((earlier, (Some((body, md5, held)), stored))));
                }
            }
            if md5.finalize().as_slice() != stored {
                let reason = "the bytes are not those that the blob's md5 is of";
                return Err(BackendError::Protocol(reason.into()));
            }
            Ok(held.map(|last| (last, (None, stored))))
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The MD5 of "the whole blob".
    const STORED: &str = "pmOarEzj1NcyJzlfJe1ROA==";

    /// The frames that came through, and whether they ended well.
    async fn read(frames: &[&'static str]) -> (Vec<Bytes>, bool) {
        let frames: Vec<_> = frames.iter().map(|frame| Ok(Bytes::from(*frame))).collect();
        let stored = STANDARD.decode(STORED).expect("base64");
        let mut body = against(stored, Box::pin(stream::iter(frames)));
        let mut through = vec![];
        loop {
            match body.next().await {
                Some(Ok(frame)) => through.push(frame),
                Some(Err(_)) => return (through, false),
                None => return (through, true),
            }
        }
    }

    #[tokio::test]
    async fn what_was_stored_passes_frame_by_frame() {
        for frames in [&["the whole blob"][..], &["the ", "whole ", "blob"]] {
            assert_eq!(
                read(frames).await,
                (frames.iter().map(|f| Bytes::from(*f)).collect(), true)
            );
        }
    }

    #[tokio::test]
    async fn of_what_is_damaged_the_last_frame_never_passes() {
        assert_eq!(read(&["the whole b1ob"]).await, (vec![], false));
        assert_eq!(
            read(&["the ", "whole ", "b1ob"]).await,
            (vec!["the ".into(), "whole ".into()], false)
        );
        assert_eq!(read(&[]).await, (vec![], false));
    }
}
