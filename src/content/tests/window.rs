//! A window as it grows.

use std::sync::Arc;

use bytes::Bytes;

use crate::backend::BackendError;
use crate::content::window::Window;

#[tokio::test]
async fn a_follower_reads_along_as_the_window_grows() {
    let window = Arc::new(Window::default());
    let follower = tokio::spawn({
        let window = window.clone();
        async move {
            let mut read = Vec::new();
            while read.len() < 10 {
                read.extend_from_slice(&window.at(read.len() as u64).await.expect("bytes"));
            }
            read
        }
    });
    for frame in ["01", "234", "", "56789"] {
        window.push(Bytes::from_static(frame.as_bytes()));
        tokio::task::yield_now().await;
    }
    assert_eq!(window.finish().len(), 10);
    assert_eq!(follower.await.expect("joins"), b"0123456789");
    assert_eq!(&window.at(7).await.expect("bytes")[..], b"789");
}

#[tokio::test]
async fn what_came_before_a_failure_is_read_and_then_the_failure() {
    let window = Window::default();
    window.push(Bytes::from_static(b"abc"));
    window.fail(BackendError::Changed);
    assert_eq!(&window.at(1).await.expect("bytes")[..], b"bc");
    assert!(matches!(window.at(3).await, Err(BackendError::Changed)));
    assert!(window.has_failed());
}
