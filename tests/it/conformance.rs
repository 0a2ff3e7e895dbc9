//! One suite for every store: what each must do ([`points`]), with every key that it can have ([`keys`]).

pub mod keys;
pub mod points;

use crate::support::disk::Disk;
use crate::support::files_api::FilesApi;
use crate::support::gateway::Setup;
use crate::support::redis::Redis;
use crate::support::shop::Shop;
use crate::support::shops::{Container, GarageBucket, GcsBucket, InProcess};

/// Every point; the keys first, while nothing else is there to be listed. The gateway believes no metadata, so that a
/// change shows at once.
async fn conforms(shop: &impl Shop) {
    let setup = Setup::over(&shop.section()).set("cache.metadata_max_age", "0s");
    let gateway = setup.start().await;
    points::odd_keys(shop, &gateway).await;
    points::listings(shop).await;
    points::signed_urls(shop).await;
    points::ranges(shop, &gateway).await;
    points::conditions(shop, &gateway).await;
    points::missing(shop, &gateway).await;
    points::versions(shop).await;
    points::changes(shop, &gateway).await;
}

#[tokio::test]
async fn the_s3_server_in_this_process_conforms() {
    conforms(&InProcess::open().await).await;
}

#[tokio::test]
async fn garage_conforms() {
    if let Some(shop) = GarageBucket::open().await {
        conforms(&shop).await;
    }
}

#[tokio::test]
async fn azurite_conforms_with_the_accounts_key() {
    if let Some(shop) = Container::by_account_key().await {
        conforms(&shop).await;
    }
}

#[tokio::test]
async fn azurite_conforms_with_a_sas() {
    if let Some(shop) = Container::by_sas().await {
        conforms(&shop).await;
    }
}

#[tokio::test]
async fn azurite_conforms_with_a_service_principals_token() {
    if let Some(shop) = Container::by_token().await {
        conforms(&shop).await;
    }
}

#[tokio::test]
async fn the_emulator_of_google_cloud_storage_conforms() {
    if let Some(shop) = GcsBucket::open().await {
        conforms(&shop).await;
    }
}

#[tokio::test]
async fn a_volume_conforms() {
    conforms(&FilesApi::start().await).await;
}

#[tokio::test]
async fn redis_conforms() {
    if let Some(shop) = Redis::start().await {
        conforms(&shop).await;
    }
}

#[tokio::test]
async fn local_files_conform() {
    conforms(&Disk::new()).await;
}
