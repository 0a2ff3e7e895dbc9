//! The S3 operations of the embedded server, over s3s' trait: what Lockgate asks of a store, and PUT and DELETE.
//!
//! Conditions follow RFC 9110 §13.2.2 and S3's GetObject page; never decides who may ask (s3s checks signatures).

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::control::{Control, CutBody};
use super::store::{Content, Object, Store};

/// Bodies are sent in pieces of this size.
const PIECE: u64 = 256 << 10;
/// PUT is for tests and is held in memory: what is larger is refused.
const MAX_PUT: usize = 256 << 20;
/// As many keys as S3 lists at once.
const MAX_KEYS: i32 = 1000;

pub(super) struct Operations {
    pub(super) store: Arc<Store>,
    pub(super) control: Arc<Control>,
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn get_object(
        &self,
        req: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let cut = req.extensions.get::<CutBody>().map(|cut| cut.0);
        let input = req.input;
        let object = self.find(&input.bucket, &input.key)?;
        Conditions::of(&input).check(&object)?;
        let (range, content_range) = satisfy(input.range, &object)?;
        let length = range.end - range.start;
        let body = body(self.control.clone(), object.content.clone(), range, cut);
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::wrap(body)),
            content_length: Some(length as i64),
            content_range,
            content_type: object.content_type,
            content_encoding: object.content_encoding,
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(object.last_modified.into()),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        req: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = req.input;
        let object = self.find(&input.bucket, &input.key)?;
        let conditions = Conditions {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.clone(),
            if_unmodified_since: input.if_unmodified_since.clone(),
        };
        conditions.check(&object)?;
        let (range, content_range) = satisfy(input.range, &object)?;
        // s3s applies the overrides to GET alone.
        let content_type = input.response_content_type.or(object.content_type);
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some((range.end - range.start) as i64),
            content_range,
            content_type,
            content_encoding: object.content_encoding,
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(object.last_modified.into()),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        if !self.store.has_bucket(&input.bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        let prefix = input.prefix.clone().unwrap_or_default();
        let token = input.continuation_token.as_deref().map(decoded);
        let after = token.or(input.start_after.clone()).unwrap_or_default();
        let max_keys = input.max_keys.unwrap_or(MAX_KEYS).clamp(0, MAX_KEYS);
        let mut found = self
            .store
            .list(&input.bucket, &prefix, &after, max_keys as usize + 1);
        let truncated = found.len() > max_keys as usize;
        found.truncate(max_keys as usize);
        let next = found
            .last()
            .filter(|_| truncated)
            .map(|(key, _)| encoded(key.as_ref()));
        let as_url = input.encoding_type.as_ref().map(EncodingType::as_str) == Some("url");
        let told = |text: String| if as_url { encoded(&text) } else { text };
        let contents = found.into_iter().map(|(key, object)| s3s::dto::Object {
            key: Some(told(key)),
            size: Some(object.content.len() as i64),
            e_tag: Some(ETag::Strong(object.etag)),
            last_modified: Some(object.last_modified.into()),
            ..Default::default()
        });
        let contents: Vec<_> = contents.collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix.map(told),
            encoding_type: input.encoding_type,
            max_keys: Some(max_keys),
            key_count: Some(contents.len() as i32),
            is_truncated: Some(truncated),
            next_continuation_token: next,
            contents: Some(contents),
            ..Default::default()
        }))
    }

    async fn head_bucket(
        &self,
        req: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        match self.store.has_bucket(&req.input.bucket) {
            true => Ok(S3Response::new(HeadBucketOutput::default())),
            false => Err(s3_error!(NoSuchBucket)),
        }
    }

    async fn put_object(
        &self,
        req: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        if !self.store.has_bucket(&input.bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        let mut bytes = BytesMut::new();
        if let Some(mut body) = input.body {
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(|_| s3_error!(IncompleteBody))?;
                if bytes.len() + piece.len() > MAX_PUT {
                    return Err(s3_error!(EntityTooLarge));
                }
                bytes.extend_from_slice(&piece);
            }
        }
        let mut object = Object::new(bytes.freeze(), input.content_type.as_deref());
        object.content_encoding = input.content_encoding;
        let e_tag = Some(ETag::Strong(object.etag.clone()));
        self.store.put(&input.bucket, &input.key, object);
        Ok(S3Response::new(PutObjectOutput {
            e_tag,
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.store.remove(&req.input.bucket, &req.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }
}

impl Operations {
    fn find(&self, bucket: &str, key: &str) -> S3Result<Object> {
        match self.store.get(bucket, key) {
            Some(object) => Ok(object),
            None if self.store.has_bucket(bucket) => Err(s3_error!(NoSuchKey)),
            None => Err(s3_error!(NoSuchBucket)),
        }
    }
}

struct Conditions<'a> {
    if_match: Option<&'a ETagCondition>,
    if_none_match: Option<&'a ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl<'a> Conditions<'a> {
    fn of(input: &'a GetObjectInput) -> Self {
        Self {
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            if_modified_since: input.if_modified_since.clone(),
            if_unmodified_since: input.if_unmodified_since.clone(),
        }
    }

    /// RFC 9110 §13.2.2, steps 1 to 4.
    fn check(&self, object: &Object) -> S3Result<()> {
        let modified = Timestamp::from(object.last_modified);
        let passes = match (self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => names(condition, object),
            (None, Some(since)) => modified <= *since,
            (None, None) => true,
        };
        if !passes {
            return Err(s3_error!(PreconditionFailed));
        }
        let unmodified = match (self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => names(condition, object),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        match unmodified {
            true => Err(not_modified(object)),
            false => Ok(()),
        }
    }
}

/// As `encoding-type=url` has it, and as a token of ours is: XML cannot hold every byte that a key may.
fn encoded(key: &str) -> String {
    utf8_percent_encode(key, NON_ALPHANUMERIC).to_string()
}

fn decoded(token: &str) -> String {
    percent_decode_str(token).decode_utf8_lossy().into_owned()
}

fn names(condition: &ETagCondition, object: &Object) -> bool {
    condition.is_any()
        || condition
            .as_etag()
            .is_some_and(|tag| tag.value() == object.etag)
}

/// A 304 carries the validators (RFC 9110 §15.4.5).
fn not_modified(object: &Object) -> S3Error {
    let mut headers = HeaderMap::new();
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", object.etag)) {
        headers.insert(header::ETAG, etag);
    }
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(object.last_modified)) {
        headers.insert(header::LAST_MODIFIED, date);
    }
    let mut error = s3_error!(NotModified);
    error.set_headers(headers);
    error
}

/// The bytes that a range asks for, and their `Content-Range`, inclusive as the header is.
fn satisfy(
    range: Option<s3s::dto::Range>,
    object: &Object,
) -> S3Result<(Range<u64>, Option<String>)> {
    let complete_length = object.content.len();
    let Some(range) = range else {
        return Ok((0..complete_length, None));
    };
    match range.check(complete_length) {
        Ok(bytes) if bytes.start < bytes.end => {
            let content_range =
                format!("bytes {}-{}/{complete_length}", bytes.start, bytes.end - 1);
            Ok((bytes, Some(content_range)))
        }
        Ok(_) | Err(_) => {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&format!("bytes */{complete_length}")) {
                headers.insert(header::CONTENT_RANGE, value);
            }
            let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
            error.set_headers(headers);
            Err(error)
        }
    }
}

fn body(
    control: Arc<Control>,
    content: Content,
    range: Range<u64>,
    cut: Option<u64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Sync + 'static {
    stream::unfold(
        (control, content, range.start),
        move |(control, content, position)| {
            let (start, end) = (range.start, range.end);
            async move {
                if position >= end {
                    return None;
                }
                let sent = position - start;
                let allowed = control
                    .piece_allowed(sent)
                    .await
                    .min(cut.unwrap_or(u64::MAX));
                if allowed <= sent {
                    // What was sent so far leaves the process first: the connection flushes when its body waits.
                    tokio::task::yield_now().await;
                    return Some((
                        Err(io::ErrorKind::ConnectionAborted.into()),
                        (control, content, end),
                    ));
                }
                let next = end.min(position + PIECE.min(allowed - sent));
                let piece = content.read(position..next);
                control
                    .bytes_sent
                    .send_modify(|bytes| *bytes += piece.len() as u64);
                Some((Ok(piece), (control, content, next)))
            }
        },
    )
}
