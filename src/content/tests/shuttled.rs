//! The single flight and the window that grows, under many orders of events: the very same files, compiled a second
//! time over shuttle's mutexes, atomics and tasks, which yield to a scheduler that chooses who goes on.
//!
//! What hangs is found as a deadlock. Tokio's `Notify` and `oneshot` are one step each here, with a turn of the others
//! before it: what is within them is tokio's to test.

mod sync {
    pub use std::sync::PoisonError;

    pub use shuttle::sync::atomic::{AtomicUsize, Ordering};
    pub use shuttle::sync::{Arc, Mutex, MutexGuard};

    /// Tokio's, with a turn of the others before every call.
    #[derive(Debug, Default)]
    pub struct Notify {
        turn: AtomicUsize,
        notify: tokio::sync::Notify,
    }

    impl Notify {
        pub fn notified(&self) -> tokio::sync::futures::Notified<'_> {
            self.turn.load(Ordering::SeqCst);
            self.notify.notified()
        }

        pub fn notify_waiters(&self) {
            self.turn.load(Ordering::SeqCst);
            self.notify.notify_waiters();
        }
    }
}

mod tasks {
    #[derive(Default)]
    pub struct Tasks;

    impl Tasks {
        pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
            shuttle::future::spawn(work);
        }
    }
}

#[path = "../single_flight.rs"]
#[allow(clippy::duplicate_mod, reason = "over other primitives")]
mod single_flight;
#[path = "../window.rs"]
#[allow(clippy::duplicate_mod, reason = "over other primitives")]
#[expect(dead_code, reason = "not all of it is asked for here")]
mod window;

use bytes::Bytes;
use futures_util::FutureExt;
use shuttle::future::block_on;
use shuttle::thread;

use crate::backend::BackendError;
use single_flight::{Interest, SingleFlight};
use sync::{Arc, AtomicUsize, Ordering};
use tasks::Tasks;
use window::Window;

/// As many orders as a second or two allow, half of them drawn evenly, half with few changes of turn (PCT), which finds
/// what needs a certain order of a few steps.
fn every_order(scenario: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(scenario.clone(), 1_000);
    shuttle::check_pct(scenario, 1_000, 3);
}

/// Asks, and asks again where the work gave itself up as it was joined.
fn ask(flight: &SingleFlight<u8, usize>, works: &Arc<AtomicUsize>) -> (usize, bool) {
    for _ in 0..4 {
        let works = works.clone();
        let work = |interest: Interest| async move {
            shuttle::future::yield_now().await;
            interest
                .is_alive()
                .then(|| works.fetch_add(1, Ordering::SeqCst))
        };
        if let (Some(answer), leads) = block_on(flight.run(&Tasks, 1, work)) {
            return (answer, leads);
        }
    }
    panic!("given up four times, with somebody waiting");
}

#[test]
fn askers_share_flights_and_no_answer_is_older_than_its_question() {
    every_order(|| {
        let flight = Arc::new(SingleFlight::default());
        let works = Arc::new(AtomicUsize::new(0));
        let askers: Vec<_> = (0..3)
            .map(|_| {
                let (flight, works) = (flight.clone(), works.clone());
                thread::spawn(move || {
                    let (first, led) = ask(&flight, &works);
                    let (second, led_again) = ask(&flight, &works);
                    assert!(first < second, "an answer from before the question");
                    usize::from(led) + usize::from(led_again)
                })
            })
            .collect();
        let led: usize = askers.into_iter().map(|a| a.join().expect("asks")).sum();
        assert_eq!(led, works.load(Ordering::SeqCst), "each work is somebody's");
        assert!(!flight.has(&1), "nothing stays on the board");
    });
}

#[test]
fn who_stays_is_answered_whoever_leaves() {
    every_order(|| {
        let flight = Arc::new(SingleFlight::default());
        let works = Arc::new(AtomicUsize::new(0));
        let leaver = {
            let (flight, works) = (flight.clone(), works.clone());
            thread::spawn(move || {
                let work = |interest: Interest| async move {
                    shuttle::future::yield_now().await;
                    interest
                        .is_alive()
                        .then(|| works.fetch_add(1, Ordering::SeqCst))
                };
                let _ = flight.run(&Tasks, 1, work).now_or_never();
            })
        };
        let stayer = {
            let (flight, works) = (flight.clone(), works.clone());
            thread::spawn(move || ask(&flight, &works).0)
        };
        leaver.join().expect("leaves");
        let answer = stayer.join().expect("stays");
        assert!(answer < works.load(Ordering::SeqCst));
    });
}

const FRAMES: [&[u8]; 3] = [b"01", b"234", b"56789"];

/// Reads from `begin` to the end of what comes; whether it ended with a failure.
fn follow(window: &Window, begin: u64) -> (Vec<u8>, bool) {
    let mut read = Vec::new();
    loop {
        let offset = begin + read.len() as u64;
        if offset == 10 {
            return (read, false);
        }
        match block_on(window.at(offset)) {
            Ok(bytes) => read.extend_from_slice(&bytes),
            Err(_) => return (read, true),
        }
    }
}

/// Where a follower begins, and what it read up to the end or a failure.
type Follower = (u64, thread::JoinHandle<(Vec<u8>, bool)>);

fn followers(window: &Arc<Window>) -> Vec<Follower> {
    let follower = |begin| {
        let window = window.clone();
        (begin, thread::spawn(move || follow(&window, begin)))
    };
    [0, 3, 9].map(follower).into()
}

#[test]
fn every_follower_reads_every_byte_of_a_window_that_grows() {
    every_order(|| {
        let window = Arc::new(Window::default());
        let followers = followers(&window);
        for frame in FRAMES {
            window.push(Bytes::from_static(frame));
        }
        assert_eq!(window.finish().len(), 10);
        for (begin, follower) in followers {
            let (read, failed) = follower.join().expect("reads");
            assert_eq!(read, b"0123456789"[begin as usize..]);
            assert!(!failed);
        }
    });
}

#[test]
fn every_follower_reads_what_came_before_a_failure_and_then_the_failure() {
    every_order(|| {
        let window = Arc::new(Window::default());
        let followers = followers(&window);
        window.push(Bytes::from_static(FRAMES[0]));
        window.push(Bytes::from_static(FRAMES[1]));
        window.fail(BackendError::Changed);
        for (begin, follower) in followers {
            let (read, failed) = follower.join().expect("reads");
            assert_eq!(read, b"01234".get(begin as usize..).unwrap_or_default());
            assert!(failed);
        }
    });
}
