//! What of the file system the process may reach, held by the kernel: Landlock (landlock(7)), and no new privileges.
//!
//! Reads what the configuration names and what programs commonly read; writes where logs and the disk cache are. Never keeps Lockgate from
//! starting: what the kernel does not offer is said and done without. It binds the thread that asks for it and those
//! it starts, so it comes before the runtime, and it cannot be widened: a path that a reload names must lie in a
//! directory that was allowed at start. The kernel keeps to directories, not to names: what is mounted over one later,
//! or what a link is switched to, is another one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::authority::AccessSource;
use crate::backend::config::BackendConfig;
use crate::config::{AccessLog, Config, Loaded};

/// The newest rights that are handled; an older kernel handles what it knows of them.
const RIGHTS: ABI = ABI::V5;
/// What programs read and run: libraries, certificates, name resolution, time zones, mounted secrets, credential
/// processes. Homes and other services' data are not among it.
const SYSTEM: [&str; 13] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/opt",
    "/nix",
    "/proc",
    "/sys",
    "/run",
    "/var/run",
    "/var/secrets",
];
/// Read and written: `/dev/null`, terminals.
const DEVICES: &str = "/dev";
/// The SDKs' own directories below the home; AWS's keeps renewed single sign-on tokens there.
const HOMES: [&str; 3] = [".aws", ".azure", ".config/gcloud"];
/// Variables whose value is a file or a directory that is read.
const FILE_VARIABLES: [&str; 8] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

/// Whether the sandbox holds. Of the whole process, as the sandbox is.
static ENFORCED: AtomicBool = AtomicBool::new(false);

/// Confines this thread, and all that it starts from now on, to what this configuration needs.
pub fn confine(loaded: &Loaded, environment: &[(String, String)]) {
    if !loaded.config.server.sandbox {
        tracing::info!("no sandbox: server.sandbox is false");
        return;
    }
    let mut read = needed(loaded);
    read.extend(from_environment(environment));
    read.extend(SYSTEM.map(PathBuf::from));
    let written = written(&loaded.config, environment);
    match enforce(&read, &written) {
        Ok(RulesetStatus::NotEnforced) => {
            tracing::warn!("no sandbox: this kernel has no Landlock, or it is switched off");
        }
        Ok(status) => {
            let whole = status == RulesetStatus::FullyEnforced;
            tracing::info!(
                whole,
                "files are reached only where the configuration names them"
            );
            ENFORCED.store(true, Ordering::Relaxed);
        }
        Err(error) => tracing::warn!(%error, "no sandbox: the kernel refuses it"),
    }
}

/// Says in the log which of these the sandbox of the start keeps from the process. Looks off the threads that serve.
pub(super) async fn say_what_is_out_of_reach(
    paths: impl FnOnce() -> Vec<PathBuf> + Send + 'static,
) {
    if !ENFORCED.load(Ordering::Relaxed) {
        return;
    }
    let look = move || {
        let mut paths = paths();
        paths.retain(|path| is_kept_away(path));
        paths
    };
    for path in tokio::task::spawn_blocking(look).await.unwrap_or_default() {
        tracing::warn!(
            "the sandbox does not reach {}: restart to use it; what will be needed later is named beforehand in \
             server.sandbox_paths",
            path.display()
        );
    }
}

/// The sandbox is asked when something is opened; the mode alone when it is only asked for (access(2)). What is not
/// there is another mistake.
fn is_kept_away(path: &Path) -> bool {
    // NONBLOCK: opening a fifo must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let read = rustix::fs::Access::READ_OK;
    matches!(opened, Err(Errno::ACCESS))
        && rustix::fs::accessat(CWD, path, read, AtFlags::EACCESS).is_ok()
}

fn enforce(read: &[PathBuf], written: &[PathBuf]) -> Result<RulesetStatus, RulesetError> {
    // What is not there is left out by `path_beneath_rules`.
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::from_read(RIGHTS)))?
        .add_rules(path_beneath_rules(written, AccessFs::from_all(RIGHTS)))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Directories of the files that the configuration names, roots of local files, and where access lists are.
fn needed(loaded: &Loaded) -> Vec<PathBuf> {
    let files = files(loaded);
    let directories = files.iter().flat_map(|file| directories(file));
    directories.chain(trees(&loaded.config)).collect()
}

/// What is read of a configuration while the process runs.
pub(super) fn read_from(loaded: &Loaded) -> Vec<PathBuf> {
    [files(loaded), trees(&loaded.config)].concat()
}

/// The files that the configuration and the access list name.
fn files(loaded: &Loaded) -> Vec<PathBuf> {
    let mut files = loaded.files.clone();
    if let AccessSource::File(list) = &loaded.config.access.source {
        files.extend(tasks(list));
        files.push(list.clone());
    }
    let storages = loaded.config.storages.iter();
    files.extend(storages.filter_map(|storage| storage.backend.ca_file().map(Into::into)));
    files
}

/// What is read with all that is below it: roots of local files, and what is said to be.
fn trees(config: &Config) -> Vec<PathBuf> {
    let roots = config.storages.iter();
    let roots = roots.filter_map(|storage| match &storage.backend {
        BackendConfig::Local(local) => Some(&local.root),
        _ => None,
    });
    roots.chain(&config.server.sandbox_paths).cloned().collect()
}

/// The directory of a file by its name, so that it may be replaced, and of what a link leads to.
fn directories(file: &Path) -> Vec<PathBuf> {
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    let target = file.canonicalize().ok();
    let target = target.as_deref().map(parent);
    target.into_iter().chain([parent(file)]).collect()
}

/// The task files that an access list names; where it cannot be read, its own room says why.
fn tasks(list: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let projects = table.get("project").and_then(toml::Value::as_array);
    let named = projects
        .into_iter()
        .flatten()
        .filter_map(|project| project.get("tasks"));
    // One path, or a list of them.
    let one_by_one = named.flat_map(|tasks| match tasks {
        toml::Value::Array(several) => several.as_slice(),
        one => std::slice::from_ref(one),
    });
    let beside = list.parent().unwrap_or(Path::new(""));
    let paths = one_by_one.filter_map(toml::Value::as_str);
    paths.map(|tasks| beside.join(tasks)).collect()
}

fn from_environment(environment: &[(String, String)]) -> Vec<PathBuf> {
    let named = environment
        .iter()
        .filter(|(name, _)| FILE_VARIABLES.contains(&name.as_str()));
    named
        .flat_map(|(_, path)| [vec![PathBuf::from(path)], directories(Path::new(path))].concat())
        .collect()
}

fn written(config: &Config, environment: &[(String, String)]) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from(DEVICES)];
    if let AccessLog::File(path) = &config.log.access {
        paths.extend(directories(path));
    }
    if let Some(audit) = &config.log.audit {
        paths.extend(directories(&audit.path));
    }
    if let Some(disk) = &config.disk {
        // What is not there yet could not be allowed.
        if let Err(error) = disk.make_directory() {
            let path = disk.path.display();
            tracing::warn!(%error, "the disk cache's directory {path} cannot be made");
        }
        paths.push(disk.path.clone());
    }
    let home = environment.iter().find(|(name, _)| name == "HOME");
    if let Some((_, home)) = home {
        paths.extend(HOMES.map(|directory| Path::new(home).join(directory)));
    }
    paths
}
