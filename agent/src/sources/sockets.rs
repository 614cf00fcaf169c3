//! The database's TCP connections as the kernel sees them: round trips, losses, bytes, the accept queue. (step 1)
//!
//! In: socket dumps of the instance's port. Out: `socket.*`, and `edge.*` for each peer address.
//! A delayed or lossy network shows here and nowhere in the database's own statistics.
//! Invariants: SK-1 only sockets on addresses the instance itself listens on count; another instance may have the same
//! port on another address. SK-2 totals never run backwards, whichever sockets vanish; the first dump is the baseline.
//! SK-3 a round trip counts while acknowledgements come in ([`FRESH_MS`]), as an idle socket keeps an old one for ever, and only as far as
//! it exceeds twice its mean deviation, as clients that think acknowledge late.
//! Limits: those of `inet_diag` and `peers`. Does not: follow connections from this node to others; the agent's
//! own connection over TCP is one of the connections.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hsw_types::{Reading, SeriesKey, SourceState};

use super::inet_diag::{CONNECTED, ESTABLISHED, IPV4, IPV6, InetDiag, LISTENING, Socket};
use super::instance::{Health, Running, no_instance};
use super::peers::{Peers, median};
use super::proc::node;

/// Older round trips say nothing about now; ours.
const FRESH_MS: u32 = 10_000;
/// Rounds (seconds) between two dumps: each walks the host's whole table of connections.
const DUMP_EVERY: u64 = 2;
/// A round that comes this much early still tells of peers, seconds: rounds are counted, not timed.
const PEERS_EARLY_S: u64 = 1;
/// A postmaster holds its listening sockets among the first few dozen files.
const FILES_LOOKED_AT_MAX: usize = 1024;

/// Dumps the sockets of the instance.
#[derive(Debug)]
pub(crate) struct Sockets {
    proc: PathBuf,
    keys: Keys,
    diag: Option<InetDiag>,
    round: u64,
    /// Rounds (seconds) between two tellings of each peer's traffic, and the round of the last.
    peers_every: u64,
    peers_told: Option<u64>,
    /// Postmaster the figures are about.
    of: u64,
    /// Ascending by cookie.
    before: Vec<(u64, Seen)>,
    has_baseline: bool,
    totals: Sent,
    peers: Peers,
    left_out: u64,
    health: Health,
    /// Listening sockets' inodes of the postmaster; empty without the right to see them.
    inodes: Vec<u32>,
    dumped: Vec<Socket>,
    epoch_of_agent: u64,
}

/// Running figures of one socket.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    retransmits: u32,
    tx: u64,
    rx: u64,
}

/// Sums since the baseline.
#[derive(Debug, Clone, Copy, Default)]
struct Sent {
    retransmits: u64,
    tx: u64,
    rx: u64,
}

#[derive(Debug)]
struct Keys {
    connections: Arc<SeriesKey>,
    listen_queue: Arc<SeriesKey>,
    retransmits: Arc<SeriesKey>,
    rtt_max: Arc<SeriesKey>,
    rtt_median: Arc<SeriesKey>,
    rx: Arc<SeriesKey>,
    tx: Arc<SeriesKey>,
}

/// Where the instance listens.
#[derive(Debug, Default)]
struct Listening {
    ours: Vec<IpAddr>,
    others: Vec<IpAddr>,
    queue: u64,
    ipv6: bool,
}

impl Sockets {
    /// `epoch_of_agent` changes with each agent process: sums begin with it.
    pub(crate) fn new(proc: &Path, epoch_of_agent: u64) -> Self {
        Self {
            proc: proc.to_owned(),
            keys: Keys::new(),
            diag: None,
            round: 0,
            peers_every: DUMP_EVERY,
            peers_told: None,
            of: 0,
            before: Vec::new(),
            has_baseline: false,
            totals: Sent::default(),
            peers: Peers::default(),
            left_out: 0,
            health: (SourceState::Ok, String::new()),
            inodes: Vec::new(),
            dumped: Vec::new(),
            epoch_of_agent,
        }
    }

