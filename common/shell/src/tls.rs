//! TLS 1.3 with certificates on both sides, and identities that change on disk without a restart. (steps 5–6)
//!
//! In: PEM files of a certificate chain, its key, and the authority. Out: rustls configurations and the peer's [`NodeId`].
//! Invariants: TL-1 no connection without a certificate of our authority on either side. TL-2 the node's name is the one
//! DNS name in its certificate, nothing it says. TL-3 a file that cannot be read keeps the identity that was in force.
//! TL-4 no resumption: each connection is judged by the authority of today.
//! Does not: open sockets.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use hsw_types::NodeId;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme, version};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::Shutdown;

/// The application protocol both sides must agree on; changes when agent and aggregator can no longer talk.
pub const ALPN: &[u8] = b"hsw/1";

/// How often [`watch`] looks at the files.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// A certificate, its key and the authority that judges peers; what is in force changes with the files.
pub struct Identity {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    current: ArcSwap<Snapshot>,
    /// What the files looked like when last read, whether that went well or not.
    stamps: Mutex<Stamps>,
}

struct Snapshot {
    certified: Arc<CertifiedKey>,
    clients: Arc<dyn ClientCertVerifier>,
    servers: Arc<WebPkiServerVerifier>,
    node: NodeId,
    not_after: i64,
}

/// Device, inode, size and change time of each file.
type Stamps = [(u64, u64, u64, i64, i64); 3];

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("node", &self.current.load().node)
            .field("cert", &self.cert)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the three PEM files and checks that they belong together.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn load(cert: &Path, key: &Path, ca: &Path) -> anyhow::Result<Self> {
        let stamps = stamps(cert, key, ca);
        let snapshot = Snapshot::read(cert, key, ca)?;
        Ok(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            ca: ca.to_owned(),
            current: ArcSwap::from_pointee(snapshot),
            stamps: Mutex::new(stamps),
        })
    }

    /// The name in our own certificate.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.current.load().node.clone()
    }

    /// Seconds until our certificate expires; negative when it has.
    #[must_use]
    pub fn cert_expiry(&self) -> i64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
        self.current.load().not_after.saturating_sub(now)
    }

    /// When our certificate expires, Unix seconds.
    #[must_use]
    pub fn cert_expires_at(&self) -> i64 {
        self.current.load().not_after
    }

    /// Reads the files again when they changed since they were last read; true when a new identity is in force.
    ///
    /// # Errors
    /// When they changed into something unusable; the old identity stays, and the next call is silent until they
    /// change again.
    pub fn reload_if_changed(&self) -> anyhow::Result<bool> {
        let found = stamps(&self.cert, &self.key, &self.ca);
        let mut last = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == found {
            return Ok(false);
        }
        *last = found;
        let snapshot = Snapshot::read(&self.cert, &self.key, &self.ca)?;
        self.current.store(Arc::new(snapshot));
        Ok(true)
    }
}

impl Snapshot {
    fn read(cert: &Path, key: &Path, ca: &Path) -> anyhow::Result<Self> {
        let provider = provider();
        let chain = read_certificates(cert, "certificate")?;
        let private = fs::read(key)
            .with_context(|| format!("cannot read the private key {}", key.display()))?;
        let private = PrivateKeyDer::from_pem_slice(&private)
            .with_context(|| format!("{} holds no PEM private key", key.display()))?;
        let node = peer_node(&chain).with_context(|| format!("certificate {}", cert.display()))?;
        let not_after = not_after(&chain[0])?;
        let certified = CertifiedKey::from_der(chain, private, &provider).with_context(|| {
            format!(
                "key {} does not belong to certificate {}",
                key.display(),
                cert.display()
            )
        })?;

        let mut roots = RootCertStore::empty();
        for root in read_certificates(ca, "authority")? {
            roots
                .add(root)
                .with_context(|| format!("{} is not an authority's certificate", ca.display()))?;
        }
        let roots = Arc::new(roots);
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .with_context(|| format!("use authority {}", ca.display()))?;
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider)
            .build()
            .with_context(|| format!("use authority {}", ca.display()))?;
        Ok(Self {
            certified: Arc::new(certified),
            clients,
            servers,
            node,
            not_after,
        })
    }
}

