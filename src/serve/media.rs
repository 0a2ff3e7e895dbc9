//! THE handler: a request for media, from its head to the first byte of its answer. Calls each room once, in order;
//! the output of each is the only key to the next.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::Response;
use http::request::Parts;

use super::accept::{acceptable, is_data};
use super::application;
use super::body::Body;
use super::content_type::ContentType;
use super::credentials::credentials;
use super::desk::Desk;
use super::error::Failure;
use super::exchange::{Exchange, Recorder};
use super::gate::Gate;
use super::limits::{Pace, RetryAfter};
use super::listener::Peer;
use super::preconditions::Verdict;
use super::recheck::{ASK_EVERY, Begun, Recheck, Source, rechecked};
use super::request::MediaRequest;
use super::response::{self, Selected, media_head};
use super::upstream::Hop;
use crate::auth::Annotator;
use crate::authority::Target;
use crate::backend::{BackendError, PresignOptions};
use crate::content::{ContentError, Extent, FirstRead, Opened, WINDOW_SIZE};
use crate::ids::ProjectId;
use crate::object::ObjectMeta;
use crate::project::Delivery;
use crate::range::{ByteRange, RangeSpec};
use crate::resolve::ResolvedObject;
use crate::telemetry::{Kind, TraceContext};

/// A request that was permitted, on its way to the bytes.
struct Permitted<'a> {
    desk: &'a Desk,
    gate: &'a Gate,
    parts: &'a Parts,
    request: MediaRequest,
    annotator: Arc<Annotator>,
    object: ResolvedObject,
    project: Option<ProjectId>,
    admitted_at: Instant,
    trace: TraceContext,
}

/// Answers GET and HEAD of media.
pub async fn answer(
    desk: &Desk,
    gate: &Gate,
    parts: &Parts,
    target: Target,
    (peer, trace): (Peer, &TraceContext),
    exchange: &mut Exchange,
) -> Result<Response<Body>, Failure> {
    let request = MediaRequest::from_parts(parts, target)?;
    exchange.asked_for(&request.uri);
    let credentials = credentials(parts, gate.cookie.name(), true);
    let traces = &desk.recorder.traces;
    let step = traces.step(trace, "authenticate", Kind::Internal);
    let annotator = step.end(gate.authenticate(credentials, &desk.recorder).await)?;
    exchange.asked_by(&annotator.subject);
    gate.limits.check_request(&annotator.subject)?;
    let admitted_at = Instant::now();
    let step = traces.step(trace, "entitle", Kind::Internal);
    let admitted = gate
        .admit(&annotator, &request.target, &request.uri, &desk.recorder)
        .await;
    let (permit, object) = step.end(admitted)?;
    let project = permit.projects().first().map(|project| project.id.clone());
    exchange.served_from(project.as_ref(), &object.location().storage);
    // After the decision: who is refused must not learn how busy a project is.
    if let Some(project) = &project {
        gate.project_limits.check_request(project)?;
    }
    if !is_data(&parts.headers) {
        return Err(Failure::NotAcceptable);
    }
    let permitted = Permitted {
        desk,
        gate,
        parts,
        request,
        annotator,
        object,
        project,
        admitted_at,
        trace: *trace,
    };
    let answered = match permitted.object.delivery() {
        Delivery::Redirect => permitted.redirect().await,
        Delivery::Proxy => permitted.proxy(exchange).await,
        Delivery::Application => permitted.pass_on(peer, trace, exchange).await,
    };
    // Storage may have taken its time: what was permitted then may no longer be.
    if admitted_at.elapsed() >= ASK_EVERY {
        permitted.recheck().ask().await?;
    }
    answered
}

