//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) by rustls, HTTP/2 and HTTP/1.1 offered by ALPN (RFC 7301).
//!
//! Certificates can be read again while connections run; a bad one keeps the old. Clients are asked for certificates of
//! their own (RFC 8446 §4.3.2) where an authority is configured for them. Never prints what a key file holds.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use super::{TlsFiles, ciphers};

/// What ALPN offers, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate in service, and how to serve it.
#[derive(Debug)]
pub struct Tls {
    config: ArcSwap<ServerConfig>,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read; it must exist and Lockgate's user must be allowed to read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM. What stands in it is not shown: it may be a key.
    #[error(
        "{path} is not a PEM file; it must hold -----BEGIN …----- and -----END …----- on lines of their own"
    )]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// There is no certificate in the file.
    #[error(
        "{path} holds no certificate; it must hold the chain in PEM, the server's own certificate first"
    )]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no private key in the file.
    #[error(
        "{path} holds no private key; it must hold one in PEM, not encrypted (PKCS #8, PKCS #1 or SEC1)"
    )]
    NoPrivateKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is not the certificate's, or of a kind that is not served.
    #[error(
        "the private key {private_key} does not fit the certificate {certificate}; give the key it was issued for"
    )]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        private_key: PathBuf,
        /// What rustls says.
        #[source]
        source: rustls::Error,
    },
    /// No client could be told by what the file of their authorities holds.
    #[error(
        "{path} cannot be used to verify clients; it must hold the certificates of authorities"
    )]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        #[source]
        source: VerifierBuilderError,
    },
    /// rustls cannot be set up.
    #[error("tls cannot be set up")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// Whether PEM was found and the certificate in it is none, so that no key could fit it.
    fn is_about_the_certificate(&self) -> bool {
        matches!(
            self,
            Self::Mismatch {
                source: rustls::Error::InvalidCertificate(_),
                ..
            }
        )
    }
}

impl Tls {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// A file that is not there, not PEM, or not the other's.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        Ok(Self {
            config: ArcSwap::from_pointee(server_config(files)?),
        })
    }

    /// What [`Self::load`] would refuse, each with the key of `[server.tls]` that names the file to change.
    pub fn mistakes(files: &TlsFiles) -> Vec<(&'static str, TlsError)> {
        let chain = chain(&files.certificate);
        let key = private_key(&files.private_key);
        let mistakes = match (chain, key) {
            (Ok(chain), Ok(key)) => {
                let fit = certified(files, chain, key, &aws_lc_rs::default_provider());
                match fit.err() {
                    Some(error) if error.is_about_the_certificate() => [Some(error), None],
                    error => [None, error],
                }
            }
            (chain, key) => [chain.err(), key.err()],
        };
        let keys = ["certificate", "private_key"].into_iter();
        let client_ca = client_verifier(files, &Arc::new(aws_lc_rs::default_provider())).err();
        keys.zip(mistakes)
            .chain([("client_ca", client_ca)])
            .filter_map(|(key, mistake)| Some((key, mistake?)))
            .collect()
    }

    /// Reads again, from wherever the files are now: new connections get the new certificate and are asked for one of the new authorities',
    /// running ones keep theirs. Tickets of before are no longer taken: they would carry an old client in.
    ///
    /// # Errors
    /// As for [`Self::load`]; the old certificate stays in service.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsError> {
        self.config.store(Arc::new(server_config(files)?));
        Ok(())
    }

    /// Accepts connections with the certificate of the moment.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let (provider, ours_first) = ciphers::provider();
    let certificate = read(files, &provider)?;
    let clients = client_verifier(files, &provider)?;
    // rustls knows TLS 1.2 and 1.3 and nothing older (RFC 8996).
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certificate)));
    config.ignore_client_order = ours_first;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    // Stateless tickets (RFC 5077, RFC 8446 §4.6.1): a returning browser saves a signature and a round trip.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
    Ok(config)
}

/// Asks nobody for a certificate, or everybody.
fn client_verifier(
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = &files.client_ca else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    let unusable = |source| TlsError::ClientCa {
        path: path.clone(),
        source,
    };
    for certificate in chain(path)? {
        let added = roots.add(certificate);
        added.map_err(|_| unusable(VerifierBuilderError::NoRootAnchors))?;
    }
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let verifier = if files.client_optional {
        verifier.allow_unauthenticated()
    } else {
        verifier
    };
    verifier.build().map_err(unusable)
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = chain(&files.certificate)?;
    certified(files, chain, private_key(&files.private_key)?, provider)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(path, error, |path| TlsError::NoCertificate { path }))?;
    if chain.is_empty() {
        let path = path.to_owned();
        return Err(TlsError::NoCertificate { path });
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| unreadable(path, error, |path| TlsError::NoPrivateKey { path }))
}

fn certified(
    files: &TlsFiles,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    CertifiedKey::from_der(chain, key, provider).map_err(|source| TlsError::Mismatch {
        certificate: files.certificate.clone(),
        private_key: files.private_key.clone(),
        source,
    })
}

