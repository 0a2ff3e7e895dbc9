//! The servers of buckets and containers as shops: one bucket each, whose name has dots where the provider lets it.

use tempfile::TempDir;

use super::authority::Authority;
use super::azurite::{ACCOUNT, Azurite};
use super::entra;
use super::fake_gcs::FakeGcs;
use super::garage::Garage;
use super::google::AccountKey;
use super::shop::{Kind, Presigns, Shop};
use super::store::Store;
use super::uri::{path, percent};

/// In path style alone such a bucket has a certificate.
const DOTTED: &str = "team.media.v2";
const CONTAINER: &str = "media-1";

/// Amazon's own hosts, then the storage's endpoint in path and in virtual-host style; encoded as little as a path
/// can be, and wholly.
fn s3_uris(endpoint: &str, key: &str) -> Vec<String> {
    let (little, all) = (path(key), percent(key));
    let host = endpoint.strip_prefix("http://").expect("plain HTTP");
    vec![
        format!("s3://{DOTTED}/{key}"),
        format!("https://{DOTTED}.s3.eu-central-1.amazonaws.com/{little}"),
        format!("https://s3.eu-central-1.amazonaws.com/{DOTTED}/{all}"),
        format!("https://{DOTTED}.s3.amazonaws.com/{all}"),
        format!("https://s3.amazonaws.com/{DOTTED}/{little}"),
        format!("{endpoint}/{DOTTED}/{little}"),
        format!("{endpoint}/{DOTTED}/{all}"),
        format!("http://{DOTTED}.{host}/{little}"),
    ]
}

/// By name, for no bucket can stand before an address.
fn by_name(section: &str) -> String {
    section.replace("http://127.0.0.1:", "http://localhost:")
}

/// The endpoint of such a section.
fn endpoint(section: &str) -> String {
    let line = section.lines().find_map(|l| l.strip_prefix("endpoint = '"));
    let endpoint = line.expect("an endpoint").trim_end_matches('\'');
    endpoint.trim_end_matches('/').to_owned()
}

/// The S3 server in this process.
pub struct InProcess(Store);

impl InProcess {
    pub async fn open() -> Self {
        Self(Store::start().await)
    }
}

impl Shop for InProcess {
    fn kind(&self) -> Kind {
        Kind::S3
    }

    fn section(&self) -> String {
        by_name(&self.0.section(DOTTED))
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.0.put(DOTTED, key, bytes, Some("video/mp4"));
    }

    async fn remove(&self, key: &str) {
        self.0.remove(DOTTED, key);
    }

    fn uris(&self, key: &str) -> Vec<String> {
        s3_uris(&endpoint(&self.section()), key)
    }

    fn presigns(&self) -> Presigns {
        Presigns::UntilItsEnd
    }
}

/// Garage.
pub struct GarageBucket(Garage);

impl GarageBucket {
    pub async fn open() -> Option<Self> {
        let garage = Garage::start().await?;
        garage.create_bucket(DOTTED).await;
        Some(Self(garage))
    }
}

impl Shop for GarageBucket {
    fn kind(&self) -> Kind {
        Kind::Garage
    }

    fn section(&self) -> String {
        by_name(&self.0.section(DOTTED))
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.0.put(DOTTED, key, "video/mp4", bytes).await;
    }

    async fn remove(&self, key: &str) {
        self.0.delete(DOTTED, key).await;
    }

    fn uris(&self, key: &str) -> Vec<String> {
        s3_uris(&endpoint(&self.section()), key)
    }

    fn presigns(&self) -> Presigns {
        Presigns::UntilItsEnd
    }
}

/// A container of Azurite, and who asks it.
pub struct Container {
    azurite: Azurite,
    section: String,
    presigns: Presigns,
    _authority: Option<Authority>,
}

impl Container {
    pub async fn by_account_key() -> Option<Self> {
        let azurite = Azurite::start().await?;
        let section = azurite.section(CONTAINER);
        Some(Self::made(azurite, section, Presigns::UntilItsEnd, None).await)
    }

    pub async fn by_sas() -> Option<Self> {
        let azurite = Azurite::start().await?;
        let end = std::time::SystemTime::now() + std::time::Duration::from_secs(3600);
        let sas = azurite.container_sas(CONTAINER, end);
        let section = azurite.place(CONTAINER) + &format!("sas_token = '{sas}'\n");
        Some(Self::made(azurite, section, Presigns::Never, None).await)
    }

    pub async fn by_token() -> Option<Self> {
        let azurite = Azurite::start_with_tokens().await?;
        let authority = Authority::start(entra::granted).await;
        let section = azurite.place(CONTAINER) + &entra::section(authority.url());
        let presigns = Presigns::UntilItsEnd;
        Some(Self::made(azurite, section, presigns, Some(authority)).await)
    }

    async fn made(
        azurite: Azurite,
        section: String,
        presigns: Presigns,
        authority: Option<Authority>,
    ) -> Self {
        azurite.create_container(CONTAINER).await;
        Self {
            azurite,
            section,
            presigns,
            _authority: authority,
        }
    }
}

impl Shop for Container {
    fn kind(&self) -> Kind {
        Kind::Azure
    }

    fn section(&self) -> String {
        self.section.clone()
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.azurite.put(CONTAINER, key, "video/mp4", bytes).await;
    }

    async fn remove(&self, key: &str) {
        self.azurite.delete(CONTAINER, key).await;
    }

    fn uris(&self, key: &str) -> Vec<String> {
        let host = format!("https://{ACCOUNT}.blob.core.windows.net/{CONTAINER}");
        vec![
            format!("azure-blob://{CONTAINER}/{key}"),
            format!("{host}/{}", path(key)),
            format!("{host}/{}", percent(key)),
        ]
    }

    fn presigns(&self) -> Presigns {
        self.presigns
    }

    async fn fetch(&self, url: &str) -> (u16, Vec<u8>) {
        let answer = self.azurite.get(url, None).await;
        (answer.status().as_u16(), answer.body().to_vec())
    }
}

/// A bucket of fake-gcs-server, and a key to sign with.
pub struct GcsBucket {
    server: FakeGcs,
    directory: TempDir,
}

impl GcsBucket {
    pub async fn open() -> Option<Self> {
        let server = FakeGcs::start(DOTTED).await?;
        let directory = tempfile::tempdir().expect("a directory");
        let key = AccountKey::generate().file("http://127.0.0.1:9/unused");
        std::fs::write(directory.path().join("gcs.json"), key).expect("it is written");
        Some(Self { server, directory })
    }
}

impl Shop for GcsBucket {
    fn kind(&self) -> Kind {
        Kind::Gcs
    }

    fn section(&self) -> String {
        self.server.section(DOTTED)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>) {
        self.server.put(DOTTED, key, bytes).await;
    }

    async fn remove(&self, key: &str) {
        self.server.delete(DOTTED, key).await;
    }

    fn uris(&self, key: &str) -> Vec<String> {
        vec![
            format!("gs://{DOTTED}/{key}"),
            format!("https://storage.googleapis.com/{DOTTED}/{}", path(key)),
            format!("https://{DOTTED}.storage.googleapis.com/{}", path(key)),
            format!("https://storage.googleapis.com/{DOTTED}/{}", percent(key)),
        ]
    }

    /// The signature itself is verified by the tests of signed URLs.
    fn presigns(&self) -> Presigns {
        Presigns::For("X-Goog-Expires")
    }

    fn signing_section(&self) -> String {
        let file = self.directory.path().join("gcs.json");
        let credentials = format!("credentials = {{ file = '{}' }}", file.display());
        self.section().replace("anonymous = true", &credentials)
    }
}