    /// Sockets and peers left out over a limit since the agent started.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.saturating_add(self.peers.left_out())
    }

    /// Tells of each peer's traffic every so many rounds (seconds) from now on; the rest keeps its pace.
    pub(crate) const fn pace(&mut self, peers_every: u64) {
        self.peers_every = peers_every;
    }

    /// One round; every other one dumps.
    pub(crate) fn sample(&mut self, running: Option<&Running>, out: &mut Vec<Reading>) -> Health {
        let Some(running) = running else {
            return no_instance();
        };
        if self.of != running.epoch {
            self.begin_anew(running);
        }
        if self.round.is_multiple_of(DUMP_EVERY) {
            self.health = match self.dump(running, out) {
                Ok(health) => health,
                Err(error) => {
                    // A half-read answer must not be taken for the next one.
                    self.diag = None;
                    let why = format!(
                        "no socket statistics: {error}; allow AF_NETLINK to the agent (RestrictAddressFamilies, seccomp) on a kernel with inet_diag"
                    );
                    (SourceState::Absent, why)
                }
            };
        }
        self.round += 1;
        self.health.clone()
    }

    fn begin_anew(&mut self, running: &Running) {
        self.of = running.epoch;
        self.round = 0;
        self.peers_told = None;
        self.before.clear();
        self.has_baseline = false;
        self.totals = Sent::default();
        self.peers.clear();
        self.inodes.clear();
    }

    fn dump(&mut self, running: &Running, out: &mut Vec<Reading>) -> std::io::Result<Health> {
        let mut diag = match self.diag.take() {
            Some(diag) => diag,
            None => InetDiag::open()?,
        };
        let port = running.pid_file.port;
        let mut sockets = std::mem::take(&mut self.dumped);
        sockets.clear();
        let mut left_out = diag.dump(IPV4, LISTENING, port, &mut sockets)?;
        // Without IPv6 in the kernel there is nothing to ask; its listeners may also serve IPv4 clients.
        left_out += diag.dump(IPV6, LISTENING, port, &mut sockets).unwrap_or(0);
        let listening = self.listening(running, &sockets);
        if listening.ours.is_empty() {
            self.diag = Some(diag);
            let why = format!(
                "the database listens on no TCP port {port} that the agent can see; share the network namespace, or ignore this where only the Unix socket is used"
            );
            return Ok((SourceState::Absent, why));
        }
        sockets.clear();
        left_out += diag.dump(IPV4, CONNECTED, port, &mut sockets)?;
        if listening.ipv6 {
            left_out += diag.dump(IPV6, CONNECTED, port, &mut sockets)?;
        }
        self.diag = Some(diag);
        sockets.retain(|socket| listening.holds(socket.local));
        self.left_out = self.left_out.saturating_add(left_out);
        self.take_in(&sockets);
        self.emit(&sockets, &listening, out);
        self.dumped = sockets;
        Ok((SourceState::Ok, String::new()))
    }

    fn listening(&mut self, running: &Running, listeners: &[Socket]) -> Listening {
        // Sockets are opened once in a postmaster's life, but PostgreSQL may only be starting.
        let known = listeners.iter().any(|l| self.inodes.contains(&l.inode));
        if !known && !listeners.is_empty() && self.round.is_multiple_of(15) {
            self.inodes = socket_inodes(&self.proc.join(format!("{}/fd", running.pid_file.pid)));
        }
        let known = listeners.iter().any(|l| self.inodes.contains(&l.inode));
        let mut listening = Listening::default();
        for listener in listeners {
            let ours = match running.pid_file.listen_address {
                _ if known => self.inodes.contains(&listener.inode),
                // Without the right to see the files, the first listen address is the best there is.
                Some(address) => listener.local == address,
                None => true,
            };
            if ours {
                listening.ours.push(listener.local);
                listening.queue += u64::from(listener.receive_queue);
                listening.ipv6 |= listener.local.is_ipv6();
            } else {
                listening.others.push(listener.local);
            }
        }
        listening
    }

    fn take_in(&mut self, sockets: &[Socket]) {
        let mut now: Vec<(u64, Seen)> = Vec::with_capacity(sockets.len());
        self.peers.begin();
        for socket in sockets {
            let Some(info) = socket.info else {
                continue;
            };
            let seen = Seen {
                retransmits: info.retransmits,
                tx: info.bytes_acked,
                rx: info.bytes_received,
            };
            now.push((socket.cookie, seen));
            let known = self
                .before
                .binary_search_by_key(&socket.cookie, |(cookie, _)| *cookie);
            let before = match known {
                Ok(at) => self.before[at].1,
                // Born since the last dump, so all it did was done since then.
                Err(_) if self.has_baseline => Seen::default(),
                Err(_) => seen,
            };
            let news = seen.since(before);
            self.totals.add(news);
            self.peers
                .add(socket.remote, news.tx, news.rx, fresh_rtt(socket));
        }
        now.sort_unstable_by_key(|(cookie, _)| *cookie);
        self.before = now;
        self.has_baseline = true;
    }

    fn emit(&mut self, sockets: &[Socket], listening: &Listening, out: &mut Vec<Reading>) {
        let keys = &self.keys;
        let epoch = self.epoch_of_agent ^ self.of;
        let established = sockets.iter().filter(|s| s.state == ESTABLISHED).count();
        out.push(Reading::gauge(&keys.connections, established as f64));
        out.push(Reading::gauge(&keys.listen_queue, listening.queue as f64));
        out.push(Reading::counter(
            &keys.retransmits,
            self.totals.retransmits as f64,
            epoch,
        ));
        out.push(Reading::counter(&keys.rx, self.totals.rx as f64, epoch));
        out.push(Reading::counter(&keys.tx, self.totals.tx as f64, epoch));
        let mut rtts: Vec<u32> = sockets.iter().filter_map(fresh_rtt).collect();
        if let Some(&max) = rtts.iter().max() {
            out.push(Reading::gauge(&keys.rtt_max, milliseconds(max)));
        }
        if let Some(median) = median(&mut rtts) {
            out.push(Reading::gauge(&keys.rtt_median, milliseconds(median)));
        }
        let is_due = |told: u64| self.round + PEERS_EARLY_S >= told + self.peers_every;
        if self.peers_told.is_none_or(is_due) {
            self.peers_told = Some(self.round);
            self.peers.emit(epoch, out);
        }
    }
}

