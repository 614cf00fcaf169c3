//! A small certificate authority of one's own: one authority, one certificate for each node. (steps 5–6)
//!
//! In: a folder, a node's name. Out: PEM files, readable by their owner alone.
//! Invariants: CE-1 nothing that exists is overwritten. CE-2 a node's certificate holds exactly one DNS name, the node's.
//! Does not: revoke; a lost key means a new authority, which both sides pick up without a restart (see `tls`).

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use hsw_types::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long an authority lasts: ten years.
const CA_VALIDITY: Duration = Duration::from_secs(3650 * DAY.as_secs());

/// How long a node's certificate lasts: a year.
const NODE_VALIDITY: Duration = Duration::from_secs(366 * DAY.as_secs());

/// Certificates begin this long before they are made, for hosts whose clocks run behind.
const CLOCK_ALLOWANCE: Duration = Duration::from_secs(3600);

/// Makes an authority: `ca.crt` and `ca.key` (ECDSA P-256, 10 years) in `dir`, which is made when absent.
///
/// # Errors
/// When there is one already, or the folder cannot be written.
pub fn init(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    let key = KeyPair::generate().context("make a key")?;
    let mut params = validity(CertificateParams::default(), CA_VALIDITY)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "HyperShardWatch authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = params.self_signed(&key).context("sign the authority")?;
    write_pair(
        (&dir.join("ca.crt"), &authority.pem()),
        (&dir.join("ca.key"), &key.serialize_pem()),
    )
}

/// Issues `<node>.crt` and `<node>.key` (ECDSA P-256, 1 year) into `out` from the authority in `dir`, and lays `ca.crt`
/// beside them. The name serves as client and as server; `addresses` are added for clients that connect by address.
///
/// # Errors
/// When the authority cannot be read, the files exist already, or `out` holds another authority.
pub fn issue(dir: &Path, node: &NodeId, addresses: &[IpAddr], out: &Path) -> anyhow::Result<()> {
    let ca_crt = dir.join("ca.crt");
    let ca_key = dir.join("ca.key");
    let ca_pem = fs::read_to_string(&ca_crt).with_context(|| {
        format!(
            "cannot read the authority {} (make one with `hsw cert init`)",
            ca_crt.display()
        )
    })?;
    let signer = fs::read_to_string(&ca_key)
        .with_context(|| format!("cannot read the authority's key {}", ca_key.display()))?;
    let signer = KeyPair::from_pem(&signer)
        .with_context(|| format!("{} holds no PEM private key", ca_key.display()))?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, signer)
        .with_context(|| format!("{} is not an authority", ca_crt.display()))?;

    let name = node.as_str();
    let mut params = validity(
        CertificateParams::new(vec![name.to_owned()]).context("put the name in a certificate")?,
        NODE_VALIDITY,
    )?;
    // A name such as `10.0.0.1` is a NodeId, yet rcgen would file it as an address: CE-2 asks for a DNS name.
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().context("node name")?)];
    params
        .subject_alt_names
        .extend(addresses.iter().copied().map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().context("make a key")?;
    let certificate = params.signed_by(&key, &issuer).context("sign the node")?;

    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    lay_authority(&out.join("ca.crt"), &ca_pem)?;
    write_pair(
        (&out.join(format!("{name}.crt")), &certificate.pem()),
        (&out.join(format!("{name}.key")), &key.serialize_pem()),
    )
}

