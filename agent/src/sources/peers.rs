//! The other ends of the database's connections, by address: round trip and bytes of each. (step 1)
//!
//! In: what each socket did since the last dump. Out: `edge.*` readings of kind client.
//! Invariants: PE-1 a peer that was forgotten and comes back begins a new epoch, so no total runs backwards.
//! Limits: [`PEERS_MAX`] peers; sockets of more are counted. Does not: know roles or databases (see the sessions).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hsw_types::{EdgeKind, EdgeSubject, Reading, SeriesKey};

/// More peers are counted as dropped.
pub(crate) const PEERS_MAX: usize = 64;
/// A peer without a socket is remembered for so many dumps, so that its rates fall to zero before they end.
const KEPT_FOR: u32 = 30;

/// The peers of one instance.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    peers: BTreeMap<IpAddr, Peer>,
    /// Dumps so far.
    dumps: u64,
    left_out: u64,
}

#[derive(Debug)]
struct Peer {
    tx: u64,
    rx: u64,
    rtts_us: Vec<u32>,
    /// Dumps since it was last seen.
    unseen: u32,
    born: u64,
    rtt_key: Arc<SeriesKey>,
    tx_key: Arc<SeriesKey>,
    rx_key: Arc<SeriesKey>,
}

impl Peers {
    /// A new dump begins.
    pub(crate) fn begin(&mut self) {
        self.dumps += 1;
        for peer in self.peers.values_mut() {
            peer.rtts_us.clear();
            peer.unseen += 1;
        }
        self.peers.retain(|_, peer| peer.unseen <= KEPT_FOR);
    }

    /// One socket of `address`: bytes since the last dump, and its round trip where that is fresh.
    pub(crate) fn add(&mut self, address: IpAddr, tx: u64, rx: u64, rtt_us: Option<u32>) {
        let Some(peer) = self.peer(address) else {
            self.left_out = self.left_out.saturating_add(1);
            return;
        };
        peer.unseen = 0;
        peer.tx = peer.tx.saturating_add(tx);
        peer.rx = peer.rx.saturating_add(rx);
        peer.rtts_us.extend(rtt_us);
    }

    /// Sockets of peers over the limit since the agent started.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Forgets all peers, but not what was counted.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
    }

    /// The readings of all peers.
    pub(crate) fn emit(&mut self, epoch: u64, out: &mut Vec<Reading>) {
        for peer in self.peers.values_mut() {
            if let Some(median) = median(&mut peer.rtts_us) {
                out.push(Reading::gauge(&peer.rtt_key, f64::from(median) / 1e3));
            }
            let epoch = epoch ^ peer.born;
            out.push(Reading::counter(&peer.tx_key, peer.tx as f64, epoch));
            out.push(Reading::counter(&peer.rx_key, peer.rx as f64, epoch));
        }
    }

    fn peer(&mut self, address: IpAddr) -> Option<&mut Peer> {
        if !self.peers.contains_key(&address) {
            if self.peers.len() >= PEERS_MAX {
                // Who has gone makes room for who comes.
                let gone = self.peers.iter().filter(|(_, peer)| peer.unseen > 1);
                let longest = gone.max_by_key(|(_, peer)| peer.unseen).map(|(a, _)| *a)?;
                self.peers.remove(&longest);
            }
            self.peers.insert(address, Peer::new(address, self.dumps));
        }
        self.peers.get_mut(&address)
    }
}

impl Peer {
    fn new(address: IpAddr, born: u64) -> Self {
        let subject = EdgeSubject {
            kind: EdgeKind::Client,
            peer: address.to_string(),
            port: 0,
            user: String::new(),
            application: String::new(),
            database: String::new(),
        };
        let key = |metric: &str| Arc::new(SeriesKey::edge(metric, subject.clone()));
        Self {
            tx: 0,
            rx: 0,
            rtts_us: Vec::new(),
            unseen: 0,
            born,
            rtt_key: key("edge.rtt_ms"),
            tx_key: key("edge.tx_bytes"),
            rx_key: key("edge.rx_bytes"),
        }
    }
}

/// The upper of the middle two; reorders.
pub(crate) fn median(values: &mut [u32]) -> Option<u32> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::Value;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 1, n])
    }

    fn dump(peers: &mut Peers, of: impl IntoIterator<Item = u8>) -> Vec<Reading> {
        peers.begin();
        for n in of {
            peers.add(address(n), 2, 1, Some(u32::from(n) * 1000));
        }
        let mut out = Vec::new();
        peers.emit(0, &mut out);
        out
    }

    #[test]
    fn peers_beyond_the_limit_are_counted_and_gone_ones_make_room() {
        let mut peers = Peers::default();
        dump(&mut peers, 0..70);
        assert_eq!((peers.peers.len(), peers.left_out()), (PEERS_MAX, 6));
        dump(&mut peers, []);
        dump(&mut peers, []);
        dump(&mut peers, [99]);
        assert!(peers.peers.contains_key(&address(99)));
        assert_eq!(peers.left_out(), 6);
    }

    #[test]
    fn a_peer_fades_and_comes_back_in_a_new_epoch() {
        let mut peers = Peers::default();
        let first = dump(&mut peers, [7, 7, 7]);
        assert_eq!(first.len(), 3);
        assert_eq!(first[0].value, Value::Gauge(7.0));
        assert_eq!(
            first[1].value,
            Value::Counter {
                total: 6.0,
                epoch: 1
            }
        );
        for _ in 0..KEPT_FOR {
            assert_eq!(
                dump(&mut peers, []).len(),
                2,
                "no round trip, rates fall to zero"
            );
        }
        assert!(dump(&mut peers, []).is_empty());
        let again = dump(&mut peers, [7]);
        let Value::Counter { total, epoch } = again[1].value else {
            panic!("{again:?}");
        };
        assert!(total < 6.0 && epoch != 1);
    }
}
