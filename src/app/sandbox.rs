//! What of the file system the process may reach, held by the kernel: Landlock (landlock(7)), and no new privileges.
//!
//! Reads what the configuration names and what programs commonly read; writes where logs are. Never keeps Lockgate from
//! starting: what the kernel does not offer is said and done without. It binds the thread that asks for it and those
//! it starts, so it comes before the runtime, and it cannot be widened: a path that a reload names must lie in a
//! directory that was allowed at start.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus,
    path_beneath_rules,
};

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

/// What was allowed at start, once it is enforced. Of the whole process, as the sandbox is.
static ALLOWED: OnceLock<Vec<PathBuf>> = OnceLock::new();

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
            read.extend(written);
            let allowed = read.iter().filter_map(|path| path.canonicalize().ok());
            // Set once: `serve` confines the process once.
            let _ = ALLOWED.set(allowed.collect());
        }
        Err(error) => tracing::warn!(%error, "no sandbox: the kernel refuses it"),
    }
}

/// Paths of this configuration that the sandbox of the start keeps from it, to be said at a reload.
pub(super) fn out_of_reach(loaded: &Loaded) -> Vec<PathBuf> {
    let Some(allowed) = ALLOWED.get() else {
        return Vec::new();
    };
    let reached = |path: &PathBuf| {
        // What cannot be looked at may lie outside; what is not there at all is another mistake.
        let path = path.canonicalize().unwrap_or_else(|_| path.clone());
        allowed.iter().any(|allowed| path.starts_with(allowed))
    };
    let mut paths = needed(loaded);
    paths.retain(|path| !reached(path));
    paths
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
    let mut paths = Vec::new();
    let list = match &loaded.config.access.source {
        AccessSource::File(list) => Some(list),
        AccessSource::LabelStudio(_) => None,
    };
    let tasks = list.map(|list| tasks(list)).unwrap_or_default();
    for file in loaded.files.iter().chain(list).chain(&tasks) {
        paths.extend(directories(file));
    }
    for storage in &loaded.config.storages {
        if let BackendConfig::Local(local) = &storage.backend {
            paths.push(local.root.clone());
        }
        paths.extend(storage.backend.ca_file().into_iter().flat_map(directories));
    }
    paths.extend(loaded.config.server.sandbox_paths.iter().cloned());
    paths
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
        .filter_map(|project| project.get("tasks")?.as_str());
    let beside = list.parent().unwrap_or(Path::new(""));
    named.map(|tasks| beside.join(tasks)).collect()
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
    let home = environment.iter().find(|(name, _)| name == "HOME");
    if let Some((_, home)) = home {
        paths.extend(HOMES.map(|directory| Path::new(home).join(directory)));
    }
    paths
}
