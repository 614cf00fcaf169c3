//! TLS towards the database. (step 1)
//!
//! In: [`Config`]. Out: the connector of the driver. Invariant: PG-3 only `verify-full` claims to know who answers;
//! the other modes encrypt and accept any certificate, and their documentation says so.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::config::{Config, TlsMode};

/// The connector for `config`; unused by the driver where TLS is disabled.
pub(super) fn connector(config: &Config) -> anyhow::Result<MakeRustlsConnect> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("set up TLS towards the database")?;
    let tls = if config.sslmode == TlsMode::VerifyFull {
        builder
            .with_root_certificates(roots(config)?)
            .with_no_client_auth()
    } else {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    };
    Ok(MakeRustlsConnect::new(tls))
}

fn roots(config: &Config) -> anyhow::Result<RootCertStore> {
    let path = config
        .sslrootcert
        .as_ref()
        .context("sslmode verify-full needs postgres.sslrootcert")?;
    let mut store = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).with_context(|| {
        format!(
            "read {}: it must hold PEM certificates and be readable for the agent",
            path.display()
        )
    })?;
    for certificate in certificates {
        let certificate = certificate
            .with_context(|| format!("parse {}: not a PEM certificate", path.display()))?;
        store.add(certificate).with_context(|| {
            format!(
                "use an authority of {}: not an X.509 certificate",
                path.display()
            )
        })?;
    }
    ensure!(
        !store.is_empty(),
        "{} holds no certificate: put the authority's PEM into it",
        path.display()
    );
    Ok(store)
}

/// Encrypts without asking who answers (libpq's `prefer` and `require`); signatures are still checked.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
