//! A window as it grows.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;

use super::{C, LENGTH, Step, content, steps};
use crate::backend::BackendError;
use crate::cache::{Chunk, Grown};
use crate::content::window::Window;

fn write(window: &Window, step: Step) {
    match step {
        Step::Grow(grown) => window.grow(grown),
        Step::Complete(chunk) => window.complete(chunk),
    }
}

#[tokio::test]
async fn a_follower_reads_along_as_the_window_grows_and_past_the_end_of_a_chunk() {
    let window = Arc::new(Window::new(0..LENGTH));
    let follower = tokio::spawn({
        let window = window.clone();
        async move {
            let mut read = Vec::new();
            while (read.len() as u64) < LENGTH {
                read.extend_from_slice(&window.at(read.len() as u64).await.expect("bytes"));
            }
            read
        }
    });
    for step in steps() {
        write(&window, step);
        tokio::task::yield_now().await;
    }
    window.finish();
    assert!(window.is_whole());
    assert!(follower.await.expect("joins") == content(0..LENGTH));
    assert_eq!(window.at(C - 2).await.expect("bytes"), content(C - 2..C));
    assert_eq!(
        window.at(C + 7).await.expect("bytes"),
        content(C + 7..LENGTH)
    );
}

#[tokio::test]
async fn positions_are_the_objects_own() {
    let window = Window::new(7 * C..7 * C + 20);
    window.grow(Grown::More(Bytes::from_static(b"abc")));
    window.grow(Grown::More(Bytes::from_static(b"defg")));
    for (position, bytes) in [(0, "abc"), (2, "c"), (3, "defg"), (6, "g")] {
        assert_eq!(window.at(7 * C + position).await.expect("bytes"), bytes);
    }
    assert!(
        window.at(7 * C + 7).now_or_never().is_none(),
        "still to come"
    );
}

#[tokio::test]
async fn what_came_before_a_failure_is_read_and_then_the_failure() {
    let window = Window::new(0..LENGTH);
    for step in steps().into_iter().take(4) {
        write(&window, step);
    }
    window.fail(BackendError::Changed);
    assert_eq!(window.at(1).await.expect("bytes"), content(1..C));
    assert_eq!(
        window.at(C + 1).await.expect("bytes"),
        content(C + 1..C + 3)
    );
    assert!(matches!(window.at(C + 3).await, Err(BackendError::Changed)));
    assert!(window.has_failed());
    assert_eq!(window.chunks(), [Chunk::new(content(0..C))], "it stays");
}

#[tokio::test]
async fn a_window_that_is_nearly_whole_is_not_given_up_and_another_one_is() {
    let window = Window::new(0..2 * C);
    assert!(window.given_up().now_or_never().is_none());
    window.begin();
    window.complete(Chunk::new(content(0..C)));
    assert!(!window.give_up(), "a chunk is missing");
    let window = Window::new(0..2 * C + 1);
    window.begin();
    window.complete(Chunk::new(content(0..C)));
    assert!(window.give_up());
    window.given_up().await;
    assert!(window.has_ended() && !window.has_failed() && !window.is_whole());
}

#[test]
fn a_window_that_storage_has_not_answered_for_is_given_up_however_small() {
    assert!(Window::new(0..10).give_up());
    let window = Window::new(0..10);
    window.begin();
    assert!(!window.give_up());
}

#[test]
fn a_window_that_has_ended_is_not_given_up() {
    for end in [
        Window::finish,
        (|window: &Window| window.fail(BackendError::Changed)) as fn(&Window),
    ] {
        let window = Window::new(0..LENGTH);
        end(&window);
        assert!(!window.give_up());
    }
}