impl Permitted<'_> {
    /// 303 with a presigned URL.
    async fn redirect(&self) -> Result<Response<Body>, Failure> {
        // Storage's own type is known from a HEAD, which is remembered. Where it cannot be asked from here the URL
        // may still work from there.
        let content_type = match self.open(FirstRead::Unknown).await {
            Ok(opened) => overriding_content_type(opened.meta(), self.request.uri.file_name()),
            Err(ContentError::Backend(
                error @ (BackendError::NotFound | BackendError::NoSuchBucket),
            )) => {
                return Err(ContentError::Backend(error).into());
            }
            Err(_) => None,
        };
        // Never past the annotator's own credential, which is why they get it at all; storage's is its room's matter.
        let left = self
            .annotator
            .expires_at
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let options = PresignOptions {
            head_only: self.request.head_only,
            expiry: self.object.presign_expiry().min(left),
            content_type,
        };
        let presigned = self.gate.reader.presign(&self.object, &options).await?;
        Ok(response::redirect(&presigned)?.map(|()| Body::empty()))
    }

    /// The bytes. A version that is gone before the head was sent is given up for its successor, once.
    async fn proxy(&self, exchange: &mut Exchange) -> Result<Response<Body>, Failure> {
        match self.try_proxy(exchange).await {
            Err(Failure::Content(ContentError::Backend(BackendError::Changed))) => {
                self.try_proxy(exchange).await
            }
            answered => answered,
        }
    }

    async fn try_proxy(&self, exchange: &mut Exchange) -> Result<Response<Body>, Failure> {
        let request = &self.request;
        // Before storage is asked: a body too many costs it nothing.
        let place = self.desk.caps.begin()?;
        let pace = self.pace()?;
        let opened = self.open(self.first_read()).await?;
        exchange.cached(opened.status());
        let meta = opened.meta();
        let content_type = ContentType::of(meta.content_type.as_deref(), request.uri.file_name());
        if !acceptable(&self.parts.headers, content_type.essence()) {
            return Err(Failure::NotAcceptable);
        }
        let head = |selected: &Selected| {
            media_head(
                selected,
                meta,
                request.uri.file_name(),
                &content_type,
                &self.gate.delivery,
            )
        };
        match request.preconditions.evaluate(meta) {
            Verdict::Proceed => {}
            Verdict::NotModified => return Ok(head(&Selected::NotModified).map(|()| Body::empty())),
            Verdict::Failed => return Err(Failure::PreconditionFailed),
        }
        let part = self.part(meta)?;
        let head = head(&part.clone().map_or(Selected::Whole, Selected::Part));
        let Some(range) = part.or_else(|| ByteRange::whole(meta.complete_length)) else {
            return Ok(head.map(|()| Body::empty()));
        };
        exchange.ranged(range.range());
        if request.head_only {
            return Ok(head.map(|()| Body::empty()));
        }
        let place = place.hold(range.len())?;
        let body = self.body(opened, &range, pace, exchange).await?;
        Ok(head.map(|()| body.held_by(place)))
    }

    fn pace(&self) -> Result<Pace, RetryAfter> {
        let limits = &self.gate.project_limits;
        let project = self.project.as_ref();
        Ok(Pace {
            annotator: self.gate.limits.begin_stream(&self.annotator.subject)?,
            project: project.map(|id| limits.begin_stream(id)).transpose()?,
        })
    }

    /// The application's own answer, where only it has the media.
    async fn pass_on(
        &self,
        peer: Peer,
        trace: &TraceContext,
        exchange: &Exchange,
    ) -> Result<Response<Body>, Failure> {
        let place = self.desk.caps.begin()?;
        let pace = self.pace()?;
        let traces = &self.desk.recorder.traces;
        let asked = traces.step(trace, "upstream", Kind::Client);
        let hop = Hop {
            peer,
            trace: &asked.context(),
            request_id: exchange.request_id(),
            tunnels: &self.desk.tunnels,
        };
        let question = &self.object.location().key;
        let answer =
            application::answer(self.gate, self.parts, &hop, question, &self.request).await;
        let answer = asked.end(answer)?;
        let place = place.hold(answer.body().at_most())?;
        let begun = Begun {
            asked_at: self.admitted_at,
            sent: 0,
        };
        let guard = |frames| {
            let frames = Source::Application(frames);
            rechecked(frames, self.recheck(), pace, begun)
        };
        Ok(answer.map(|body| body.guarded(guard).held_by(place)))
    }

    async fn open(&self, first: FirstRead) -> Result<Opened, ContentError> {
        let traces = &self.desk.recorder.traces;
        let step = traces.step(&self.trace, "open", Kind::Internal);
        let trace = Some(step.context());
        step.end(self.gate.reader.open(&self.object, first, trace).await)
    }

    /// What is read first, as far as the request tells.
    fn first_read(&self) -> FirstRead {
        let range = match self.request.range {
            _ if self.request.head_only => return FirstRead::Unknown,
            None => 0..u64::MAX,
            Some(RangeSpec::From { first_pos }) => {
                let max = self.gate.delivery.max_range_size.unwrap_or(u64::MAX);
                first_pos..first_pos.saturating_add(max)
            }
            Some(RangeSpec::FromTo {
                first_pos,
                last_pos,
            }) => first_pos..last_pos.saturating_add(1),
            Some(RangeSpec::Suffix { .. }) => return FirstRead::Unknown,
        };
        let extent = self.extent(range.end - range.start);
        FirstRead::At(range, extent)
    }

    /// How far `length` bytes are going to be read: a range that is open, or wider than a window, is what players ask
    /// for, who stop when they have enough.
    fn extent(&self, length: u64) -> Extent {
        match self.request.range {
            None => Extent::Bounded,
            Some(RangeSpec::From { .. }) if self.gate.delivery.max_range_size.is_none() => {
                Extent::Open
            }
            Some(_) if length > WINDOW_SIZE => Extent::Open,
            Some(_) => Extent::Bounded,
        }
    }

    /// The part that was asked for; `None`: everything.
    fn part(&self, meta: &ObjectMeta) -> Result<Option<ByteRange>, Failure> {
        let applies = |_: &RangeSpec| {
            self.request
                .preconditions
                .range_applies(meta, SystemTime::now())
        };
        let Some(spec) = self.request.range.filter(applies) else {
            return Ok(None);
        };
        let part = spec.satisfy(meta.complete_length)?;
        Ok(match self.gate.delivery.max_range_size {
            Some(max) => part.map(|part| part.cut_to(max)),
            None => part,
        })
    }

    /// The body, whose first bytes are at hand before the head is sent: until then a failure has a status.
    async fn body(
        &self,
        opened: Opened,
        range: &ByteRange,
        pace: Pace,
        exchange: &mut Exchange,
    ) -> Result<Body, Failure> {
        let extent = self.extent(range.len());
        let mut content = opened.into_stream(range, extent);
        let first = content.next().await?.unwrap_or_default();
        exchange.cached(content.status());
        let sent = first.len() as u64;
        pace.throttle(sent).await;
        if content.left() == 0 {
            return Ok(Body::whole(first));
        }
        let begun = Begun {
            asked_at: self.admitted_at,
            sent,
        };
        let content = Source::Content(Box::new(content));
        let rest = rechecked(content, self.recheck(), pace, begun);
        Ok(Body::media(first, rest, range.len()))
    }

    /// Who sees what, to be asked again.
    fn recheck(&self) -> Recheck {
        Recheck {
            gate: self.desk.gate.clone(),
            recorder: Recorder::clone(&self.desk.recorder),
            annotator: self.annotator.clone(),
            target: self.request.target.clone(),
            uri: self.request.uri.clone(),
            location: self.object.location().clone(),
        }
    }
}

/// The type that a presigned URL makes storage answer with: the extension's, where storage's own says nothing.
fn overriding_content_type(meta: &ObjectMeta, file_name: &str) -> Option<String> {
    let own = meta.content_type.as_deref();
    let shown = ContentType::of(own, file_name);
    let shown = shown.value().to_str().ok()?;
    (own != Some(shown)).then(|| shown.to_owned())
}
