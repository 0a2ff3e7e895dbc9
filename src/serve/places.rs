//! Places for connections: as many as are served, and a few for those past them, who are told so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::watch::Timeouts;

/// Connections past the places, at once: each is told 503 and closed. More wait in the kernel's queue.
const CROWD: usize = 64;
/// What such a connection may take: it is here for one answer.
const CROWD_TIMEOUT: Duration = Duration::from_secs(2);

/// All places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    served: Arc<Semaphore>,
    crowd: Arc<Semaphore>,
    all: usize,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    /// It is past those that are served.
    pub(super) crowded: bool,
}

impl Places {
    pub(super) fn new(served: usize) -> Self {
        let served = served.min(Semaphore::MAX_PERMITS);
        Self {
            served: Arc::new(Semaphore::new(served)),
            crowd: Arc::new(Semaphore::new(CROWD)),
            all: served + CROWD,
        }
    }

    /// The next place, when there is one.
    pub(super) async fn next(&self) -> Option<Place> {
        let (permit, crowded) = tokio::select! {
            biased;
            permit = Arc::clone(&self.served).acquire_owned() => (permit, false),
            permit = Arc::clone(&self.crowd).acquire_owned() => (permit, true),
        };
        let place = |permit| Place {
            _permit: permit,
            crowded,
        };
        permit.ok().map(place)
    }

    /// A place that is served in place of one that is not, where there is one meanwhile.
    pub(super) fn better(&self, place: Place) -> Place {
        if !place.crowded {
            return place;
        }
        match Arc::clone(&self.served).try_acquire_owned() {
            Ok(permit) => Place {
                _permit: permit,
                crowded: false,
            },
            Err(_) => place,
        }
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.all - self.served.available_permits() - self.crowd.available_permits()
    }
}

impl Place {
    /// How long whoever has it may do nothing.
    pub(super) fn timeouts(&self, usual: Timeouts) -> Timeouts {
        if !self.crowded {
            return usual;
        }
        Timeouts {
            handshake: usual.handshake.min(CROWD_TIMEOUT),
            head: usual.head.min(CROWD_TIMEOUT),
            idle: usual.idle.min(CROWD_TIMEOUT),
            write: usual.write.min(CROWD_TIMEOUT),
        }
    }
}
