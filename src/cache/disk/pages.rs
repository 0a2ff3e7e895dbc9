//! Memory as O_DIRECT wants it (open(2)), kept by each thread that reads: a new one for each read would be zeroed and
//! faulted in each time. No I/O.

use std::cell::RefCell;

use super::record::PAGE;

/// Memory whose bytes begin at a page.
#[derive(Debug, Default)]
pub struct Pages {
    bytes: Vec<u8>,
    start: usize,
}

thread_local! {
    static KEPT: RefCell<Pages> = RefCell::default();
}

impl Pages {
    /// So many bytes, which is a multiple of the page.
    pub fn new(length: usize) -> Self {
        let bytes = vec![0; length + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start }
    }

    /// From the first page on; what is in them is of no meaning until it was written.
    pub fn bytes(&mut self) -> &mut [u8] {
        let length = self.bytes.len().saturating_sub(PAGE);
        &mut self.bytes[self.start..self.start + length]
    }
}

/// Lends this thread's own memory, at least so many bytes of it, which is a multiple of the page.
pub fn with<R>(length: usize, work: impl FnOnce(&mut [u8]) -> R) -> R {
    KEPT.with(|kept| match kept.try_borrow_mut() {
        Ok(mut kept) => {
            if kept.bytes().len() < length {
                *kept = Pages::new(length);
            }
            work(&mut kept.bytes()[..length])
        }
        // Lent already, further up.
        Err(_) => work(Pages::new(length).bytes()),
    })
}
