//! Who judges: tokens and an access list, or Label Studio. A reload keeps of them what did not change.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::build::storage_rules;
use crate::ask::Asker;
use crate::auth::label_studio::{LabelStudioIdentity, Sessions};
use crate::auth::{AuthConfig, Authenticator, Identify};
use crate::authority::file::FileAuthority;
use crate::authority::label_studio::{Held, LabelStudioAuthority, OwnStorages};
use crate::authority::postgres::PostgresAuthority;
use crate::authority::{AccessSource, Authority, LabelStudioConfig};
use crate::backend::config::BackendConfig;
use crate::backend::http::HttpClient;
use crate::backend::measured::Measured;
use crate::backend::reach::Reach;
use crate::backend::retry::Retry;
use crate::backend::signed::Signed;
use crate::backend::traced::Traced;
use crate::config::Config;
use crate::content::Store;
use crate::ids::StorageId;
use crate::media_uri::MediaUri;
use crate::project::MediaRule;
use crate::resolve::LABEL_STUDIO;
use crate::serve::exchange::Recorder;
use crate::signed::SignedUrls;

/// Who says who somebody is, and what they may see.
#[derive(Clone)]
pub(super) enum Judges {
    /// Tokens, by keys of the operator's, and access lists of theirs.
    Tokens {
        auth: Arc<Authenticator>,
        lists: Lists,
    },
    /// Label Studio, asked with the caller's own credential.
    LabelStudio(Box<LabelStudio>),
}

/// Where the operator's access lists are.
#[derive(Clone)]
pub(super) enum Lists {
    /// In a file.
    File(Arc<FileAuthority>),
    /// In a database; and what its CA file held when connections were made.
    Postgres(Arc<PostgresAuthority>, Option<Vec<u8>>),
}

/// Label Studio as it is asked, and the storage that it signs for.
#[derive(Clone)]
pub(super) struct LabelStudio {
    auth: Arc<dyn Identify>,
    authority: Arc<dyn Authority>,
    sessions: Arc<Sessions>,
    urls: Arc<SignedUrls>,
    store: SignedStore,
}

/// The storage that Label Studio signs for, and what it was opened with.
#[derive(Clone)]
struct SignedStore {
    config: LabelStudioConfig,
    stall_timeout: Duration,
    /// What its CA file holds: a client trusts what it read when it was made.
    ca: Option<Vec<u8>>,
    store: Store,
}

impl Judges {
    /// Those of a configuration, keeping of `before` what did not change.
    pub(super) async fn open(
        config: &Config,
        before: Option<(&Config, &Self)>,
        recorder: &Recorder,
    ) -> Result<Self, StartError> {
        match (&config.access.source, &config.auth) {
            (AccessSource::LabelStudio(label_studio), _) => {
                let kept = before.and_then(|(old, judges)| Some((old, judges.label_studio()?)));
                LabelStudio::open(label_studio, config, kept, recorder)
                    .map(|it| Self::LabelStudio(Box::new(it)))
            }
            (AccessSource::File(_) | AccessSource::Postgres(_), Some(auth)) => {
                tokens(config, auth, before).await
            }
            // `config` makes no such thing.
            (AccessSource::File(_) | AccessSource::Postgres(_), None) => Err(StartError::NoTokens),
        }
    }

    /// Who says who somebody is.
    pub(super) fn auth(&self) -> Arc<dyn Identify> {
        match self {
            Self::Tokens { auth, .. } => auth.clone(),
            Self::LabelStudio(label_studio) => label_studio.auth.clone(),
        }
    }

    /// Who says what they may see.
    pub(super) fn authority(&self) -> Arc<dyn Authority> {
        match self {
            Self::Tokens { lists, .. } => match lists {
                Lists::File(list) => list.clone(),
                Lists::Postgres(tables, _) => tables.clone(),
            },
            Self::LabelStudio(label_studio) => label_studio.authority.clone(),
        }
    }