/// What a certificate says, for people: names, issuer, validity, whether it is an authority.
///
/// # Errors
/// When the file cannot be read or holds no certificate.
pub fn show(path: &Path) -> anyhow::Result<String> {
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut text = String::new();
    for der in CertificateDer::pem_slice_iter(&pem) {
        let der = der.with_context(|| format!("{} is not PEM", path.display()))?;
        let (_, certificate) = parse_x509_certificate(&der)
            .with_context(|| format!("{} is not an X.509 certificate", path.display()))?;
        let mut names = Vec::new();
        if let Some(extension) = certificate
            .subject_alternative_name()
            .context("read the alternative names")?
        {
            for name in &extension.value.general_names {
                names.push(match name {
                    GeneralName::DNSName(dns) => (*dns).to_owned(),
                    GeneralName::IPAddress(octets) => address(octets),
                    other => other.to_string(),
                });
            }
        }
        let kind = if certificate.is_ca() {
            "authority"
        } else {
            "node"
        };
        let days = (certificate.validity().not_after.timestamp() - unix_now())
            .div_euclid(DAY.as_secs().cast_signed());
        let _ = write!(
            text,
            "kind:     {kind}\nsubject:  {}\nissuer:   {}\nnames:    {}\nfrom:     {}\nuntil:    {} ({days} days)\nserial:   {}\n",
            certificate.subject(),
            certificate.issuer(),
            names.join(", "),
            certificate.validity().not_before,
            certificate.validity().not_after,
            certificate.raw_serial_as_string(),
        );
    }
    if text.is_empty() {
        bail!("{} holds no PEM certificate", path.display());
    }
    Ok(text)
}

fn address(octets: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return IpAddr::from(v4).to_string();
    }
    <[u8; 16]>::try_from(octets).map_or_else(|_| "?".to_owned(), |v6| IpAddr::from(v6).to_string())
}

fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn validity(mut params: CertificateParams, lasts: Duration) -> anyhow::Result<CertificateParams> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970: set it, then try again")?;
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(CLOCK_ALLOWANCE);
    params.not_after = epoch + now + lasts;
    Ok(params)
}

/// The key first: a certificate whose key could not be written would be of no use.
fn write_pair(certificate: (&Path, &str), key: (&Path, &str)) -> anyhow::Result<()> {
    for (path, _) in [certificate, key] {
        if path.exists() {
            bail!(
                "{} exists already and is not overwritten: move it away first",
                path.display()
            );
        }
    }
    write_new(key.0, key.1)?;
    write_new(certificate.0, certificate.1)
}

fn lay_authority(path: &Path, pem: &str) -> anyhow::Result<()> {
    match fs::read_to_string(path) {
        Ok(found) if found == pem => Ok(()),
        Ok(_) => bail!(
            "{} is another authority and is not overwritten: choose another folder",
            path.display()
        ),
        Err(_) => write_new(path, pem),
    }
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_authority_and_its_nodes_are_private_and_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        let node = NodeId::new("shard-1-a").unwrap();
        let out = dir.path().join("out");
        issue(dir.path(), &node, &["127.0.0.1".parse().unwrap()], &out).unwrap();
        for name in [
            "ca.key",
            "ca.crt",
            "out/shard-1-a.key",
            "out/shard-1-a.crt",
            "out/ca.crt",
        ] {
            let mode = fs::metadata(dir.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let before = fs::read(dir.path().join("ca.key")).unwrap();
        assert!(init(dir.path()).unwrap_err().to_string().contains("ca.crt"));
        assert!(issue(dir.path(), &node, &[], &out).is_err());
        assert_eq!(fs::read(dir.path().join("ca.key")).unwrap(), before);
    }

    #[test]
    fn a_shown_certificate_names_its_node_address_and_end() {
        let dir = tempfile::tempdir().unwrap();
        init(dir.path()).unwrap();
        let node = NodeId::new("pg.shard_7").unwrap();
        issue(
            dir.path(),
            &node,
            &["10.0.0.7".parse().unwrap(), "::1".parse().unwrap()],
            dir.path(),
        )
        .unwrap();
        let text = show(&dir.path().join("pg.shard_7.crt")).unwrap();
        assert!(text.contains("pg.shard_7, 10.0.0.7, ::1"), "{text}");
        assert!(
            text.contains("(365 days)") || text.contains("(366 days)"),
            "{text}"
        );
        assert!(
            show(&dir.path().join("ca.crt"))
                .unwrap()
                .contains("authority")
        );
        assert!(show(&dir.path().join("pg.shard_7.key")).is_err());
    }

    #[test]
    fn issuing_without_an_authority_says_how_to_make_one() {
        let dir = tempfile::tempdir().unwrap();
        let node = NodeId::new("n").unwrap();
        let why = issue(dir.path(), &node, &[], dir.path()).unwrap_err();
        assert!(format!("{why:#}").contains("hsw cert init"));
    }
}