fn unreadable(path: &Path, error: pem::Error, nothing_found: fn(PathBuf) -> TlsError) -> TlsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => TlsError::Unreadable { path, source },
        pem::Error::NoItemsFound => nothing_found(path),
        // The crate's own message quotes the line, and a key on one line is a line.
        _ => TlsError::NotPem { path },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;

    use rustls::ClientConfig;
    use rustls::pki_types::ServerName;
    use tempfile::TempDir;
    use tokio_rustls::{TlsConnector, client};

    use super::*;

    /// A certificate authority, and a directory with a certificate it issued.
    pub(crate) struct Authority {
        issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
        root: CertificateDer<'static>,
        directory: TempDir,
    }

    impl Authority {
        pub(crate) fn new() -> Self {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let root = params.self_signed(&key).unwrap().der().clone();
            let authority = Self {
                issuer: rcgen::Issuer::new(params, key),
                root,
                directory: tempfile::tempdir().unwrap(),
            };
            authority.issue("localhost");
            authority
        }

        pub(crate) fn issue(&self, name: &str) {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &self.issuer).unwrap();
            fs::write(self.files().certificate, certificate.pem()).unwrap();
            fs::write(self.files().private_key, key.serialize_pem()).unwrap();
        }

        pub(crate) fn files(&self) -> TlsFiles {
            TlsFiles {
                certificate: self.directory.path().join("tls.crt"),
                private_key: self.directory.path().join("tls.key"),
                client_ca: None,
                client_optional: false,
            }
        }

        pub(crate) fn connector(&self, alpn: &[&[u8]]) -> TlsConnector {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.clone()).unwrap();
            let provider = Arc::new(aws_lc_rs::default_provider());
            let mut config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        }

        pub(crate) async fn connect(
            &self,
            tls: &Tls,
            name: &'static str,
        ) -> io::Result<client::TlsStream<tokio::io::DuplexStream>> {
            let (near, far) = tokio::io::duplex(1 << 16);
            let server = tls.acceptor().accept(far);
            let name = ServerName::try_from(name).unwrap();
            let connector = self.connector(&PROTOCOLS);
            let (client, _) = tokio::join!(connector.connect(name, near), server);
            client
        }
    }

    #[tokio::test]
    async fn a_client_that_trusts_the_authority_gets_http_2_by_alpn() {
        let authority = Authority::new();
        let tls = Tls::load(&authority.files()).unwrap();
        let stream = authority.connect(&tls, "localhost").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    }

    #[tokio::test]
    async fn a_reloaded_certificate_is_served_and_a_bad_one_keeps_the_old() {
        let authority = Authority::new();
        let tls = Tls::load(&authority.files()).unwrap();
        authority.issue("media.example.com");
        assert!(authority.connect(&tls, "media.example.com").await.is_err());
        let files = authority.files();
        tls.reload(&files).unwrap();
        assert!(authority.connect(&tls, "media.example.com").await.is_ok());
        fs::write(authority.files().certificate, "broken").unwrap();
        let refused = tls.reload(&files);
        assert!(matches!(refused, Err(TlsError::NoCertificate { .. })));
        assert!(authority.connect(&tls, "media.example.com").await.is_ok());
    }

    #[test]
    fn each_mistake_names_the_file() {
        let authority = Authority::new();
        let files = authority.files();
        let load = |files: &TlsFiles| Tls::load(files).unwrap_err();

        let absent = TlsFiles {
            certificate: files.certificate.with_extension("absent"),
            ..files.clone()
        };
        assert!(
            matches!(load(&absent), TlsError::Unreadable { path, .. } if path == absent.certificate)
        );

        let swapped = TlsFiles {
            certificate: files.private_key.clone(),
            private_key: files.certificate.clone(),
            ..files.clone()
        };
        assert!(
            matches!(load(&swapped), TlsError::NoCertificate { path } if path == files.private_key)
        );

        let twice = TlsFiles {
            private_key: files.certificate.clone(),
            ..files.clone()
        };
        assert!(
            matches!(load(&twice), TlsError::NoPrivateKey { path } if path == files.certificate)
        );

        fs::write(
            &files.private_key,
            rcgen::KeyPair::generate().unwrap().serialize_pem(),
        )
        .unwrap();
        assert!(matches!(load(&files), TlsError::Mismatch { .. }));
    }

    #[test]
    fn a_key_on_one_line_is_not_quoted_in_the_error() {
        let authority = Authority::new();
        let files = authority.files();
        fs::write(
            &files.private_key,
            "-----BEGIN PRIVATE KEY-----MC4CAQAwSECRET-----END PRIVATE KEY-----\n",
        )
        .unwrap();
        let error = Tls::load(&files).unwrap_err();
        assert!(
            !format!("{error} {error:?}").contains("SECRET"),
            "{error:?}"
        );
    }
}