impl Seen {
    fn since(self, before: Self) -> Self {
        Self {
            retransmits: self.retransmits.saturating_sub(before.retransmits),
            tx: self.tx.saturating_sub(before.tx),
            rx: self.rx.saturating_sub(before.rx),
        }
    }
}

impl Sent {
    fn add(&mut self, news: Seen) {
        self.retransmits += u64::from(news.retransmits);
        self.tx = self.tx.saturating_add(news.tx);
        self.rx = self.rx.saturating_add(news.rx);
    }
}

impl Keys {
    fn new() -> Self {
        Self {
            connections: node("socket.connections"),
            listen_queue: node("socket.listen_queue"),
            retransmits: node("socket.retransmits"),
            rtt_max: node("socket.rtt_ms_max"),
            rtt_median: node("socket.rtt_ms_median"),
            rx: node("socket.rx_bytes"),
            tx: node("socket.tx_bytes"),
        }
    }
}

impl Listening {
    /// An exact listener gets a connection before a wildcard does, as in the kernel.
    fn holds(&self, local: IpAddr) -> bool {
        if self.ours.contains(&local) {
            return true;
        }
        self.ours.iter().any(IpAddr::is_unspecified) && !self.others.contains(&local)
    }
}

fn milliseconds(us: u32) -> f64 {
    f64::from(us) / 1e3
}

/// The round trip that the path takes for sure, microseconds. A client that thinks before it sends acknowledges late now and then, up to
/// 40 ms on Linux, which lifts the smoothed round trip and its deviation alike; a path that is steadily slow lifts the first alone. Of late
/// acknowledgements nothing is left as long as three in four are in time, nor is of a path that jitters by half its delay. An idle socket keeps its last round trip for ever.
fn fresh_rtt(socket: &Socket) -> Option<u32> {
    let info = socket.info?;
    let sure = info
        .rtt_us
        .saturating_sub(info.rtt_deviation_us.saturating_mul(2));
    (info.rtt_us > 0 && info.last_ack_ms <= FRESH_MS)
        .then_some(sure.max(info.rtt_min_us.min(info.rtt_us)))
}

