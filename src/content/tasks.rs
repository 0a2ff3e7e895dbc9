//! The owner of tasks that outlive the request they were begun for: they end with it.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Cancels its tasks when it is dropped.
#[derive(Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    cancelled: CancellationToken,
}

impl Tasks {
    /// Runs work until it is done or the owner goes.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancelled = self.cancelled.clone();
        self.tracker
            .spawn(async move { cancelled.run_until_cancelled(work).await });
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.cancelled.cancel();
    }
}
