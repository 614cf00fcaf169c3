//! One HTTP client for all receivers: POST JSON, over TLS where the URL says so. (step 14)
//!
//! In: a URL, a body, perhaps a bearer token. Out: how it went, in one of four ways.
//! Invariants: AL-8 a URL that comes from a file is never logged or shown: it may hold a secret.
//! Limits: 64 KiB of an answer are looked at; the rest is dropped with the connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// How a delivery went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 2xx.
    Done,
    /// Worth another try: 5xx, 429, no connection, no answer in time.
    Again(String),
    /// 3xx or 4xx: the same message would be refused again.
    Refused(String),
}

/// The client. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Client {
    inner: Legacy<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// `ca_file`: PEM certificates to trust instead of the system's. Without it, a machine that has no CA certificates
    /// still reaches plain-HTTP receivers.
    ///
    /// # Errors
    /// When `ca_file` cannot be read or holds no certificate.
    pub(super) fn new(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .context("TLS versions of the built-in provider")
        };
        let tls = if let Some(path) = ca_file {
            builder()?
                .with_root_certificates(roots(path)?)
                .with_no_client_auth()
        } else {
            match builder()?.with_native_roots() {
                Ok(trusting) => trusting.with_no_client_auth(),
                Err(error) => {
                    tracing::warn!(%error, "no system CA certificates: https receivers need alerts.ca_file");
                    builder()?
                        .with_root_certificates(RootCertStore::empty())
                        .with_no_client_auth()
                }
            }
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let inner = Legacy::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(90))
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Self { inner })
    }

    /// Posts `body`; never longer than `timeout`.
    pub(super) async fn post(
        &self,
        url: &str,
        token: Option<&str>,
        body: Bytes,
        timeout: Duration,
    ) -> Outcome {
        let mut request = Request::post(url)
            .header(CONTENT_TYPE, "application/json")
            .header(
                USER_AGENT,
                concat!("hypershardwatch/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let Ok(request) = request.body(Full::new(body)) else {
            return Outcome::Refused("the URL or the token is not valid in HTTP".to_owned());
        };
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Again(format!("no answer within {} s", timeout.as_secs())),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Outcome {
        let response = match self.inner.request(request).await {
            Ok(response) => response,
            Err(error) => {
                let mut text = error.to_string();
                let mut cause = std::error::Error::source(&error);
                while let Some(inner) = cause {
                    text = format!("{text}: {inner}");
                    cause = inner.source();
                }
                return Outcome::Again(text);
            }
        };
        let status = response.status();
        let body = Limited::new(response.into_body(), 64 << 10).collect().await;
        if status.is_success() {
            return Outcome::Done;
        }
        let text = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
        let says: String = String::from_utf8_lossy(&text)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(160)
            .collect();
        let line = format!("{status}: {}", says.trim());
        if status.is_server_error() || status.as_u16() == 429 {
            Outcome::Again(line)
        } else {
            Outcome::Refused(line)
        }
    }
}

fn roots(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path)
        .with_context(|| format!("read alerts.ca_file {}", path.display()))?;
    for certificate in certificates {
        let certificate =
            certificate.with_context(|| format!("alerts.ca_file {} is not PEM", path.display()))?;
        roots
            .add(certificate)
            .with_context(|| format!("a certificate of alerts.ca_file {}", path.display()))?;
    }
    anyhow::ensure!(
        !roots.is_empty(),
        "alerts.ca_file {} holds no certificate: give a PEM file of CA certificates",
        path.display()
    );
    Ok(roots)
}