/// Inodes of the sockets among the open files of a process.
fn socket_inodes(directory: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .take(FILES_LOOKED_AT_MAX)
        .filter_map(|entry| {
            let target = std::fs::read_link(entry.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            inode.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::data_dir::PidFile;
    use super::super::inet_diag::TcpInfo;
    use super::*;
    use hsw_types::Value;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    fn socket(cookie: u64, remote: [u8; 4], rx: u64, retransmits: u32) -> Socket {
        Socket {
            state: ESTABLISHED,
            local: IpAddr::from([10, 0, 0, 1]),
            remote: IpAddr::from(remote),
            remote_port: 40_000,
            cookie,
            receive_queue: 0,
            inode: 1,
            info: Some(TcpInfo {
                rtt_us: 1_500,
                rtt_deviation_us: 100,
                rtt_min_us: 900,
                last_ack_ms: 3,
                retransmits,
                bytes_acked: 2 * rx,
                bytes_received: rx,
            }),
        }
    }

    fn source() -> Sockets {
        Sockets::new(Path::new("/proc"), 1)
    }

    #[test]
    fn totals_grow_by_what_living_and_new_sockets_did_and_never_fall_when_some_vanish() {
        let mut sockets = source();
        sockets.take_in(&[
            socket(1, [10, 0, 0, 2], 1_000_000, 5),
            socket(2, [10, 0, 0, 3], 500, 0),
        ]);
        assert_eq!(
            sockets.totals.rx, 0,
            "what was before the agent is not its news"
        );
        sockets.take_in(&[
            socket(1, [10, 0, 0, 2], 1_000_100, 7),
            socket(3, [10, 0, 0, 3], 40, 1),
        ]);
        assert_eq!((sockets.totals.rx, sockets.totals.tx), (140, 280));
        assert_eq!(sockets.totals.retransmits, 3);
        sockets.take_in(&[]);
        assert_eq!(sockets.totals.rx, 140);
    }

    #[test]
    fn a_slow_network_shows_and_a_client_that_acknowledges_late_does_not() {
        // As the kernel, but for its damping of falls: smoothed by an eighth, its deviation by a quarter.
        let smooth = |(smoothed, deviation): (f64, f64), sample: &f64| {
            let error = sample - smoothed;
            let deviation = deviation + (error.abs() - deviation) / 4.0;
            (smoothed + error / 8.0, deviation)
        };
        let after = |round_trips_us: &[f64]| {
            let (smoothed, deviation) = round_trips_us.iter().fold((100.0, 50.0), smooth);
            let least = round_trips_us.iter().copied().fold(100.0, f64::min);
            let mut socket = socket(1, [10, 0, 0, 2], 0, 0);
            let info = socket.info.as_mut().unwrap();
            (info.rtt_us, info.rtt_min_us) = (smoothed as u32, least as u32);
            info.rtt_deviation_us = deviation as u32;
            fresh_rtt(&socket).unwrap()
        };
        let every_fourth: Vec<f64> = (0..200)
            .map(|n| if n % 4 == 0 { 40_000.0 } else { 100.0 })
            .collect();
        assert!(after(&every_fourth) < 2_000);
        let slow: Vec<f64> = (0..40).map(|n| 20_000.0 + f64::from(n % 3) * 1e3).collect();
        assert!(after(&slow) > 15_000);
    }

    #[test]
    fn a_connection_to_another_instances_address_on_the_same_port_is_not_ours() {
        let any = IpAddr::from([0, 0, 0, 0]);
        let (a, b) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let exact = Listening {
            ours: vec![a],
            others: vec![b],
            ..Listening::default()
        };
        assert!(exact.holds(a) && !exact.holds(b));
        let wild = Listening {
            ours: vec![any],
            others: vec![b],
            ..Listening::default()
        };
        assert!(wild.holds(a) && !wild.holds(b));
    }

    #[test]
    fn live_sockets_of_this_process_are_found_by_inode_and_their_bytes_counted() {
        let listener = TcpListener::bind("127.0.0.78:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // The same port on another address, held by the same process but as if by another instance.
        let running = Running {
            pid_file: PidFile {
                pid: std::process::id(),
                started: 1,
                port,
                socket_dir: PathBuf::new(),
                listen_address: None,
            },
            cpu_seconds_all: 0.0,
            epoch: 3,
        };
        let mut client = TcpStream::connect(("127.0.0.78", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let (mut sockets, mut out) = (source(), Vec::new());
        let (state, why) = sockets.sample(Some(&running), &mut out);
        if state != SourceState::Ok {
            assert!(why.contains("AF_NETLINK"), "{why}");
            return; // No netlink in this sandbox.
        }
        client.write_all(&[1; 3000]).unwrap();
        server.read_exact(&mut [0; 3000]).unwrap();
        sockets.sample(Some(&running), &mut out);
        out.clear();
        sockets.sample(Some(&running), &mut out);
        let find = |name: &str| out.iter().find(|r| r.key.metric == name).unwrap().value;
        assert_eq!(find("socket.connections"), Value::Gauge(1.0));
        assert_eq!(
            find("socket.rx_bytes"),
            Value::Counter {
                total: 3000.0,
                epoch: 1 ^ 3
            }
        );
        let edge = find("edge.rx_bytes");
        assert!(
            matches!(edge, Value::Counter { total: 3000.0, .. }),
            "{edge:?}"
        );
    }
}
