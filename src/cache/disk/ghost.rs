//! Names of what was given up unread, so that it is known when it comes again. No I/O.

use std::collections::{HashSet, VecDeque};

/// So many names at most, some 30 bytes each.
const MOST: usize = 1 << 20;

/// The names, oldest first.
#[derive(Debug, Default)]
pub struct Ghost {
    order: VecDeque<u64>,
    // By half of the name: who is taken for another is kept in the wrong ring, and nothing else.
    names: HashSet<u64>,
}

impl Ghost {
    /// Remembers a name, as many of them as there are records.
    pub fn add(&mut self, name: u128, records: usize) {
        let name = name as u64;
        if self.names.insert(name) {
            self.order.push_back(name);
        }
        while self.order.len() > records.min(MOST) {
            let oldest = self.order.pop_front();
            oldest.map(|oldest| self.names.remove(&oldest));
        }
    }

    /// Whether it was remembered; from now on it is not.
    pub fn take(&mut self, name: u128) -> bool {
        // Its place in the order stays, and ends with its turn.
        self.names.remove(&(name as u64))
    }
}
