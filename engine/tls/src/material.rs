//! [`Material`]: keys and certificates, read and made ready for handshakes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mq_env::clock::Clock;
use mq_env::disk::Disk;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};

use crate::error::TlsError;
use crate::settings::{ClientAuth, KeyPair, TlsSettings};
use crate::verify::{ServerVerifier, Trusted};

/// Bytes of one file at most.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The name in a certificate that a server makes for itself: nobody looks at it.
const OWN_NAME: &str = "rocketmq";

/// What handshakes need.
pub(crate) struct Material {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

/// What the files hold, in an order of their own.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contents(Vec<(PathBuf, Vec<u8>)>);

/// A chain and its key.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// The wall clock of the environment.
struct EnvTime(Arc<dyn Clock>);

impl std::fmt::Debug for EnvTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EnvTime")
    }
}

impl TimeProvider for EnvTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now_millis())))
    }
}

impl Contents {
    /// Reads every file that the settings name.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub(crate) fn read(settings: &TlsSettings, disk: &dyn Disk) -> Result<Self, TlsError> {
        let pairs = [&settings.server, &settings.client].into_iter().flatten();
        let paths = pairs.flat_map(|pair| [&pair.cert_path, &pair.key_path]);
        let paths = paths.chain(&settings.server_trust).chain(&settings.client_trust);
        let read = |path: &PathBuf| {
            let unusable = |reason: String| TlsError::File { path: path.clone(), reason };
            let content = disk.read_at(path, 0, FILE_BYTES_MAX + 1);
            let content = content.map_err(|error| unusable(error.to_string()))?;
            if content.len() > FILE_BYTES_MAX {
                return Err(unusable(format!("it has more than {FILE_BYTES_MAX} bytes")));
            }
            Ok((path.clone(), content))
        };
        paths.map(read).collect::<Result<_, _>>().map(Contents)
    }

    fn of(&self, path: &Path) -> &[u8] {
        let found = self.0.iter().find(|(there, _)| there == path);
        found.map_or(&[], |(_, content)| content)
    }

    fn certs(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let unusable = |reason: String| TlsError::File { path: path.to_path_buf(), reason };
        let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.of(path)).collect();
        let certs = certs.map_err(|error| unusable(format!("it is no PEM: {error}")))?;
        if certs.is_empty() {
            return Err(unusable(
                "it has no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned(),
            ));
        }
        Ok(certs)
    }

    fn identity(&self, pair: &KeyPair) -> Result<Identity, TlsError> {
        let chain = self.certs(&pair.cert_path)?;
        let key = PrivateKeyDer::from_pem_slice(self.of(&pair.key_path));
        // What is wrong is said without a byte of the key.
        let key = key.map_err(|_| TlsError::File {
            path: pair.key_path.clone(),
            reason: "it has no key in PEM that is not encrypted (-----BEGIN PRIVATE KEY-----)"
                .to_owned(),
        })?;
        Ok(Identity { chain, key })
    }

    fn trusted(&self, path: &Path) -> Result<Trusted, TlsError> {
        let trusted = Trusted::new(self.certs(path)?);
        trusted
            .map_err(|error| TlsError::File { path: path.to_path_buf(), reason: error.to_string() })
    }
}

impl Material {
    /// # Errors
    /// What does not go together.
    pub(crate) fn new(
        settings: &TlsSettings,
        contents: &Contents,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let time: Arc<dyn TimeProvider> = Arc::new(EnvTime(Arc::clone(clock)));
        let server = server(settings, contents, &provider, &time)?;
        let client = client(settings, contents, &provider, &time)?;
        Ok(Material { server: Arc::new(server), client: Arc::new(client) })
    }
}

fn server(
    settings: &TlsSettings,
    contents: &Contents,
    provider: &Arc<CryptoProvider>,
    time: &Arc<dyn TimeProvider>,
) -> Result<ServerConfig, TlsError> {
    let what = "tls.server.certPath and tls.server.keyPath";
    let failed = |error: rustls::Error| TlsError::Material { what, reason: error.to_string() };
    let Identity { chain, key } = match &settings.server {
        Some(pair) => contents.identity(pair)?,
        None => own_identity()?,
    };
    let builder = ServerConfig::builder_with_details(Arc::clone(provider), Arc::clone(time));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let builder = match &settings.server_trust {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(contents.trusted(path)?.roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
            let verifier = match settings.client_auth {
                ClientAuth::Require => verifier,
                ClientAuth::None | ClientAuth::Optional => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build();
            let verifier = verifier.map_err(|error| TlsError::File {
                path: path.clone(),
                reason: error.to_string(),
            })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    builder.with_single_cert(chain, key).map_err(failed)
}

fn client(
    settings: &TlsSettings,
    contents: &Contents,
    provider: &Arc<CryptoProvider>,
    time: &Arc<dyn TimeProvider>,
) -> Result<ClientConfig, TlsError> {
    let what = "tls.client.certPath and tls.client.keyPath";
    let failed = |error: rustls::Error| TlsError::Material { what, reason: error.to_string() };
    let trusted =
        settings.client_trust.as_deref().map(|path| contents.trusted(path)).transpose()?;
    let verifier: Arc<dyn ServerCertVerifier> =
        Arc::new(ServerVerifier { provider: Arc::clone(provider), trusted });
    let builder = ClientConfig::builder_with_details(Arc::clone(provider), Arc::clone(time));
    let builder = builder.with_safe_default_protocol_versions().map_err(failed)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match &settings.client {
        None => Ok(builder.with_no_client_auth()),
        Some(pair) => {
            let Identity { chain, key } = contents.identity(pair)?;
            builder.with_client_auth_cert(chain, key).map_err(failed)
        }
    }
}

/// A certificate that a server signs for itself, as 4.9 does in test mode.
fn own_identity() -> Result<Identity, TlsError> {
    let made = generate_simple_self_signed([OWN_NAME.to_owned()]);
    let CertifiedKey { cert, signing_key } = made.map_err(|error| TlsError::Material {
        what: "tls.test.mode.enable",
        reason: error.to_string(),
    })?;
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    Ok(Identity { chain: vec![cert.der().clone()], key: key.into() })
}
