//! The board of windows.

use std::ops::Range;
use std::sync::Arc;

use super::{C, version};
use crate::backend::BackendError;
use crate::content::WINDOW_SIZE;
use crate::content::window::Window;
use crate::content::windows::{Follower, Joined, Windows};

/// A window that must be new.
fn leads(windows: &Arc<Windows>, wanted: Range<u64>) -> (Arc<Window>, Follower) {
    match windows.join(&version(), wanted.clone()) {
        Joined::Leads(window, follower) => (window, follower),
        Joined::Follows(window, _) => panic!("{wanted:?} is under way in {:?}", window.range()),
    }
}

/// A window that must be there.
fn follows(windows: &Arc<Windows>, wanted: Range<u64>) -> (Arc<Window>, Follower) {
    match windows.join(&version(), wanted.clone()) {
        Joined::Follows(window, follower) => (window, follower),
        Joined::Leads(..) => panic!("{wanted:?} is not under way"),
    }
}

fn finish(windows: &Windows, window: &Arc<Window>) {
    window.finish();
    windows.finished(version(), window);
}

#[test]
fn whoever_wants_a_chunk_of_a_window_joins_it_until_it_fails() {
    let windows = Arc::new(Windows::default());
    let (first, _leader) = leads(&windows, 2 * C..6 * C);
    for start in 2..6 {
        let (same, _) = follows(&windows, start * C..20 * C);
        assert!(Arc::ptr_eq(&first, &same));
    }
    let (_, _before) = leads(&windows, C..20 * C);
    let (_, _behind) = leads(&windows, 6 * C..20 * C);
    first.fail(BackendError::Changed);
    assert!(!windows.has(&version(), 2 * C));
    let (second, _successor) = leads(&windows, 2 * C..6 * C);
    windows.failed(&version(), &first);
    let (same, _) = follows(&windows, 2 * C..6 * C);
    assert!(Arc::ptr_eq(&second, &same), "its successor stays");
}

#[test]
fn a_window_ends_where_the_next_one_begins() {
    let windows = Arc::new(Windows::default());
    let (_, _next) = leads(&windows, 5 * C..9 * C);
    let (window, _) = leads(&windows, 2 * C..30 * C);
    assert_eq!(window.range(), 2 * C..5 * C);
    let (window, _) = leads(&windows, 9 * C..30 * C);
    assert_eq!(window.range(), 9 * C..30 * C);
}

#[test]
fn a_window_is_given_up_with_the_last_who_follows_it_and_joined_by_nobody_then() {
    let windows = Arc::new(Windows::default());
    let (window, leader) = leads(&windows, 0..8 * C);
    let (_, follower) = follows(&windows, C..8 * C);
    drop(leader);
    assert!(!window.has_ended());
    drop(follower);
    assert!(window.has_ended() && !windows.has(&version(), 0));
    let (_, _anew) = leads(&windows, 0..8 * C);
}

#[test]
fn who_leaves_a_window_that_failed_does_not_leave_its_successor() {
    let windows = Arc::new(Windows::default());
    let (window, leader) = leads(&windows, 0..8 * C);
    window.fail(BackendError::Changed);
    let (second, _second) = leads(&windows, 0..8 * C);
    drop(leader);
    assert!(!second.has_ended(), "who left had followed another");
}

#[test]
fn finished_windows_stay_without_followers_within_their_bound() {
    let windows = Arc::new(Windows::default());
    for number in 0..10 {
        let start = number * WINDOW_SIZE;
        let (window, follower) = leads(&windows, start..start + WINDOW_SIZE);
        finish(&windows, &window);
        drop(follower);
    }
    let kept = (0..10).filter(|number| windows.has(&version(), number * WINDOW_SIZE));
    assert_eq!(kept.collect::<Vec<_>>(), [6, 7, 8, 9]);
    windows.forget_finished();
    assert!(!windows.has(&version(), 9 * WINDOW_SIZE));
}
