//! The disk cache's directory: whether it can be written, and has room for what it may take. Writes nothing.

use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};

use super::report::Step;
use crate::cache::disk::DiskConfig;

const ADVICE: &str =
    "name a directory that the user that Lockgate runs as may make, or enter, read and write";

/// Looks at what is there, or at where it will be made.
pub fn check(disk: &DiskConfig) -> Step {
    let shown = disk.path.display();
    let there = disk.path.ancestors().find(|path| path.is_dir());
    let there = there.unwrap_or(Path::new("."));
    let rights = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if let Err(error) = accessat(CWD, there, rights, AtFlags::EACCESS) {
        let place = there.display();
        return Step::failed("disk", format!("{shown}: {place}: {error}"), ADVICE);
    }
    let capacity = disk.capacity >> 20;
    match statvfs(there).map(|of| (of.f_blocks * of.f_frsize, of.f_bavail * of.f_frsize)) {
        Ok((size, _)) if size < disk.capacity => Step::warning(
            "disk",
            format!(
                "{shown}: capacity is {capacity} MiB, its file system has {} MiB in all",
                size >> 20
            ),
        ),
        Ok((_, free)) => Step::ok(
            "disk",
            format!(
                "{shown}: capacity {capacity} MiB, free {} MiB beside what is kept",
                free >> 20
            ),
        ),
        Err(error) => Step::failed("disk", format!("{shown}: {error}"), ADVICE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::report::Outcome;

    #[test]
    fn a_directory_that_can_be_made_is_fine_and_one_larger_than_the_disk_is_warned_of() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("to/be/made");
        let config = |capacity| DiskConfig {
            path: path.clone(),
            capacity,
        };
        assert_eq!(check(&config(64 << 20)).outcome, Outcome::Ok);
        assert_eq!(check(&config(u64::MAX)).outcome, Outcome::Warning);
        assert!(!path.exists(), "nothing is made");
    }

    #[test]
    fn a_place_where_nothing_can_be_made_is_named_with_advice() {
        let step = check(&DiskConfig {
            path: "/proc/lockgate".into(),
            capacity: 64 << 20,
        });
        let failed = step.has_failed() || step.outcome == Outcome::Warning;
        assert!(failed, "{step:?}");
    }
}
