//! The same question asked once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;

use crate::content::single_flight::{Interest, SingleFlight};
use crate::content::tasks::Tasks;

#[tokio::test]
async fn a_hundred_askers_share_one_answer_and_the_first_may_leave() {
    let (flight, tasks, asked) = (
        SingleFlight::default(),
        Tasks::default(),
        Arc::new(AtomicUsize::new(0)),
    );
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let work = |_| {
        let (gate, asked) = (gate.clone(), asked.clone());
        async move {
            let _ = gate.acquire().await;
            Some(asked.fetch_add(1, Ordering::SeqCst))
        }
    };
    let first = flight.run(&tasks, "key", work);
    assert!(first.now_or_never().is_none(), "the first asks and leaves");
    let others = futures_util::future::join_all((0..100).map(|_| flight.run(&tasks, "key", work)));
    gate.add_permits(1);
    assert!(
        others
            .await
            .iter()
            .all(|answer| *answer == (Some(0), false))
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    gate.add_permits(1);
    assert_eq!(
        flight.run(&tasks, "key", work).await,
        (Some(1), true),
        "an answer is not kept"
    );
}

#[tokio::test]
async fn work_that_panics_is_no_answer_and_does_not_block_the_next() {
    let (flight, tasks) = (SingleFlight::<_, u8>::default(), Tasks::default());
    let broken = flight
        .run(&tasks, "key", |_| async { panic!("planted") })
        .await;
    assert_eq!(broken, (None, true));
    assert_eq!(
        flight.run(&tasks, "key", |_| async { Some(7) }).await,
        (Some(7), true)
    );
}

#[tokio::test]
async fn work_can_tell_that_everybody_has_left() {
    let (flight, tasks) = (SingleFlight::<_, bool>::default(), Tasks::default());
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let work = |interest: Interest| {
        let gate = gate.clone();
        async move {
            let _ = gate.acquire().await;
            interest.is_alive().then_some(true)
        }
    };
    assert!(
        flight.run(&tasks, "key", work).now_or_never().is_none(),
        "asks and leaves"
    );
    gate.add_permits(1);
    while flight.has(&"key") {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        flight.run(&tasks, "key", work).await,
        (Some(true), true),
        "the next one's is answered"
    );
}
