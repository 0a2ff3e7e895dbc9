//! Everything that one request needs, as configured at one moment; a reload swaps it whole.
//!
//! Fetches the facts and asks for the decision; decides nothing itself.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;

use super::cors::Cors;
use super::error::Failure;
use super::limits::Limits;
use super::request::Route;
use super::upstream::Upstream;
use super::{DeliveryConfig, exchange::Recorder};
use crate::access::{Denied, Permit, authorize};
use crate::auth::{Annotator, Credentials, Identify, SessionCookie};
use crate::authority::{Authority, AuthorityError, Target};
use crate::content::Reader;
use crate::ids::{ProjectId, Subject};
use crate::media_uri::MediaUri;
use crate::resolve::{ResolvedObject, Storages};
use crate::telemetry::Reason;

/// An access source that takes longer is taken to be down: a page does not wait longer, and a body that is under way
/// stands still meanwhile.
const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);

/// The gate as it is configured now.
pub struct Gate {
    /// Who is it.
    pub auth: Arc<dyn Identify>,
    /// How a session is carried.
    pub cookie: SessionCookie,
    /// What may they see.
    pub authority: Arc<dyn Authority>,
    /// Where is it.
    pub storages: Storages,
    /// Which bytes.
    pub reader: Reader,
    /// How much of it.
    pub limits: Arc<Limits<Subject>>,
    /// How much of it all who work on one project may have.
    pub project_limits: Arc<Limits<ProjectId>>,
    /// Who may read answers from another origin.
    pub cors: Cors,
    /// `Strict-Transport-Security`, where TLS is on and it is not switched off.
    pub hsts: Option<HeaderValue>,
    /// How answers look.
    pub delivery: DeliveryConfig,
    /// Whether `/session` is a route here: only where tokens are verified here is there one to exchange.
    pub exchanges_tokens: bool,
    /// Who answers what is no media; none: nobody.
    pub upstream: Option<Arc<Upstream>>,
}

impl Gate {
    /// The application, where this route is its own and not the gateway's.
    pub fn application_for(&self, route: &Route) -> Option<&Arc<Upstream>> {
        let theirs = match route {
            Route::Media(_) => false,
            Route::Session => !self.exchanges_tokens,
            Route::Other => true,
        };
        self.upstream.as_ref().filter(|_| theirs)
    }

    /// Who asks; a credential that is missing or not valid is a decision, too.
    pub async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        recorder: &Recorder,
    ) -> Result<Arc<Annotator>, Failure> {
        let begun = Instant::now();
        let annotator = self.auth.authenticate(credentials, SystemTime::now()).await;
        if annotator.is_err() {
            recorder
                .metrics
                .decision(Reason::Unauthenticated, begun.elapsed());
        }
        Ok(annotator?)
    }

    /// Whether this annotator may see this media now, and the object that it is: the facts, the decision, the place.
    pub async fn admit(
        &self,
        annotator: &Annotator,
        target: &Target,
        uri: &MediaUri,
        recorder: &Recorder,
    ) -> Result<(Permit, ResolvedObject), Failure> {
        let begun = Instant::now();
        let decided = |reason| recorder.metrics.decision(reason, begun.elapsed());
        let asked = self.authority.entitle(annotator, target, uri);
        let answered = tokio::time::timeout(SOURCE_TIMEOUT, asked).await;
        let late = |_| Err(AuthorityError::Unavailable("no answer in time".to_owned()));
        let entitlement = match answered.unwrap_or_else(late) {
            Ok(entitlement) => entitlement,
            Err(error) => {
                decided(match error {
                    AuthorityError::Unavailable(_) => Reason::SourceUnavailable,
                    AuthorityError::NotAuthenticated => Reason::Unauthenticated,
                });
                return Err(error.into());
            }
        };
        let admitted =
            authorize(annotator, &entitlement, target, uri, SystemTime::now()).and_then(|permit| {
                self.storages
                    .resolve(&permit)
                    .map(|object| (permit, object))
            });
        decided(match &admitted {
            Ok(_) => Reason::Permitted,
            Err(denied) => reason(*denied),
        });
        Ok(admitted?)
    }
}

/// The word that logs and metrics have for a denial.
pub(super) fn reason(denied: Denied) -> Reason {
    match denied {
        Denied::OutsideScope => Reason::OutsideScope,
        Denied::Expired => Reason::Expired,
        Denied::Unknown => Reason::Unknown,
        Denied::NotMember => Reason::NotMember,
        Denied::NotAssigned => Reason::NotAssigned,
        Denied::NotInTask => Reason::NotInTask,
        Denied::NoStorage => Reason::NoStorage,
    }
}