    /// The access list, where there is one.
    pub(super) fn list(&self) -> Option<Arc<FileAuthority>> {
        match self {
            Self::Tokens {
                lists: Lists::File(list),
                ..
            } => Some(list.clone()),
            Self::Tokens { .. } | Self::LabelStudio(_) => None,
        }
    }

    /// Whether the access list as it is now is in force; what is no list is always.
    pub(super) fn last_reload_ok(&self) -> bool {
        self.list().is_none_or(|list| list.last_reload_ok())
    }

    /// Whether changes are heard of as they happen: a file is watched, and Label Studio is asked, which needs no hearing.
    pub(super) fn changes_heard(&self) -> bool {
        match self {
            Self::Tokens {
                lists: Lists::Postgres(tables, _),
                ..
            } => tables.hears(),
            Self::Tokens { .. } | Self::LabelStudio(_) => true,
        }
    }

    /// The storage that comes with the access source, where one does.
    pub(super) fn store(&self) -> Option<(StorageId, Store)> {
        let store = &self.label_studio()?.store.store;
        Some((LABEL_STUDIO.into(), store.clone()))
    }

    /// The sessions of Label Studio that passed by, which whoever passes requests on to it keeps.
    pub(super) fn sessions(&self) -> Option<Arc<Sessions>> {
        Some(self.label_studio()?.sessions.clone())
    }

    fn label_studio(&self) -> Option<&LabelStudio> {
        match self {
            Self::LabelStudio(label_studio) => Some(label_studio),
            Self::Tokens { .. } => None,
        }
    }
}

async fn tokens(
    config: &Config,
    auth: &AuthConfig,
    before: Option<(&Config, &Judges)>,
) -> Result<Judges, StartError> {
    // Who works now is replaced by nobody who does not.
    let works = before.is_some_and(|(_, judges)| judges.authority().ready());
    let before = before.and_then(|(old, judges)| match judges {
        Judges::Tokens { auth, lists } => Some((old, auth, lists)),
        Judges::LabelStudio(_) => None,
    });
    let auth = match before {
        Some((old, kept, _)) if old.auth.as_ref() == Some(auth) => kept.clone(),
        Some(_) | None => {
            let auth = Arc::new(Authenticator::new(auth.clone())?);
            // Bounded by the fetch's own time-out; a request that comes before would have to wait for the same.
            auth.loaded().await;
            auth
        }
    };
    let kept = before.filter(|(old, _, _)| old.access == config.access);
    let lists = open_lists(config, kept.map(|(_, _, lists)| lists), works).await?;
    Ok(Judges::Tokens { auth, lists })
}

/// The lists of a configuration; `kept` are those of the same configuration. `works`: those in force do, so that new ones
/// have to.
async fn open_lists(
    config: &Config,
    kept: Option<&Lists>,
    works: bool,
) -> Result<Lists, StartError> {
    let access = &config.access;
    match (&access.source, kept) {
        (AccessSource::File(file), kept) => {
            let list = match kept {
                Some(Lists::File(list)) => list.clone(),
                Some(Lists::Postgres(..)) | None => {
                    open_list(file.to_owned(), access.media).await?
                }
            };
            let ids: Vec<StorageId> = config.storages.iter().map(|it| it.id.clone()).collect();
            list.check_storages(&ids)?;
            Ok(Lists::File(list))
        }
        (AccessSource::Postgres(database), kept) => {
            let ca_file = database.ca_file.as_deref();
            let ca = ca_file.and_then(|file| std::fs::read(file).ok());
            if let Some(Lists::Postgres(tables, known)) = kept
                && *known == ca
            {
                return Ok(Lists::Postgres(tables.clone(), ca));
            }
            let opened = PostgresAuthority::open(database, access.media, access.max_age)?;
            if works {
                opened.becomes_ready().await?;
            }
            Ok(Lists::Postgres(Arc::new(opened), ca))
        }
        // Its own word is asked for, no list.
        (AccessSource::LabelStudio(_), _) => Err(StartError::NoTokens),
    }
}

