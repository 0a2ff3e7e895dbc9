//! Who has which part of the arena: blocks of two megabytes, each whole or cut into slots of one size; and which of what
//! nobody has is memory all the same. Pure bookkeeping.

use std::collections::VecDeque;

/// What is taken from the system at once, and what slots are cut from: a huge page of most machines.
pub(super) const BLOCK: usize = 2 << 20;
/// The memory's own unit: slots begin and end with pages, so that each can be given back to the system alone.
const PAGE: usize = 4 << 10;
/// The sizes of slots, in pages: steps of a fifth to a quarter, so that little more than a tenth is lost on average.
const SIZES: [u16; 17] = [
    4, 5, 6, 7, 8, 10, 12, 14, 17, 21, 25, 32, 42, 51, 64, 128, 256,
];
/// The largest slot.
pub(super) const MAX_SLOT: usize = SIZES[SIZES.len() - 1] as usize * PAGE;
/// Slots of the smallest size in a block, one bit each.
type Bits = u128;
const _: () = assert!(BLOCK / (SIZES[0] as usize * PAGE) <= Bits::BITS as usize);

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The block that it lies in.
    pub(super) block: usize,
    size: usize,
    number: u32,
}

impl Place {
    /// Where it begins, in bytes from the arena's beginning.
    pub(super) fn offset(&self) -> usize {
        self.block * BLOCK + self.number as usize * self.size()
    }

    /// How long it is, in bytes.
    pub(super) fn size(&self) -> usize {
        SIZES[self.size] as usize * PAGE
    }
}

/// What is in nobody's hands and is to be given back to the system before anybody can take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surplus {
    Slot(Place),
    Block(usize),
}

impl Surplus {
    /// Where it begins, and how long it is, in bytes.
    pub(super) fn extent(&self) -> (usize, usize) {
        match self {
            Self::Slot(place) => (place.offset(), place.size()),
            Self::Block(block) => (block * BLOCK, BLOCK),
        }
    }
}

/// A block that is cut into slots, or was.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    free: Bits,
    all: Bits,
    /// Those of the free ones that are no memory.
    dry: Bits,
    /// The size of its slots.
    size: usize,
    /// Where it stands among those of its size with a free slot.
    listed_at: usize,
    /// Whether it is memory; for one that is cut, with `dry`.
    is_memory: bool,
}

impl Cut {
    /// Bytes that are free and memory.
    fn idle(&self) -> usize {
        (self.free & !self.dry).count_ones() as usize * SIZES[self.size] as usize * PAGE
    }
}

/// All blocks.
#[derive(Debug)]
pub(super) struct Slots {
    blocks: Vec<Cut>,
    /// From the end of it they are taken: there are those that are memory.
    whole: VecDeque<usize>,
    /// By size: the blocks cut to it that have a free slot.
    open: [Vec<usize>; SIZES.len()],
    /// Bytes that are free and memory, in all blocks.
    idle: usize,
    /// How many of them may be.
    spare: usize,
}

impl Slots {
    pub(super) fn new(blocks: usize, spare: usize) -> Self {
        Self {
            blocks: vec![Cut::default(); blocks],
            // The first ones first.
            whole: (0..blocks).rev().collect(),
            open: Default::default(),
            idle: 0,
            spare,
        }
    }

    /// A slot of at least `length` bytes, and whether its block is no memory yet.
    pub(super) fn take(&mut self, length: usize) -> Option<(Place, bool)> {
        let pages = length.div_ceil(PAGE);
        let size = SIZES.iter().position(|&size| size as usize >= pages)?;
        let (block, is_new) = match self.open[size].last() {
            Some(&block) => (block, false),
            None => self.cut(size)?,
        };
        let cut = &mut self.blocks[block];
        let wet = cut.free & !cut.dry;
        let among = if wet == 0 { cut.free } else { wet };
        let number = among.trailing_zeros();
        let place = Place {
            block,
            size,
            number,
        };
        if wet != 0 {
            self.idle -= place.size();
        }
        cut.free &= !(1 << number);
        cut.dry &= !(1 << number);
        if cut.free == 0 {
            self.open[size].pop();
        }
        Some((place, is_new))
    }

    fn cut(&mut self, size: usize) -> Option<(usize, bool)> {
        let block = self.whole.pop_back()?;
        let before = self.blocks[block];
        let slots = BLOCK / (SIZES[size] as usize * PAGE);
        let all = Bits::MAX >> (Bits::BITS as usize - slots);
        let cut = Cut {
            free: all,
            all,
            dry: 0,
            size,
            listed_at: self.open[size].len(),
            is_memory: true,
        };
        self.idle += cut.idle();
        if before.is_memory {
            self.idle -= before.idle();
        }
        self.blocks[block] = cut;
        self.open[size].push(block);
        Some((block, !before.is_memory))
    }

