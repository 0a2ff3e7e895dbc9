//! How many files and sockets the process may have open: as many as the system lets it, and connections well below.
//!
//! A service is commonly started with a soft limit of 1,024, for programs that use select(2) (getrlimit(2)); this one
//! does not.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for what is no client's connection: storage's connections, files, logs. Of a small limit a quarter.
const RESERVED: u64 = 1024;

/// Raises the limit to the most that is allowed; how many connections fit then, beside so many files of the disk cache.
pub(super) fn raise(disk_files: u64) -> usize {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    // None: unlimited.
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    connections(descriptors.saturating_sub(disk_files))
}

fn connections(descriptors: u64) -> usize {
    let connections = descriptors - RESERVED.min(descriptors / 4);
    connections.try_into().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_storage_and_files() {
        assert_eq!(connections(1_048_576), 1_047_552);
        assert_eq!(connections(20_000), 18_976);
        assert_eq!(connections(1_024), 768);
        assert_eq!(connections(0), 0);
    }
}