/// Reading 100,000 tasks takes a while: not on a thread that serves.
async fn open_list(
    file: std::path::PathBuf,
    media: MediaRule,
) -> Result<Arc<FileAuthority>, StartError> {
    match tokio::task::spawn_blocking(move || FileAuthority::open(file, media)).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(StartError::Interrupted),
    }
}

impl LabelStudio {
    fn open(
        label_studio: &LabelStudioConfig,
        config: &Config,
        before: Option<(&Config, &Self)>,
        recorder: &Recorder,
    ) -> Result<Self, StartError> {
        let kept = before.map(|(_, kept)| kept);
        let urls = kept.map_or_else(Arc::default, |kept| kept.urls.clone());
        let store = SignedStore::open(
            label_studio,
            config.delivery.stall_timeout,
            kept.map(|kept| &kept.store),
            &urls,
            recorder,
        )?;
        let before = before.filter(|(old, kept)| {
            old.access == config.access
                && old.storages == config.storages
                && kept.store.ca == store.ca
        });
        if let Some((_, kept)) = before {
            return Ok(Self {
                store,
                ..kept.clone()
            });
        }
        let asker = Asker::new(&label_studio.url, label_studio.ca_file.as_deref());
        let asker = Arc::new(asker.map_err(StartError::AskLabelStudio)?);
        // Who has logged out stays so.
        let sessions = kept.map_or_else(Arc::default, |kept| kept.sessions.clone());
        let own = own_storages(config);
        let authority = LabelStudioAuthority::new(asker.clone(), &config.access, own, urls.clone());
        Ok(Self {
            auth: Arc::new(LabelStudioIdentity::new(asker, sessions.clone())),
            authority: Arc::new(authority),
            sessions,
            urls,
            store,
        })
    }
}

/// Which of the storages of this configuration hold a URI, for Label Studio to say which of them may serve it.
fn own_storages(config: &Config) -> OwnStorages {
    let rules = storage_rules(config);
    let roots: HashMap<StorageId, PathBuf> = config
        .storages
        .iter()
        .filter_map(|storage| match &storage.backend {
            BackendConfig::Local(local) => Some((storage.id.clone(), local.root.clone())),
            _ => None,
        })
        .collect();
    let local_files = !roots.is_empty();
    let holding = move |uri: &MediaUri| {
        let held = rules.rules().iter().filter_map(|rule| {
            let key = rule.key(uri)?;
            let named = match uri {
                // Whether it names its storage is part of what is asked.
                MediaUri::Local { .. } => uri.clone(),
                _ => rule.names.uri(&key)?,
            };
            Some(Held {
                storage: rule.id.clone(),
                uri: named,
                root: roots.get(&rule.id).cloned(),
            })
        });
        held.collect()
    };
    OwnStorages {
        holding: Arc::new(holding),
        local_files,
    }
}

impl SignedStore {
    fn open(
        config: &LabelStudioConfig,
        stall_timeout: Duration,
        before: Option<&Self>,
        urls: &Arc<SignedUrls>,
        recorder: &Recorder,
    ) -> Result<Self, StartError> {
        let ca_file = config.ca_file.as_deref();
        let ca = ca_file.and_then(|file| std::fs::read(file).ok());
        if let Some(kept) = before
            && (&kept.config, kept.stall_timeout, &kept.ca) == (config, stall_timeout, &ca)
        {
            return Ok(kept.clone());
        }
        // Project managers choose where storage is: on this machine only where Label Studio itself is.
        let reach = Reach::Elsewhere {
            loopback: is_loopback(config),
        };
        let client = HttpClient::within(reach, ca_file, stall_timeout);
        let client = client.map_err(StartError::LabelStudio)?;
        let signed = Signed::new(urls.clone(), client);
        let id = LABEL_STUDIO.into();
        let traced = Traced::around(Arc::new(signed), &id, &recorder.traces);
        let measured = Measured::new(traced, id, recorder.metrics.clone());
        Ok(Self {
            config: config.clone(),
            stall_timeout,
            ca,
            store: Store::new(Arc::new(Retry::new(measured)), None),
        })
    }
}

fn is_loopback(config: &LabelStudioConfig) -> bool {
    match config.url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
