//! One request to the aggregator's API. (step 15)

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(20);
const ANSWER_MAX: usize = 16 << 20;

/// Where the aggregator is and how to be let in.
#[derive(Debug, Clone)]
pub struct Api {
    url: String,
    token: Option<String>,
    tls: rustls::ClientConfig,
}

impl Api {
    /// Reads the token and the CA file.
    ///
    /// # Errors
    /// One line that names the file or the URL.
    pub fn new(
        url: &str,
        token_file: Option<&Path>,
        ca_file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let is_url = url.parse::<hyper::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
        });
        anyhow::ensure!(is_url, "`{url}` is not a URL: give --url http://HOST:PORT");
        let token = token_file
            .map(|path| {
                std::fs::read_to_string(path)
                    .map(|text| text.trim().to_owned())
                    .with_context(|| format!("read the token from {}", path.display()))
            })
            .transpose()?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token,
            tls: tls(ca_file)?,
        })
    }

    /// Asks `path` below `/api/v1/`; `Null` for an answer without content.
    ///
    /// # Errors
    /// One line: not reached, not let in, or what the aggregator refused.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.url))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("hsw/", env!("CARGO_PKG_VERSION")));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let bytes = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = request
            .body(Full::new(bytes))
            .context("the URL or the token is not valid in HTTP: check --url and --token-file")?;
        let (status, body) = self.patiently(request).await?;
        self.read(status, &body)
    }

    /// Whether the process answers `/healthz`; open to everybody, so no token is shown.
    ///
    /// # Errors
    /// One line: not reached, or not an aggregator.
    pub async fn health(&self) -> anyhow::Result<()> {
        let request = Request::builder()
            .uri(format!("{}/healthz", self.url))
            .body(Full::new(Bytes::new()))
            .context("the URL is not valid in HTTP: check --url")?;
        let (status, _) = self.patiently(request).await?;
        anyhow::ensure!(
            status.is_success(),
            "{} answered {status}: is it an aggregator?",
            self.url
        );
        Ok(())
    }

    /// Takes a long answer piece by piece.
    ///
    /// # Errors
    /// One line: not reached, not let in, what the aggregator refused, that it broke off, or what `take` says.
    pub async fn download(
        &self,
        path: &str,
        take: &mut dyn FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut request = Request::builder().uri(format!("{}/api/v1/{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Full::new(Bytes::new()))
            .context("the URL or the token is not valid in HTTP: check --url and --token-file")?;
        let response = tokio::time::timeout(TIMEOUT, self.send(request)).await;
        let response = response.with_context(|| format!("no answer from {}", self.url))??;
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            let body = Limited::new(body, ANSWER_MAX).collect().await;
            let body = body.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
            self.read(status, &body.to_bytes())?;
            anyhow::bail!("{} answered {status}", self.url);
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the answer broke off")?;
            if let Some(bytes) = frame.data_ref() {
                take(bytes)?;
            }
        }
        Ok(())
    }

    async fn patiently(
        &self,
        request: Request<Full<Bytes>>,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        tokio::time::timeout(TIMEOUT, self.exchange(request))
            .await
            .with_context(|| {
                format!(
                    "no answer from {} within {} s: see its /readyz",
                    self.url,
                    TIMEOUT.as_secs()
                )
            })?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<(StatusCode, Bytes)> {
        let response = self.send(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?;
        Ok((status, body.to_bytes()))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Incoming>> {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        client.request(request).await.map_err(|error| {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            anyhow::anyhow!(
                "cannot reach the aggregator at {} ({cause}): is it running? Give --url or HSW_URL if it is elsewhere",
                self.url
            )
        })
    }

    fn read(&self, status: StatusCode, body: &Bytes) -> anyhow::Result<Value> {
        if status == StatusCode::UNAUTHORIZED {
            anyhow::bail!(
                "the aggregator asks for a token: give --token-file with the file its web_token_file names"
            );
        }
        if status.is_success() && body.is_empty() {
            return Ok(Value::Null);
        }
        let answer: Option<Value> = serde_json::from_slice(body).ok();
        match answer {
            Some(answer) if status.is_success() => Ok(answer),
            Some(answer) => {
                anyhow::bail!("{}", answer["error"].as_str().unwrap_or(status.as_str()))
            }
            None => anyhow::bail!(
                "{} answered {status} and no JSON: is it an aggregator?",
                self.url
            ),
        }
    }
}

fn tls(ca_file: Option<&Path>) -> anyhow::Result<rustls::ClientConfig> {
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .context("TLS versions of the built-in provider")?;
    let mut roots = rustls::RootCertStore::empty();
    if let Some(path) = ca_file {
        let certificates = CertificateDer::pem_file_iter(path)
            .with_context(|| format!("read --ca-file {}", path.display()))?;
        for certificate in certificates {
            roots.add(
                certificate.with_context(|| format!("--ca-file {} is not PEM", path.display()))?,
            )?;
        }
    } else if let Ok(trusting) = builder.clone().with_native_roots() {
        return Ok(trusting.with_no_client_auth());
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
