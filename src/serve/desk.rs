//! The route table: every request comes to the desk, is recorded, and goes to its room.

use std::convert::Infallible;
use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

use super::body::Body;
use super::caps::Caps;
use super::error::Failure;
use super::exchange::{Exchange, Recorder};
use super::gate::{Gate, reason};
use super::listener::Peer;
use super::request::{RequestError, Route};
use super::upstream::{Hop, Tunnels, Upstream, upload};
use super::{head, media, session};
use crate::auth::AuthError;
use crate::authority::{AuthorityError, Target};
use crate::telemetry::{self, Kind, Reason, TraceContext};

/// No route wants a request's body; this much is read so that the connection may go on, and no more.
const MAX_REQUEST_BODY: usize = 64 << 10;
/// How long such a body may take.
const REQUEST_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Answers some requests before any route does: the demo's page.
pub trait Front: Send + Sync {
    /// An answer, or `None` for what is not its own.
    fn answer(&self, parts: &Parts) -> Option<Response<Body>>;
}

/// Where requests arrive.
pub struct Desk {
    /// The gate of the moment.
    pub gate: Arc<ArcSwap<Gate>>,
    /// Where they are recorded.
    pub recorder: Arc<Recorder>,
    /// What all annotators together may hold.
    pub caps: Arc<Caps>,
    /// What comes before the routes, if anything.
    pub front: Option<Arc<dyn Front>>,
    /// Connections that were upgraded.
    pub tunnels: Tunnels,
}

/// A connection's service.
pub struct Service(Arc<Seat>);

/// What a connection's requests need, under a count of its own: what all connections count together travels between
/// processors with each request.
struct Seat {
    desk: Arc<Desk>,
    recorder: Arc<Recorder>,
    peer: Peer,
}

impl Desk {
    /// The service of one connection.
    pub fn service(self: Arc<Self>, peer: Peer) -> Service {
        Service(Arc::new(Seat {
            recorder: Arc::new(Recorder::clone(&self.recorder)),
            desk: self,
            peer,
        }))
    }

    /// Records what came in place of a request, and gives the answer to it.
    pub fn refuse_unread(&self, failure: &Failure) -> Response<Bytes> {
        let mut exchange = Exchange::unread(&self.recorder);
        exchange.answered(failure.status());
        tracing::debug!(request_id = %exchange.request_id(), "{failure}");
        failure.respond(exchange.request_id())
    }

    async fn answer(
        &self,
        peer: Peer,
        recorder: &Arc<Recorder>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let (parts, incoming) = request.into_parts();
        let traceparent = parts
            .headers
            .get("traceparent")
            .and_then(|value| value.to_str().ok());
        let trace = recorder.traces.take_up(traceparent);
        let mut exchange = Exchange::begin(recorder, &parts.method, &trace);
        let checked = head::check(&parts);
        let front = self.front.as_ref().filter(|_| checked.is_ok());
        if let Some(answer) = front.and_then(|front| front.answer(&parts)) {
            return finish(answer, exchange);
        }
        let checked = match checked {
            // One place too many: nothing is begun, and the client comes back elsewhere.
            Ok(()) if peer.crowded => Err(Failure::Overloaded),
            checked => checked.map_err(Failure::from),
        };
        if checked.is_ok()
            && self.gate.load().upstream.is_some()
            && let Ok(route) = Route::of(&parts.uri)
        {
            let gate = self.gate.load_full();
            if let Some(upstream) = gate.application_for(&route) {
                return self
                    .pass_on(&gate, upstream, (parts, incoming), peer, &trace, exchange)
                    .await;
            }
        }
        let read = match checked {
            Ok(()) => drain(incoming).await,
            Err(failure) => Err(failure),
        };
        // Taken only now: a client may have stretched its request over a reload.
        let gate = self.gate.load_full();
        let unread = read.is_err();
        let answered = match read {
            Ok(()) => {
                let route = self.route(&gate, &parts, (peer, &trace), &mut exchange);
                // A panic in one request is that request's failure and nobody else's.
                let caught = std::panic::AssertUnwindSafe(route).catch_unwind().await;
                caught.unwrap_or(Err(Failure::Internal("a panic while answering")))
            }
            Err(failure) => Err(failure),
        };
        let mut response =
            answered.unwrap_or_else(|failure| refuse(&failure, &parts, &mut exchange));
        // What is left of a body that was not read would be taken for the next request.
        if unread || head::closes(&parts) {
            head::close(response.headers_mut());
        }
        gate.cors.decorate(&parts.headers, response.headers_mut());
        secure(&gate, &mut response);
        finish(response, exchange)
    }