    /// Takes a slot back; or says what has to be given back to the system first, for which [`gone`](Self::gone) then
    /// takes it back.
    pub(super) fn give_back(&mut self, place: Place) -> Option<Surplus> {
        if self.idle + place.size() > self.spare {
            return Some(Surplus::Slot(place));
        }
        self.idle += place.size();
        self.free(place, 0)
    }

    /// Takes back what was given back to the system; there may be more of it.
    pub(super) fn gone(&mut self, surplus: Surplus) -> Option<Surplus> {
        match surplus {
            Surplus::Slot(place) => self.free(place, 1 << place.number),
            Surplus::Block(block) => {
                self.blocks[block].is_memory = false;
                self.whole.push_front(block);
                None
            }
        }
    }

    fn free(&mut self, place: Place, dry: Bits) -> Option<Surplus> {
        let Place {
            block,
            size,
            number,
        } = place;
        let was_full = self.blocks[block].free == 0;
        self.blocks[block].free |= 1 << number;
        self.blocks[block].dry |= dry;
        if was_full {
            self.blocks[block].listed_at = self.open[size].len();
            self.open[size].push(block);
        }
        let cut = self.blocks[block];
        if cut.free != cut.all {
            return None;
        }
        self.open[size].swap_remove(cut.listed_at);
        if let Some(&moved) = self.open[size].get(cut.listed_at) {
            self.blocks[moved].listed_at = cut.listed_at;
        }
        if cut.dry == 0 {
            self.whole.push_back(block);
            return None;
        }
        // What is memory in parts is none at all from here on, so that the next to cut it takes it as it takes a new one.
        self.idle -= cut.idle();
        Some(Surplus::Block(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give_back(slots: &mut Slots, place: Place) {
        let mut next = slots.give_back(place);
        while let Some(surplus) = next {
            next = slots.gone(surplus);
        }
    }

    /// A cache of large chunks that becomes one of small ones must not hold the memory of both.
    #[test]
    fn what_is_kept_back_of_one_size_is_bounded_though_each_block_has_a_slot_in_use() {
        let (blocks, spare) = (100, 4 * BLOCK);
        let mut slots = Slots::new(blocks, spare);
        let chunk = 256 << 10;
        let taken: Vec<_> = std::iter::from_fn(|| slots.take(chunk)).collect();
        assert_eq!(taken.len(), blocks * BLOCK / chunk);
        for (place, _) in taken.into_iter().filter(|(place, _)| place.number != 3) {
            give_back(&mut slots, place);
        }
        assert!(slots.idle <= spare, "{}", slots.idle);
        assert!(slots.take(chunk).is_some());
    }

    #[test]
    fn a_full_cache_takes_and_gives_back_and_nothing_is_given_to_the_system() {
        let mut slots = Slots::new(10, BLOCK);
        let mut held: VecDeque<_> = std::iter::from_fn(|| slots.take(100_000)).collect();
        for _ in 0..1000 {
            let (oldest, _) = held.pop_front().expect("one");
            assert_eq!(slots.give_back(oldest), None);
            let (place, is_new) = slots.take(100_000).expect("that one");
            assert_eq!((place, is_new), (oldest, false));
            held.push_back((place, is_new));
        }
    }

    #[test]
    fn no_two_slots_overlap_and_all_come_back() {
        let mut slots = Slots::new(8, 3 * BLOCK);
        let mut taken: Vec<Place> = Vec::new();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            if random.bool() {
                let most = MAX_SLOT >> random.u32(0..6);
                let length = random.usize(1..=most);
                if let Some((place, _)) = slots.take(length) {
                    assert!(place.size() >= length && place.offset() + place.size() <= 8 * BLOCK);
                    taken.push(place);
                }
            } else if !taken.is_empty() {
                let place = taken.swap_remove(random.usize(..taken.len()));
                give_back(&mut slots, place);
            }
            let idle: usize = slots
                .blocks
                .iter()
                .filter(|it| it.is_memory)
                .map(Cut::idle)
                .sum();
            assert_eq!(slots.idle, idle);
            // What a block is cut to is all taken from the system at once.
            assert!(idle <= slots.spare + SIZES.len() * BLOCK);
            let mut spans: Vec<_> = taken.iter().map(|p| (p.offset(), p.size())).collect();
            spans.sort_unstable();
            assert!(
                spans
                    .windows(2)
                    .all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
            );
        }
        for place in taken {
            give_back(&mut slots, place);
        }
        assert_eq!(slots.whole.len(), 8);
        assert!(slots.open.iter().all(Vec::is_empty));
        assert!(slots.idle <= slots.spare);
        let whole: Vec<_> = (0..16).map_while(|_| slots.take(MAX_SLOT)).collect();
        assert_eq!(whole.len(), 16);
        assert_eq!(slots.take(1), None);
    }

    #[test]
    fn a_thumbnail_wastes_little() {
        let mut slots = Slots::new(1, BLOCK);
        let fit = std::iter::from_fn(|| slots.take(100_000)).count();
        assert_eq!(fit, 20, "of 100 KB in two megabytes");
    }
}
