//! A record's head on disk, as a stranger may leave it there: what it says is believed only where it holds together.

use super::{lines, number};
use crate::cache::CHUNK_SIZE;
use crate::cache::disk::record::{Head, Home, PAGE, compose, name, pages, sum};

/// The bytes' length; a place in the page and what is written there once the page is whole; and the description.
pub fn cache_record(input: &[u8]) {
    let [length, place, patch, described] = lines(input);
    raw(input);
    let home = Home {
        directory: 1,
        generation: 2,
    };
    let length = u32::try_from(number(length, 5)).unwrap_or(u32::MAX);
    let mut page = [0; PAGE];
    if !compose(&mut page, home, length, sum([&b"hello"[..]]), described) {
        assert!(described.len() > PAGE / 2, "what is short fits");
        return;
    }
    holds_together(&page, length);
    let before = page;
    let place = number(place, 0) as usize % PAGE;
    for (byte, patched) in page[place..].iter_mut().zip(patch) {
        *byte = *patched;
    }
    // Whatever is changed is noticed.
    assert!(page == before || Head::decode(&page).is_none());
}

/// Bytes as they are: without their sums they are none.
fn raw(input: &[u8]) {
    let mut page = [0; PAGE];
    let length = input.len().min(PAGE);
    page[..length].copy_from_slice(&input[..length]);
    if let Some(head) = Head::decode(&page) {
        reads_back(&head);
    }
}

/// What is read is within the object it tells of, and is written as it was read.
fn holds_together(page: &[u8; PAGE], length: u32) {
    let Some(head) = Head::decode(page) else {
        return;
    };
    let start = u128::from(head.key.index) * u128::from(CHUNK_SIZE);
    let complete_length = u128::from(head.meta.complete_length);
    assert_eq!(head.length, length);
    assert!(start < complete_length && start + u128::from(length) <= complete_length);
    assert!(u64::from(length) <= CHUNK_SIZE && pages(length) * PAGE >= PAGE + length as usize);
    assert!(u64::from(length) == CHUNK_SIZE || start + u128::from(length) == complete_length);
    assert_eq!(head.key.version.etag, head.meta.etag);
    assert_eq!(
        head.name(),
        name(&head.key.version.location, head.key.index)
    );
    assert!(head.vouches(b"hello") == (length == 5) && !head.vouches(b"hallo"));
    reads_back(&head);
}

fn reads_back(head: &Head) {
    let mut page = [0xaa; PAGE];
    // Escapes may make it longer than it was.
    if head.encode(&mut page) {
        assert_eq!(Head::decode(&page).as_ref(), Some(head));
    }
}
