//! How many fetches a storage may have under way, and how long one may wait for its turn.
//!
//! A queue without an end would keep storage busy for clients that left long ago, and starve those who wait.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::BackendError;

/// 64 windows of 8 MiB bound a storage's fetches to 512 MiB, and at 20 ms a request still make 3,200 small objects a
/// second.
const MAX_FETCHES: usize = 64;
/// Past this a client is better told to come again (503) than kept waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// One storage's slots; clones share them.
#[derive(Clone, Debug)]
pub struct Slots(Arc<Semaphore>);

impl Default for Slots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_FETCHES)))
    }
}

impl Slots {
    /// A slot, held until the permit goes. `None` where its turn came and `wanted` said that nobody waits any more.
    pub async fn take(
        &self,
        wanted: impl Fn() -> bool,
    ) -> Result<Option<OwnedSemaphorePermit>, BackendError> {
        if let Ok(slot) = self.0.clone().try_acquire_owned() {
            return Ok(Some(slot));
        }
        let busy = || BackendError::throttled("too many fetches are under way");
        let turn = tokio::time::timeout(PATIENCE, self.0.clone().acquire_owned()).await;
        let slot = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        Ok(wanted().then_some(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_that_comes_when_nobody_waits_is_passed_on() {
        let slots = Slots::default();
        let mut taken = Vec::new();
        for _ in 0..MAX_FETCHES {
            taken.push(
                slots
                    .take(|| false)
                    .await
                    .expect("in time")
                    .expect("free slots ask nobody"),
            );
        }
        let (unwanted, wanted) = (slots.take(|| false), slots.take(|| true));
        tokio::pin!(unwanted, wanted);
        tokio::select! {
            biased;
            _ = &mut unwanted => panic!("no slot is free"),
            _ = &mut wanted => panic!("no slot is free"),
            () = tokio::task::yield_now() => {}
        }
        taken.pop();
        assert!(unwanted.await.expect("in time").is_none());
        assert!(wanted.await.expect("in time").is_some());
    }
}
