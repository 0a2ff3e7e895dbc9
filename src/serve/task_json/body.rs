//! An answer with task JSON in it, as it is handed on: the head made true again, the body rewritten as it passes.
//!
//! Buffers no more than [`TaskJson`] holds back. An answer that is not whole (206), not JSON, or compressed passes as it is.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, RANGE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::{Shape, TaskJson};

/// A body whose frames are `Bytes`, as hyper's are.
pub trait Pieces: Body<Data = Bytes> + Unpin {}

impl<B: Body<Data = Bytes> + Unpin> Pieces for B {}

/// Makes a request for task JSON one whose answer can be read: not compressed, and whole.
pub fn ask_for_plain_json(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.remove(RANGE);
}

/// Wraps an answer to a request that [`super::applies`] to.
pub fn rewrite<B: Pieces>(shape: Shape, answer: Response<B>) -> Response<TaskJsonBody<B>> {
    let (mut head, body) = answer.into_parts();
    let plain = head
        .headers
        .get(CONTENT_ENCODING)
        .is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if head.status != StatusCode::OK || !plain || !is_json(&head.headers) {
        return Response::from_parts(head, TaskJsonBody::untouched(body));
    }
    // RFC 9110 §7.7: these were of another representation, whose length is known only at its end.
    for name in [CONTENT_LENGTH, ETAG, ACCEPT_RANGES] {
        head.headers.remove(name);
    }
    for name in ["content-md5", "digest", "content-digest", "repr-digest"] {
        head.headers.remove(name);
    }
    Response::from_parts(head, TaskJsonBody::new(shape, body))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media_type = value.unwrap_or_default().split(|b| *b == b';').next();
    media_type.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"application/json"))
}

/// The body of such an answer. A body that breaks off breaks off here, too.
pub struct TaskJsonBody<B> {
    body: B,
    /// `None`: the body passes as it is.
    json: Option<TaskJson>,
    /// Trailers, which come behind what was held back.
    trailers: Option<Frame<Bytes>>,
    /// The body has said all.
    ended: bool,
}

impl<B> TaskJsonBody<B> {
    /// Rewrites a body of this shape.
    pub fn new(shape: Shape, body: B) -> Self {
        Self {
            body,
            json: Some(TaskJson::new(shape)),
            trailers: None,
            ended: false,
        }
    }

    /// A body of the same type that is not looked at.
    pub fn untouched(body: B) -> Self {
        Self {
            body,
            json: None,
            trailers: None,
            ended: false,
        }
    }

    /// What was held back, where there is any; from then on nothing is.
    fn rest(&mut self) -> Option<Frame<Bytes>> {
        let rest = self.json.as_mut()?.finish();
        (!rest.is_empty()).then(|| Frame::data(rest))
    }
}

impl<B: Pieces> Body for TaskJsonBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        while !this.ended {
            let frame = match std::task::ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.ended = true;
                    return Poll::Ready(this.rest().map(Ok));
                }
            };
            let Some(json) = &mut this.json else {
                return Poll::Ready(Some(Ok(frame)));
            };
            match frame.into_data() {
                Ok(piece) => {
                    let piece = json.feed(piece);
                    // All of it is held: the next frame is asked for, so that this task is woken by it.
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                }
                Err(trailers) => {
                    let Some(rest) = this.rest() else {
                        return Poll::Ready(Some(Ok(trailers)));
                    };
                    this.trailers = Some(trailers);
                    return Poll::Ready(Some(Ok(rest)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        // Something may be held, and is known to be none only at the end.
        self.json.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.json {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}
