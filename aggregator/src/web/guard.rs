//! The guard: who may ask, and the headers that every answer carries. (step 15)
//!
//! In: a request. Out: the answer, or 401, 403, 421, 408 with one line that says what to do.
//! Invariants: WE-4 tokens are compared in constant time. WE-5 a page of another origin can neither read nor change
//! anything: `Host` and `Origin` are checked, changes need a JSON content type.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use subtle::ConstantTimeEq as _;

use super::api::problem;
use super::{Config, page};

const REQUEST_MAX: Duration = Duration::from_secs(15);
const TOKEN_CHARACTERS_MIN: usize = 16;

/// The rules in force.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<String>,
    is_loopback: bool,
    hosts: Vec<String>,
}

/// Put into a request that the guard let through without a token although one is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stranger;

impl Guard {
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let is_loopback = config.listen.ip().is_loopback();
        let token = match &config.token_file {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("read web_token_file {}", path.display()))?;
                let token = text.trim().to_owned();
                anyhow::ensure!(
                    token.len() >= TOKEN_CHARACTERS_MIN
                        && token.bytes().all(|b| b.is_ascii_graphic()),
                    "web_token_file {}: give at least {TOKEN_CHARACTERS_MIN} characters without blanks, e.g. from `openssl rand -hex 32`",
                    path.display()
                );
                Some(token)
            }
        };
        anyhow::ensure!(
            is_loopback || token.is_some(),
            "web = {} is not a loopback address: set web_token_file, or listen on 127.0.0.1",
            config.listen
        );
        Ok(Self {
            token,
            is_loopback,
            hosts: config.hosts.clone(),
        })
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .is_some_and(|(scheme, given)| {
                scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(given.ct_eq(token.as_bytes()))
            })
    }

    /// A loopback listener answers only to loopback names: another name means that a page elsewhere made the browser ask.
    fn admits_host(&self, host: &str) -> bool {
        let name = host_name(host);
        !self.is_loopback
            || name.eq_ignore_ascii_case("localhost")
            || name
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
            || self
                .hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
    }

    fn refusal(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).or_else(|| request.uri().authority().map(|a| a.as_str()));
        if !host.is_some_and(|host| self.admits_host(host)) {
            return Some(problem(
                StatusCode::MISDIRECTED_REQUEST,
                "this host name is not served here: use 127.0.0.1 or localhost, or name it in web_hosts",
            ));
        }
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let is_foreign = text(header::ORIGIN).is_some_and(|origin| {
            let authority = origin
                .parse::<Uri>()
                .ok()
                .and_then(|uri| uri.into_parts().authority);
            authority.as_ref().map(axum::http::uri::Authority::as_str) != host
        });
        if is_foreign {
            return Some(problem(
                StatusCode::FORBIDDEN,
                "requests of other origins are refused",
            ));
        }
        let is_json = text(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.split(';')
                .next()
                .is_some_and(|k| k.trim() == "application/json")
        });
        (!is_json && *request.method() != Method::DELETE).then(|| {
            problem(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send JSON with the header Content-Type: application/json",
            )
        })
    }
}

fn host_name(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// Open to everybody: liveness, and the page's files, which hold no data. Readiness is open without its reasons.
fn is_open(path: &str) -> bool {
    page::is_file(path) || matches!(path, "/healthz" | "/-/healthy" | "/readyz" | "/-/ready")
}

/// The middleware.
pub(super) async fn check(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = if let Some(refusal) = guard.refusal(&request) {
        refusal
    } else if guard.knows(request.headers()) {
        run(request, next).await
    } else if is_open(request.uri().path()) {
        request.extensions_mut().insert(Stranger);
        run(request, next).await
    } else {
        let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
        (
            ask,
            problem(
                StatusCode::UNAUTHORIZED,
                "a token is needed: send the header Authorization: Bearer TOKEN (the content of web_token_file)",
            ),
        )
            .into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

async fn run(request: Request, next: Next) -> Response {
    tokio::time::timeout(REQUEST_MAX, next.run(request))
        .await
        .unwrap_or_else(|_| {
            problem(
                StatusCode::GATEWAY_TIMEOUT,
                "no answer within 15 s: the aggregator is busy, see /readyz",
            )
        })
}

const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_listener_answers_to_loopback_names_only() {
        let guard = Guard {
            token: None,
            is_loopback: true,
            hosts: vec!["watch.example".to_owned()],
        };
        for good in [
            "localhost:8080",
            "127.0.0.1",
            "127.0.3.4:80",
            "[::1]:8080",
            "LOCALHOST",
            "watch.example:443",
        ] {
            assert!(guard.admits_host(good), "{good}");
        }
        for bad in [
            "evil.example",
            "evil.example:8080",
            "10.0.0.1",
            "localhost.evil.example",
            "",
        ] {
            assert!(!guard.admits_host(bad), "{bad}");
        }
    }

    #[test]
    fn outside_loopback_a_token_is_a_must_and_a_short_one_is_refused() {
        let mut config = Config {
            listen: "0.0.0.0:0".parse().unwrap(),
            ..Config::default()
        };
        assert!(
            Guard::new(&config)
                .unwrap_err()
                .to_string()
                .contains("web_token_file")
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "short\n").unwrap();
        config.token_file = Some(file.path().to_owned());
        assert!(
            Guard::new(&config)
                .unwrap_err()
                .to_string()
                .contains("16 characters")
        );
        std::fs::write(file.path(), "0123456789abcdef\n").unwrap();
        let guard = Guard::new(&config).unwrap();
        let knows = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            guard.knows(&headers)
        };
        assert!(knows("Bearer 0123456789abcdef"));
        assert!(knows("bearer 0123456789abcdef"));
        assert!(!knows("Bearer 0123456789abcdeF"));
        assert!(!knows("Bearer 0123456789abcdef0"));
        assert!(!knows("Bearer "));
        assert!(!knows("Basic"));
        assert!(!guard.knows(&HeaderMap::new()));
    }
}