    /// What is no route of ours goes to the application, its body unread; its answer is not decorated.
    async fn pass_on(
        &self,
        gate: &Gate,
        upstream: &Upstream,
        (parts, incoming): (Parts, Incoming),
        peer: Peer,
        trace: &TraceContext,
        mut exchange: Exchange,
    ) -> Response<Body> {
        exchange.routed(telemetry::Route::Upstream);
        let has_body = !incoming.is_end_stream();
        let traces = &self.recorder.traces;
        let asked = traces.step(trace, "upstream", Kind::Client);
        let hop = Hop {
            peer,
            trace: &asked.context(),
            request_id: exchange.request_id(),
            tunnels: &self.tunnels,
        };
        let forwarded = upstream.forward(&parts, has_body.then(|| upload(incoming)), &hop);
        let caught = std::panic::AssertUnwindSafe(forwarded).catch_unwind().await;
        let forwarded =
            caught.unwrap_or(Err(Failure::Internal("a panic while passing a request on")));
        let mut response = asked.end(forwarded).unwrap_or_else(|failure| {
            let mut response = refuse(&failure, &parts, &mut exchange);
            if has_body {
                head::close(response.headers_mut());
            }
            gate.cors.decorate(&parts.headers, response.headers_mut());
            response
        });
        secure(gate, &mut response);
        if head::closes(&parts) {
            head::close(response.headers_mut());
        }
        finish(response, exchange)
    }

    async fn route(
        &self,
        gate: &Gate,
        parts: &Parts,
        from: (Peer, &TraceContext),
        exchange: &mut Exchange,
    ) -> Result<Response<Body>, Failure> {
        let route = Route::of(&parts.uri)?;
        exchange.routed(label(&route));
        route.check_method(&parts.method)?;
        if parts.method == Method::OPTIONS && route != Route::Other {
            return Ok(gate
                .cors
                .preflight(&parts.headers, route.allow())
                .map(|()| Body::empty()));
        }
        match route {
            Route::Media(target) => {
                exchange.about(&target);
                media::answer(self, gate, parts, target, from, exchange).await
            }
            Route::Session if !gate.exchanges_tokens => Err(Failure::NoSuchRoute),
            Route::Session => session::answer(gate, parts, &self.recorder, exchange).await,
            Route::Other => Err(Failure::NoSuchRoute),
        }
    }
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let seat = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = seat.desk.answer(seat.peer, &seat.recorder, request);
            Ok(answer.await)
        })
    }
}

fn label(route: &Route) -> telemetry::Route {
    match route {
        Route::Media(Target::Task(_)) => telemetry::Route::Tasks,
        Route::Media(Target::Project(_)) => telemetry::Route::Projects,
        Route::Media(Target::AnyProject) => telemetry::Route::LocalFiles,
        Route::Session => telemetry::Route::Session,
        Route::Other => telemetry::Route::Other,
    }
}

/// Reads a request's body to its end, so that nothing of it is taken for the next request.
async fn drain(incoming: Incoming) -> Result<(), Failure> {
    if incoming.is_end_stream() {
        return Ok(());
    }
    if incoming.size_hint().lower() > MAX_REQUEST_BODY as u64 {
        return Err(Failure::ContentTooLarge);
    }
    let mut body = Limited::new(incoming, MAX_REQUEST_BODY);
    let read = async {
        while let Some(frame) = body.frame().await {
            frame?;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    };
    match tokio::time::timeout(REQUEST_BODY_TIMEOUT, read).await {
        Err(_) => Err(Failure::RequestTimeout),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Failure::ContentTooLarge),
        Ok(Err(error)) => Err(broken_body(error.as_ref())),
        Ok(Ok(())) => Ok(()),
    }
}

