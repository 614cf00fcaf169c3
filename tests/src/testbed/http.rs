//! The smallest client for the aggregator's own page: one request, one answer, one connection.
//!
//! It speaks HTTP/1.0, so that the answer is never chunked and ends with the connection. Limits: 8 MiB, three seconds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

const BODY_BYTES_MAX: u64 = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(3);

/// Status and body of an answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: String,
}

/// Asks for a path.
///
/// # Errors
/// When nobody answers in time, or not in HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    ask(address, &format!("GET {path}"), "")
}

/// Posts JSON to a path.
///
/// # Errors
/// When nobody answers in time, or not in HTTP.
pub fn post(address: SocketAddr, path: &str, json: &str) -> Result<Answer> {
    ask(address, &format!("POST {path}"), json)
}

fn ask(address: SocketAddr, what: &str, json: &str) -> Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("connect to {address}"))?;
    stream
        .set_read_timeout(Some(PATIENCE))
        .context("limit the waiting")?;
    stream
        .set_write_timeout(Some(PATIENCE))
        .context("limit the waiting")?;
    let content = match json.len() {
        0 => String::new(),
        n => format!("Content-Type: application/json\r\nContent-Length: {n}\r\n"),
    };
    let request = format!(
        "{what} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n{content}\r\n{json}"
    );
    stream
        .write_all(request.as_bytes())
        .with_context(|| format!("ask {address}"))?;
    let mut bytes = Vec::new();
    stream
        .take(BODY_BYTES_MAX)
        .read_to_end(&mut bytes)
        .with_context(|| format!("read the answer of {address}"))?;
    parse(&String::from_utf8_lossy(&bytes))
        .with_context(|| format!("{address} does not speak HTTP"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    Some(Answer {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_told_apart() {
        let answer = parse("HTTP/1.0 503 Service Unavailable\r\nA: b\r\n\r\n{\"x\":1}").unwrap();
        assert_eq!(
            answer,
            Answer {
                status: 503,
                body: "{\"x\":1}".to_owned()
            }
        );
        assert_eq!(parse("SSH-2.0-OpenSSH\r\n\r\n"), None);
    }
}
