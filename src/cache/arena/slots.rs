//! Who has which part of the arena: blocks of a megabyte, each whole or cut into slots of one size. Pure bookkeeping.

/// The largest slot, and what smaller ones are cut from: a segment of a chunk.
pub(super) const BLOCK: usize = 1 << 20;
/// The memory's own unit: slots begin and end with pages, so that each can be given back to the system alone.
const PAGE: usize = 4 << 10;
/// The sizes of slots, in pages: steps of a fifth to a quarter, so that little more than a tenth is lost on average.
const SIZES: [u16; 17] = [
    4, 5, 6, 7, 8, 10, 12, 14, 17, 21, 25, 32, 42, 51, 64, 128, 256,
];
/// Slots of the smallest size in a block, one bit each.
type Bits = u64;
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

/// A block that is cut into slots.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    free: Bits,
    all: Bits,
    /// Where it stands among those of its size with a free slot.
    listed_at: usize,
}

/// All blocks.
#[derive(Debug)]
pub(super) struct Slots {
    blocks: Vec<Cut>,
    whole: Vec<usize>,
    /// By size: the blocks cut to it that have a free slot.
    open: [Vec<usize>; SIZES.len()],
}

impl Slots {
    pub(super) fn new(blocks: usize) -> Self {
        Self {
            blocks: vec![Cut::default(); blocks],
            // Taken from the end: the first ones first.
            whole: (0..blocks).rev().collect(),
            open: Default::default(),
        }
    }

    /// A slot of at least `length` bytes, at most a block.
    pub(super) fn take(&mut self, length: usize) -> Option<Place> {
        let pages = length.div_ceil(PAGE);
        let size = SIZES.iter().position(|&size| size as usize >= pages)?;
        let block = match self.open[size].last() {
            Some(&block) => block,
            None => self.cut(size)?,
        };
        let cut = &mut self.blocks[block];
        let number = cut.free.trailing_zeros();
        cut.free &= !(1 << number);
        if cut.free == 0 {
            self.open[size].pop();
        }
        Some(Place {
            block,
            size,
            number,
        })
    }

    fn cut(&mut self, size: usize) -> Option<usize> {
        let block = self.whole.pop()?;
        let slots = BLOCK / (SIZES[size] as usize * PAGE);
        let all = Bits::MAX >> (Bits::BITS as usize - slots);
        self.blocks[block] = Cut {
            free: all,
            all,
            listed_at: self.open[size].len(),
        };
        self.open[size].push(block);
        Some(block)
    }

    /// Takes a slot back; whether its block is whole again.
    pub(super) fn give_back(&mut self, place: Place) -> bool {
        let Place {
            block,
            size,
            number,
        } = place;
        let was_full = self.blocks[block].free == 0;
        self.blocks[block].free |= 1 << number;
        if was_full {
            self.blocks[block].listed_at = self.open[size].len();
            self.open[size].push(block);
        }
        let cut = self.blocks[block];
        let whole = cut.free == cut.all;
        if whole {
            self.open[size].swap_remove(cut.listed_at);
            if let Some(&moved) = self.open[size].get(cut.listed_at) {
                self.blocks[moved].listed_at = cut.listed_at;
            }
            self.whole.push(block);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_slots_overlap_and_all_come_back() {
        let mut slots = Slots::new(8);
        let mut taken: Vec<Place> = Vec::new();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            if random.bool() {
                let most = BLOCK >> random.u32(0..6);
                let length = random.usize(1..=most);
                if let Some(place) = slots.take(length) {
                    assert!(place.size() >= length && place.offset() + place.size() <= 8 * BLOCK);
                    taken.push(place);
                }
            } else if !taken.is_empty() {
                slots.give_back(taken.swap_remove(random.usize(..taken.len())));
            }
            let mut spans: Vec<_> = taken.iter().map(|p| (p.offset(), p.size())).collect();
            spans.sort_unstable();
            assert!(
                spans
                    .windows(2)
                    .all(|pair| pair[0].0 + pair[0].1 <= pair[1].0)
            );
        }
        for place in taken {
            slots.give_back(place);
        }
        assert_eq!(slots.whole.len(), 8);
        assert!(slots.open.iter().all(Vec::is_empty));
        let whole: Vec<_> = (0..8).map_while(|_| slots.take(BLOCK)).collect();
        assert_eq!(whole.len(), 8);
        assert_eq!(slots.take(1), None);
    }

    #[test]
    fn a_thumbnail_wastes_little() {
        let mut slots = Slots::new(1);
        let fit = std::iter::from_fn(|| slots.take(100_000)).count();
        assert_eq!(fit, 10, "of 100 KB in a megabyte");
    }
}