/// A body whose chunks are none (RFC 9112 §7.1), or that its client broke off.
fn broken_body(error: &(dyn std::error::Error + 'static)) -> Failure {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let io = causes.filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    let mut kinds = io.map(std::io::Error::kind);
    let malformed = |kind| matches!(kind, ErrorKind::InvalidInput | ErrorKind::InvalidData);
    if kinds.any(malformed) {
        RequestError::BadFraming.into()
    } else {
        Failure::RequestTimeout
    }
}

fn refuse(failure: &Failure, parts: &Parts, exchange: &mut Exchange) -> Response<Body> {
    let status = failure.status();
    if let Some(reason) = refusal(failure) {
        exchange.refused(status, reason);
    }
    let request_id = exchange.request_id();
    if status.is_server_error() {
        tracing::warn!(%request_id, status = status.as_u16(), "{failure}");
    } else {
        tracing::debug!(%request_id, status = status.as_u16(), "{failure}");
    }
    let head_only = parts.method == Method::HEAD;
    failure.respond(request_id).map(|bytes| {
        if head_only {
            Body::empty()
        } else {
            Body::whole(bytes)
        }
    })
}

/// Why somebody was refused; none: the failure says nothing about what they may see.
fn refusal(failure: &Failure) -> Option<Reason> {
    match failure {
        Failure::Denied(denied) => Some(reason(*denied)),
        Failure::Auth(AuthError::Missing | AuthError::Invalid(_))
        | Failure::Authority(AuthorityError::NotAuthenticated) => Some(Reason::Unauthenticated),
        Failure::Auth(AuthError::NoKeys | AuthError::Unavailable(_))
        | Failure::Authority(AuthorityError::Unavailable(_))
        | Failure::Request(_)
        | Failure::Content(_)
        | Failure::RangeNotSatisfiable(_)
        | Failure::NoSuchRange
        | Failure::PreconditionFailed
        | Failure::NotAcceptable
        | Failure::TooManyRequests(_)
        | Failure::Overloaded
        | Failure::RequestTimeout
        | Failure::ContentTooLarge
        | Failure::HeaderFieldsTooLarge
        | Failure::BadRequest(_)
        | Failure::Upstream(_)
        | Failure::NoSuchRoute
        | Failure::NotPassedOn
        | Failure::Internal(_) => None,
    }
}

/// Keeps browsers with TLS, for the whole host; what the application says of it itself stays.
fn secure(gate: &Gate, response: &mut Response<Body>) {
    if let Some(hsts) = &gate.hsts {
        let field = response
            .headers_mut()
            .entry(header::STRICT_TRANSPORT_SECURITY);
        field.or_insert_with(|| hsts.clone());
    }
}

fn finish(response: Response<Body>, mut exchange: Exchange) -> Response<Body> {
    exchange.answered(response.status());
    response.map(|body| body.recorded(exchange))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{AccessLog, AuditConfig, AuditLog, Destination, Metrics};

    #[tokio::test]
    async fn every_401_and_403_is_audited_whoever_said_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.log");
        let audit = AuditConfig {
            path: path.clone(),
            window: Duration::from_secs(1),
            max_size: 1 << 20,
            keep: 1,
        };
        let metrics = Metrics::new().expect("metrics");
        let log = AccessLog::start(Destination::Off, &metrics).expect("a log");
        let audit = AuditLog::start(Some(&audit), &metrics).expect("a log");
        let recorder = Arc::new(Recorder {
            log: Arc::new(log),
            audit: Arc::new(audit),
            denials: Default::default(),
            traces: Default::default(),
            metrics: Arc::new(metrics),
            cut: Default::default(),
        });
        let parts = Request::new(()).into_parts().0;
        let mut answers = Vec::new();
        for failure in [
            Failure::from(AuthError::Missing),
            AuthError::Invalid("expired").into(),
            AuthError::NoKeys.into(),
            AuthorityError::NotAuthenticated.into(),
            AuthorityError::Unavailable("down".to_owned()).into(),
            crate::access::Denied::NotInTask.into(),
            Failure::NoSuchRoute,
        ] {
            let mut exchange = Exchange::unread(&recorder);
            answers.push(refuse(&failure, &parts, &mut exchange).status().as_u16());
        }
        recorder.audit.close().await;
        answers.retain(|status| [401, 403].contains(status));
        let written = std::fs::read_to_string(path).expect("the log");
        let audited: Vec<u16> = written
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"))
            .filter_map(|line| line["status"].as_u64()?.try_into().ok())
            .collect();
        assert_eq!((audited, answers.len()), (answers, 4));
    }

    #[test]
    fn every_route_has_its_label() {
        assert_eq!(
            label(&Route::Media(Target::Task("7".into()))),
            telemetry::Route::Tasks
        );
        assert_eq!(
            label(&Route::Media(Target::AnyProject)),
            telemetry::Route::LocalFiles
        );
        assert_eq!(label(&Route::Other), telemetry::Route::Other);
    }
}