/// The server's side: asks for a certificate, TLS 1.3, ALPN [`ALPN`]. Follows changes of `identity`.
///
/// # Errors
/// When the crypto provider lacks TLS 1.3.
pub fn server_config(identity: &Arc<Identity>) -> anyhow::Result<rustls::ServerConfig> {
    let live = Arc::new(Live(Arc::clone(identity)));
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .context("set up TLS 1.3")?
        .with_client_cert_verifier(Arc::<Live>::clone(&live))
        .with_cert_resolver(live);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The client's side: shows our certificate, TLS 1.3, ALPN [`ALPN`]. Follows changes of `identity`.
///
/// # Errors
/// When the crypto provider lacks TLS 1.3.
pub fn client_config(identity: &Arc<Identity>) -> anyhow::Result<rustls::ClientConfig> {
    let live = Arc::new(Live(Arc::clone(identity)));
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .context("set up TLS 1.3")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::<Live>::clone(&live))
        .with_client_cert_resolver(live);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// The node a verified chain speaks for: the only DNS name of its first certificate.
///
/// # Errors
/// When there is none, more than one, or one that is not a [`NodeId`].
pub fn peer_node(chain: &[CertificateDer<'_>]) -> anyhow::Result<NodeId> {
    let leaf = chain.first().context("no certificate")?;
    let (_, parsed) = parse_x509_certificate(leaf).context("not an X.509 certificate")?;
    let names = parsed
        .subject_alternative_name()
        .context("read the alternative names")?;
    let mut dns = names
        .iter()
        .flat_map(|ext| &ext.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(dns) => Some(*dns),
            _ => None,
        });
    match (dns.next(), dns.next()) {
        (Some(name), None) => Ok(NodeId::new(name)?),
        (None, _) => bail!("names no node: issue one with `hsw cert issue`"),
        (Some(a), Some(b)) => {
            bail!("names more than one node ({a}, {b} …): issue one certificate for each node")
        }
    }
}

/// Follows the files of `identity` until shutdown: polls, because a certificate on a network file system or in a
/// container's volume gives no notice.
pub async fn watch(identity: Arc<Identity>, mut shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.requested() => return,
            () = tokio::time::sleep(WATCH_INTERVAL) => {}
        }
        let files = Arc::clone(&identity);
        let Ok(outcome) = tokio::task::spawn_blocking(move || files.reload_if_changed()).await
        else {
            continue;
        };
        match outcome {
            Ok(false) => {}
            Ok(true) => tracing::info!(
                node = %identity.node(),
                expires_s = identity.cert_expiry(),
                "certificate changed, new connections use it"
            ),
            Err(why) => tracing::warn!(
                error = format!("{why:#}"),
                "changed certificate is unusable, the old one stays in force"
            ),
        }
    }
}

/// The one crypto provider of the workspace; never rustls' process default, which panics when two are compiled in.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn read_certificates(path: &Path, what: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let bytes =
        fs::read(path).with_context(|| format!("cannot read the {what} {}", path.display()))?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} is not PEM", path.display()))?;
    if chain.is_empty() {
        bail!("{} holds no PEM certificate", path.display());
    }
    Ok(chain)
}

/// End of validity, Unix seconds.
pub(crate) fn not_after(certificate: &CertificateDer<'_>) -> anyhow::Result<i64> {
    let (_, parsed) = parse_x509_certificate(certificate).context("not an X.509 certificate")?;
    Ok(parsed.validity().not_after.timestamp())
}

fn stamps(cert: &Path, key: &Path, ca: &Path) -> Stamps {
    [cert, key, ca].map(|path| {
        fs::metadata(path).map_or((0, 0, 0, 0, 0), |m| {
            (m.dev(), m.ino(), m.len(), m.ctime(), m.ctime_nsec())
        })
    })
}

/// Answers rustls' questions from whatever identity is in force at that moment.
#[derive(Debug)]
struct Live(Arc<Identity>);

impl Live {
    fn now(&self) -> Arc<Snapshot> {
        self.0.current.load_full()
    }
}

impl rustls::server::ResolvesServerCert for Live {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now().certified))
    }
}

impl rustls::client::ResolvesClientCert for Live {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Live {
    /// None: the authority may change under a running configuration, and every client has just one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.now()
            .clients
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now()
            .clients
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now()
            .clients
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().clients.supported_verify_schemes()
    }
}

impl ServerCertVerifier for Live {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.now().servers.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now()
            .servers
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now()
            .servers
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().servers.supported_verify_schemes()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
