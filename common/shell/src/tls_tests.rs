//! Handshakes in memory: who is let in, who is not, and what changes with the files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hsw_types::NodeId;
use rustls::pki_types::ServerName;
use tempfile::TempDir;

use super::*;
use crate::cert;

fn authority() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    cert::init(dir.path()).unwrap();
    dir
}

fn identity(ca: &Path, node: &str) -> (TempDir, Arc<Identity>) {
    let out = tempfile::tempdir().unwrap();
    cert::issue(ca, &NodeId::new(node).unwrap(), &[], out.path()).unwrap();
    let identity = load(out.path(), node).unwrap();
    (out, Arc::new(identity))
}

fn load(dir: &Path, node: &str) -> anyhow::Result<Identity> {
    Identity::load(
        &dir.join(format!("{node}.crt")),
        &dir.join(format!("{node}.key")),
        &dir.join("ca.crt"),
    )
}

/// Runs a handshake to its end; gives the node each side sees.
fn handshake(
    server: &Arc<Identity>,
    client: &Arc<Identity>,
    name: &str,
) -> anyhow::Result<(NodeId, NodeId)> {
    handshake_with(&Arc::new(server_config(server)?), client, name)
}

fn handshake_with(
    server: &Arc<rustls::ServerConfig>,
    client: &Arc<Identity>,
    name: &str,
) -> anyhow::Result<(NodeId, NodeId)> {
    let name = ServerName::try_from(name.to_owned())?;
    let mut s = rustls::ServerConnection::new(Arc::clone(server))?;
    let mut c = rustls::ClientConnection::new(Arc::new(client_config(client)?), name)?;
    for _ in 0..10 {
        let mut bytes = Vec::new();
        while c.wants_write() {
            c.write_tls(&mut bytes)?;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            s.read_tls(&mut rest)?;
            s.process_new_packets()?;
        }
        let mut bytes = Vec::new();
        while s.wants_write() {
            s.write_tls(&mut bytes)?;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            c.read_tls(&mut rest)?;
            c.process_new_packets()?;
        }
    }
    assert!(!s.is_handshaking() && !c.is_handshaking());
    assert_eq!(s.alpn_protocol(), Some(ALPN));
    assert_eq!(s.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    Ok((
        peer_node(s.peer_certificates().context("client's")?)?,
        peer_node(c.peer_certificates().context("server's")?)?,
    ))
}

#[test]
fn both_sides_learn_the_others_node_from_its_certificate() {
    let ca = authority();
    let (_a, server) = identity(ca.path(), "aggregator");
    let (_b, client) = identity(ca.path(), "shard_1.a");
    let (seen_client, seen_server) = handshake(&server, &client, "aggregator").unwrap();
    assert_eq!(seen_client.as_str(), "shard_1.a");
    assert_eq!(seen_server.as_str(), "aggregator");
    assert!(client.cert_expiry() > 364 * 86_400);
}

#[test]
fn a_stranger_is_refused_on_either_side_and_a_neighbour_cannot_pose_as_the_aggregator() {
    let ca = authority();
    let foreign = authority();
    let (_a, server) = identity(ca.path(), "aggregator");
    let (_b, client) = identity(ca.path(), "shard-1");
    let (_c, stranger) = identity(foreign.path(), "shard-1");
    let (_d, stranger_server) = identity(foreign.path(), "aggregator");
    assert!(handshake(&server, &stranger, "aggregator").is_err());
    assert!(handshake(&stranger_server, &client, "aggregator").is_err());
    let why = handshake(&client, &server, "aggregator").unwrap_err();
    assert!(format!("{why:#}").contains("not valid for name"), "{why:#}");
}

#[test]
fn a_changed_certificate_and_authority_serve_the_next_connection() {
    let old = authority();
    let new = authority();
    let (server_dir, server) = identity(old.path(), "aggregator");
    let (_b, client) = identity(new.path(), "shard-1");
    let config = Arc::new(server_config(&server).unwrap());
    assert!(handshake_with(&config, &client, "aggregator").is_err());
    assert!(!server.reload_if_changed().unwrap());

    let fresh = tempfile::tempdir().unwrap();
    cert::issue(
        new.path(),
        &NodeId::new("aggregator").unwrap(),
        &[],
        fresh.path(),
    )
    .unwrap();
    for name in ["aggregator.crt", "aggregator.key", "ca.crt"] {
        fs::copy(fresh.path().join(name), server_dir.path().join(name)).unwrap();
    }
    assert!(server.reload_if_changed().unwrap());
    assert!(handshake_with(&config, &client, "aggregator").is_ok());
}

#[test]
fn a_half_written_certificate_keeps_the_old_identity_and_is_told_once() {
    let ca = authority();
    let (dir, server) = identity(ca.path(), "aggregator");
    let (_b, client) = identity(ca.path(), "shard-1");
    fs::write(dir.path().join("aggregator.crt"), "-----BEGIN CERT").unwrap();
    assert!(server.reload_if_changed().is_err());
    assert!(!server.reload_if_changed().unwrap());
    assert!(handshake(&server, &client, "aggregator").is_ok());
}

#[test]
fn files_that_do_not_belong_together_are_named() {
    let ca = authority();
    let (a, _) = identity(ca.path(), "a");
    let (b, _) = identity(ca.path(), "b");
    fs::copy(b.path().join("b.key"), a.path().join("a.key")).unwrap();
    let why = format!("{:#}", load(a.path(), "a").unwrap_err());
    assert!(
        why.contains("a.key") && why.contains("does not belong"),
        "{why}"
    );
    let why = format!("{:#}", load(a.path(), "nobody").unwrap_err());
    assert!(why.contains("nobody.crt"), "{why}");
}

#[test]
fn a_certificate_that_names_two_nodes_speaks_for_none() {
    let params = rcgen::CertificateParams::new(vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let two = params.self_signed(&key).unwrap();
    assert!(peer_node(&[two.der().clone()]).is_err());
    assert!(peer_node(&[]).is_err());
    assert!(peer_node(&[CertificateDer::from(vec![0u8; 5])]).is_err());
}
