//! Certificates replaced on disk, first by a shorter one of the same authority, then by those of a new authority.

use std::fs;
use std::path::Path;

use hsw_wire::ToAgent;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::protocol::{Peer, runtime};
use crate::rig::{Rig, absent, kill, now_s, wait_for};

const DAYS: i64 = 30;

/// A certificate for thirty days in place of the one that lies there, by rename as tools for renewal do.
fn renew(rig: &Rig, node: &str) {
    let authority = rig.authority();
    let text = |name: &str| fs::read_to_string(authority.join(name)).unwrap();
    let signer = KeyPair::from_pem(&text("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&text("ca.crt"), signer).unwrap();
    let mut params = CertificateParams::new(vec![node.to_owned()]).unwrap();
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = |s: i64| std::time::Duration::from_secs(s.unsigned_abs());
    params.not_before = epoch + seconds(now_s() - 3_600);
    params.not_after = epoch + seconds(now_s() + DAYS * 86_400);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let out = rig.certs(node);
    put(rig, &out.join(format!("{node}.key")), &key.serialize_pem());
    put(rig, &out.join(format!("{node}.crt")), &certificate.pem());
}

fn put(rig: &Rig, path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    rig.bed.service_file(&fresh, text).unwrap();
    fs::rename(&fresh, path).unwrap();
}

fn on_disk(rig: &Rig, node: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(rig.certs(node).join(format!("{node}.crt"))).unwrap()
}

/// The certificate that the aggregator shows to a new connection of this node, if it lets it in.
fn served(rig: &Rig, node: &str) -> Option<CertificateDer<'static>> {
    runtime().block_on(async {
        let mut peer = Peer::connect(rig, node).await.ok()?;
        let shown = peer.connection.peer_identity()?;
        let chain = shown.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        peer.hello((1, 1)).await;
        matches!(peer.hear_or_end().await, Some(ToAgent::Welcome { .. })).then(|| chain[0].clone())
    })
}

#[test]
fn certificates_that_change_on_disk_come_into_force_without_a_restart() {
    let rig = Rig::new(43);
    rig.configure_aggregator("", "");
    rig.configure_agent("shard-1-a", &absent(), "");
    rig.issue(&rig.authority(), "probe");
    let mut aggregator = rig.start_aggregator();
    let mut agent = rig.start_agent("shard-1-a");
    rig.wait_connected("shard-1-a");
    let expiry_days =
        || (rig.metric("hsw_cert_expiry_timestamp_seconds") - now_s() as f64) / 86_400.0;
    assert!((360.0..370.0).contains(&expiry_days()), "{}", expiry_days());
    assert_eq!(served(&rig, "probe").unwrap(), on_disk(&rig, "aggregator"));

    renew(&rig, "aggregator");
    wait_for("the new end shows in /metrics", || {
        (expiry_days() <= DAYS as f64).then_some(())
    });
    assert_eq!(served(&rig, "probe").unwrap(), on_disk(&rig, "aggregator"));

    // A new authority for everybody, into the same files, while both run.
    let next = rig.dir().join("certs/next");
    hsw_shell::cert::init(&next).unwrap();
    for node in ["aggregator", "shard-1-a"] {
        let fresh = rig.dir().join(format!("certs/fresh-{node}"));
        hsw_shell::cert::issue(&next, &hsw_types::NodeId::new(node).unwrap(), &[], &fresh).unwrap();
        for file in [
            format!("{node}.key"),
            format!("{node}.crt"),
            "ca.crt".to_owned(),
        ] {
            let text = fs::read_to_string(fresh.join(&file)).unwrap();
            put(&rig, &rig.certs(node).join(file), &text);
        }
    }
    rig.issue(&next, "probe-of-next");
    let shown = wait_for("the new authority's nodes are let in", || {
        served(&rig, "probe-of-next")
    });
    assert_eq!(shown, on_disk(&rig, "aggregator"));
    let old_ca = rig.certs("probe").join("ca.crt");
    fs::copy(next.join("ca.crt"), old_ca).unwrap();
    assert_eq!(
        served(&rig, "probe"),
        None,
        "the old authority's nodes are not"
    );
    assert!(aggregator.running(), "{:#}", aggregator.obituary());

    // The agent has not been restarted: when it must connect anew, it shows what lies on its disk now.
    kill(&mut aggregator);
    let _aggregator = rig.start_aggregator();
    rig.wait_connected("shard-1-a");
    assert!(agent.running(), "{:#}", agent.obituary());
}
