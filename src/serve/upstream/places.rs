//! How many requests may be at the application: so many at once, and of these no address more than its share.
//!
//! Without the share whoever opens enough slow uploads would take every place. Nobody waits here: whoever comes too
//! late is told so at once.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests at the application at once, tunnels included: far more than its workers take, and each holds two sockets
/// and some 100 KB of buffers here.
const MAX_CONCURRENT: usize = 1024;
/// Each address has a quarter: an office behind one address, or a proxy that was not said to be trusted, is served
/// still, and it takes four addresses to keep everybody else out.
const SHARES: usize = 4;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    share: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One request's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Default for Places {
    fn default() -> Self {
        Self::of(MAX_CONCURRENT)
    }
}

impl Places {
    /// So many.
    pub(super) fn of(requests: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(requests)),
            share: requests.div_ceil(SHARES),
            taken: Arc::default(),
        }
    }

    /// A place for a client at this address; none: there is none, or not for this one.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        let address = network(address);
        let mut taken = lock(&self.taken);
        let of_address = taken.entry(address).or_default();
        if *of_address >= self.share {
            return None;
        }
        *of_address += 1;
        drop(taken);
        Some(Place {
            _permit: permit,
            taken: Arc::clone(&self.taken),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(of_address) = taken.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

fn lock(taken: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whose an address is: one site has at least 64 bits of IPv6 to itself (RFC 6177 §2).
fn network(address: IpAddr) -> IpAddr {
    const SITE: u128 = !0 << 64;
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & SITE).into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may unwrap")]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_no_more_than_its_share_and_others_have_theirs() {
        let places = Places::of(8);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let first = places.take(one).unwrap();
        let _second = places.take(one).unwrap();
        assert!(places.take(one).is_none());
        // The same address, as a socket of IPv6 has it.
        assert!(places.take(address("::ffff:192.0.2.1")).is_none());
        let _others = [other; 2].map(|other| places.take(other).unwrap());
        drop(first);
        assert!(places.take(one).is_some());
    }

    #[test]
    fn a_site_has_one_share_however_many_addresses() {
        let places = Places::of(4);
        let _taken = places.take(address("2001:db8::1")).unwrap();
        assert!(places.take(address("2001:db8::2")).is_none());
        assert!(places.take(address("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn what_is_given_back_leaves_nothing_behind() {
        let places = Places::of(4);
        drop(places.take(address("192.0.2.1")));
        let held = places.take(address("192.0.2.2")).unwrap();
        assert!(places.take(address("192.0.2.2")).is_none());
        assert_eq!(lock(&places.taken).len(), 1);
        drop(held);
        assert!(lock(&places.taken).is_empty());
        assert_eq!(places.all.available_permits(), 4);
    }
}
