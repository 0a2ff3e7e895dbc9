//! The single flight, the window that grows and the board of windows, under many orders of events: the very same files,
//! compiled a second time over shuttle's mutexes, atomics and tasks, which yield to a scheduler that chooses who goes on.
//!
//! What hangs is found as a deadlock. Tokio's `Notify` and `oneshot` are one step each here, with a turn of the others
//! before it: what is within them is tokio's to test.

mod sync {
    pub use std::sync::{OnceLock, PoisonError};

    pub use shuttle::sync::atomic::{AtomicUsize, Ordering};
    pub use shuttle::sync::{Arc, Mutex, MutexGuard, Weak};

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

mod plan {
    pub use crate::content::plan::WINDOW_SIZE;
}

#[path = "../single_flight.rs"]
#[allow(clippy::duplicate_mod, reason = "over other primitives")]
mod single_flight;
#[path = "../window.rs"]
#[allow(clippy::duplicate_mod, reason = "over other primitives")]
#[expect(dead_code, reason = "not all of it is asked for here")]
mod window;
#[path = "../windows.rs"]
#[allow(clippy::duplicate_mod, reason = "over other primitives")]
#[expect(dead_code, reason = "not all of it is asked for here")]
mod windows;

use futures_util::FutureExt;
use shuttle::future::block_on;
use shuttle::thread;

use super::{C, LENGTH, Step, content, steps, version};
use crate::backend::BackendError;
use single_flight::{Interest, SingleFlight};
use sync::{Arc, AtomicUsize, Ordering};
use tasks::Tasks;
use window::Window;
use windows::{Follower as Hold, Joined, Windows};

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

fn write(window: &Window, step: Step) {
    match step {
        Step::Grow(grown) => window.grow(grown),
        Step::Complete(chunk) => window.complete(chunk),
    }
}

/// Reads from `begin` on; up to where, and whether it ended with a failure.
fn follow(window: &Window, begin: u64) -> (u64, bool) {
    let mut position = begin;
    while position < LENGTH {
        match block_on(window.at(position)) {
            Ok(bytes) => {
                let end = position + bytes.len() as u64;
                assert!(bytes == content(position..end), "wrong bytes");
                position = end;
            }
            Err(_) => return (position, true),
        }
    }
    (position, false)
}

/// Where a follower begins, and how far it came.
type Following = (u64, thread::JoinHandle<(u64, bool)>);

fn followers(window: &Arc<Window>) -> Vec<Following> {
    let follower = |begin| {
        let window = window.clone();
        (begin, thread::spawn(move || follow(&window, begin)))
    };
    [0, 999, C + 1].map(follower).into()
}

#[test]
fn every_follower_reads_every_byte_of_a_window_that_grows_from_chunk_to_chunk() {
    every_order(|| {
        let window = Arc::new(Window::new(0..LENGTH));
        let followers = followers(&window);
        for step in steps() {
            write(&window, step);
        }
        window.finish();
        for (_, follower) in followers {
            assert_eq!(follower.join().expect("reads"), (LENGTH, false));
        }
    });
}

#[test]
fn every_follower_reads_what_came_before_a_failure_and_then_the_failure() {
    every_order(|| {
        let window = Arc::new(Window::new(0..LENGTH));
        let followers = followers(&window);
        for step in steps().into_iter().take(2) {
            write(&window, step);
        }
        window.fail(BackendError::Changed);
        for (begin, follower) in followers {
            let read = follower.join().expect("reads");
            assert_eq!(read, (begin.max(C - 1), true));
        }
    });
}

/// Fetches a window of the board as `fetch` does: a step at a time, until it is given up.
fn fetch(windows: &Arc<Windows>, window: &Arc<Window>) -> thread::JoinHandle<()> {
    let (windows, window) = (windows.clone(), window.clone());
    thread::spawn(move || {
        let fill = async {
            for step in steps() {
                shuttle::future::yield_now().await;
                write(&window, step);
            }
        };
        let given_up = block_on(async {
            let given_up = std::pin::pin!(window.given_up());
            let fill = std::pin::pin!(fill);
            match futures_util::future::select(given_up, fill).await {
                futures_util::future::Either::Left(_) => true,
                futures_util::future::Either::Right(_) => false,
            }
        });
        if !given_up {
            window.finish();
            windows.finished(version(), &window);
        }
    })
}

/// Follows the window of the object's beginning, and fetches it where it is new.
fn join(
    windows: &Arc<Windows>,
    begun: &AtomicUsize,
) -> (Arc<Window>, Hold, Option<thread::JoinHandle<()>>) {
    match windows.join(&version(), 0..LENGTH) {
        Joined::Follows(window, hold) => (window, hold, None),
        Joined::Leads(window, hold) => {
            begun.fetch_add(1, Ordering::SeqCst);
            let fetch = fetch(windows, &window);
            (window, hold, Some(fetch))
        }
    }
}

#[test]
fn who_stays_reads_every_byte_whoever_leaves_and_nothing_is_fetched_for_nobody() {
    every_order(|| {
        let windows = Arc::new(Windows::default());
        let begun = Arc::new(AtomicUsize::new(0));
        let visitor = |stays: bool| {
            let (windows, begun) = (windows.clone(), begun.clone());
            thread::spawn(move || {
                let (window, hold, fetch) = join(&windows, &begun);
                let read = stays.then(|| follow(&window, 0));
                // Between two frames a reader keeps the hold alone.
                drop(window);
                drop(hold);
                if let Some(fetch) = fetch {
                    fetch.join().expect("it ends, given up or not");
                }
                read
            })
        };
        let visitors = [false, true, false, true].map(visitor);
        for visitor in visitors {
            if let Some(read) = visitor.join().expect("visits") {
                assert_eq!(read, (LENGTH, false), "who joined was given up");
            }
        }
        // Each window but one was given up by a leaver, and no two were under way at once.
        assert!(begun.load(Ordering::SeqCst) <= 3);
    });
}
