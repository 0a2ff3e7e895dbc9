//! What no local storage may serve: the disk cache, whose media would be all that it keeps, and Lockgate's own files.
//!
//! Reads nothing but where paths lead.

use std::path::{Component, Path, PathBuf};

use super::StorageConfig;
use super::reader::Reader;
use crate::backend::config::BackendConfig;
use crate::cache::disk::DiskConfig;

/// Whoever may see a local storage would be served what the cache keeps of all the others.
pub fn check(reader: &mut Reader<'_>, disk: &DiskConfig, storages: &[StorageConfig]) {
    if leads_to(&disk.path).is_none() {
        let message = "has `..` behind a directory that is not there; write where it leads";
        reader.problem("cache.disk.path", message);
    }
    if let Some(storage) = served_by(&disk.path, storages) {
        let message = format!(
            "lies below the root of the storage {:?}, which would serve it; name a directory outside",
            storage.id.as_str()
        );
        reader.problem("cache.disk.path", message);
    }
}

/// Lockgate's own files hold its secrets, or tell who saw what: no member of a project may be served them.
pub fn check_own_files(reader: &mut Reader<'_>, files: &[PathBuf], storages: &[StorageConfig]) {
    for storage in storages {
        let alone = std::slice::from_ref(storage);
        // A root that is a file serves nothing.
        let is_served =
            |file: &&PathBuf| served_by(file, alone).is_some() && !is_root(file, storage);
        let Some(file) = files.iter().find(is_served) else {
            continue;
        };
        let message = format!(
            "the storage {:?} would serve {}, one of lockgate's own files; move the file, or give the storage a directory of its own",
            storage.id.as_str(),
            file.display()
        );
        reader.problem(&reader.key_of_root(storage.id.as_str()), message);
    }
}

fn is_root(file: &Path, storage: &StorageConfig) -> bool {
    matches!(&storage.backend, BackendConfig::Local(local) if local.root == file)
}

/// The storage that would serve what lies at a path, where one would.
pub fn served_by<'a>(path: &Path, storages: &'a [StorageConfig]) -> Option<&'a StorageConfig> {
    let real = |path: &Path| leads_to(path).unwrap_or_else(|| path.to_owned());
    let path = real(path);
    storages.iter().find(|storage| match &storage.backend {
        BackendConfig::Local(local) => path.starts_with(real(&local.root)),
        _ => false,
    })
}

/// Where a path leads, links followed; what is not there yet will be made in the nearest directory above it that is.
/// None where that cannot be told: what `..` is behind a name that may become a link.
fn leads_to(path: &Path) -> Option<PathBuf> {
    let told = path.ancestors().find_map(|there| {
        let here = Path::new(".");
        let is_here = there.as_os_str().is_empty();
        let real = if is_here { here } else { there }.canonicalize().ok()?;
        let rest = path.strip_prefix(there).ok()?;
        let is_plain = |part| matches!(part, Component::Normal(_));
        Some(rest.components().all(is_plain).then(|| real.join(rest)))
    });
    told.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_yet_is_judged_by_where_it_will_be_made() {
        let directory = tempfile::tempdir().expect("a directory");
        let base = directory.path().canonicalize().expect("there");
        std::fs::create_dir(base.join("big")).expect("made");
        std::os::unix::fs::symlink(base.join("big"), base.join("media")).expect("linked");
        let leads = |to: &str| leads_to(&base.join(to));
        assert_eq!(leads("media"), Some(base.join("big")));
        assert_eq!(leads("media/.cache/a"), Some(base.join("big/.cache/a")));
        assert_eq!(leads("big/../media/a"), Some(base.join("big/a")));
        assert_eq!(leads("nowhere/../big/a"), None);
        let here = Path::new(".").canonicalize().expect("there");
        assert_eq!(leads_to(Path::new("no/where")), Some(here.join("no/where")));
    }
}
