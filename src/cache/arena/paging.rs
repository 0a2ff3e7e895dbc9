//! Which pages the arena's memory is taken in. Huge ones are a fifth of the work of small ones where the system has them
//! at hand, and many times the work where it must first move others out of their way, or have the machine's host find
//! them: so it is tried, timed, and left for a while where it was dear.

use std::time::Duration;

/// A region taken in small pages takes about 0.7 ms, in a huge one that is at hand 0.12 ms (a virtual machine of
/// 2026). Longer than this, small ones would have been no dearer.
const DEAR: Duration = Duration::from_millis(1);
/// For how many regions small pages are taken after huge ones were dear; twice as many each time, up to the most.
const LEAST_PAUSE: u32 = 16;
const MOST_PAUSE: u32 = 1024;

/// How a region is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pages {
    Huge,
    Small,
}

/// How that went so far.
#[derive(Debug)]
pub(super) struct Paging {
    /// So many more in small pages.
    small: u32,
    pause: u32,
}

impl Default for Paging {
    fn default() -> Self {
        Self {
            small: 0,
            pause: LEAST_PAUSE,
        }
    }
}

impl Paging {
    /// How to take the next region.
    pub(super) fn next(&mut self) -> Pages {
        let Some(small) = self.small.checked_sub(1) else {
            return Pages::Huge;
        };
        self.small = small;
        Pages::Small
    }

    /// Told how long it took.
    pub(super) fn took(&mut self, pages: Pages, time: Duration) {
        if pages == Pages::Small {
            return;
        }
        if time < DEAR {
            self.pause = LEAST_PAUSE;
        } else {
            self.small = self.pause;
            self.pause = (self.pause * 2).min(MOST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the next regions are taken in small pages, each huge one in `time`.
    fn small(paging: &mut Paging, regions: usize, time: Duration) -> usize {
        let taken = (0..regions).map(|_| {
            let pages = paging.next();
            paging.took(pages, time);
            pages
        });
        taken.filter(|&pages| pages == Pages::Small).count()
    }

    #[test]
    fn huge_pages_are_taken_as_long_as_they_are_cheap() {
        assert_eq!(small(&mut Paging::default(), 10_000, DEAR / 2), 0);
    }

    #[test]
    fn where_they_are_dear_they_are_tried_again_ever_more_seldom() {
        let mut paging = Paging::default();
        assert_eq!(small(&mut paging, 1 + 16 + 1 + 32 + 1, DEAR), 48);
        let huge = 10_000 - small(&mut paging, 10_000, DEAR);
        assert!((10..=16).contains(&huge), "{huge}");
        // And as soon as they are cheap again they are taken.
        let regions = MOST_PAUSE as usize + 1000;
        assert!(small(&mut paging, regions, DEAR / 2) <= MOST_PAUSE as usize);
    }
}
