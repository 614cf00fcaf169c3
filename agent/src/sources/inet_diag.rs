//! The kernel's list of TCP sockets, asked for over netlink (`sock_diag`), as `ss -ti` does. (step 1)
//!
//! In: a local port and a set of states. Out: one [`Socket`] for each that the kernel reports.
//! Invariants: ID-1 whatever bytes arrive, parsing never panics and reads inside the message only. ID-2 a dump that
//! does not answer ends after [`ANSWER_WITHIN`]. Limits: [`SOCKETS_MAX`] sockets a dump; the rest is counted.
//! Source: Linux `uapi/linux/inet_diag.h`, `uapi/linux/tcp.h`. Does not: keep anything between dumps.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// A dump is answered from the kernel's memory at once; ours.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// More sockets of one port are counted only.
pub(crate) const SOCKETS_MAX: usize = 16_384;

/// Bit of `TCP_LISTEN` in a set of states.
pub(crate) const LISTENING: u32 = 1 << 10;
/// `ESTABLISHED`, `FIN_WAIT1`, `FIN_WAIT2`, `CLOSE_WAIT`, `LAST_ACK`, `CLOSING`: sockets that can still send again.
pub(crate) const CONNECTED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// `TCP_ESTABLISHED`.
pub(crate) const ESTABLISHED: u8 = 1;
/// `AF_INET`.
pub(crate) const IPV4: u8 = 2;
/// `AF_INET6`.
pub(crate) const IPV6: u8 = 10;

const NETLINK_HEADER: usize = 16;
const DIAG_MESSAGE: usize = 72;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;

/// One TCP socket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Socket {
    /// `TCP_ESTABLISHED` and so on.
    pub(crate) state: u8,
    /// Own address; an IPv4 one also where it is mapped into IPv6.
    pub(crate) local: IpAddr,
    /// The other end.
    pub(crate) remote: IpAddr,
    /// Port of the other end.
    pub(crate) remote_port: u16,
    /// Never given to another socket while the host runs.
    pub(crate) cookie: u64,
    /// Where it listens: connections that wait to be accepted.
    pub(crate) receive_queue: u32,
    /// Owner.
    pub(crate) inode: u32,
    /// What TCP knows of the connection.
    pub(crate) info: Option<TcpInfo>,
}

/// What is used of `struct tcp_info`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct TcpInfo {
    /// Smoothed round trip; 0 before the first sample.
    pub(crate) rtt_us: u32,
    /// Its smoothed mean deviation (RFC 6298).
    pub(crate) rtt_deviation_us: u32,
    /// The least round trip of the last minutes.
    pub(crate) rtt_min_us: u32,
    /// Milliseconds since the last acknowledgement came in.
    pub(crate) last_ack_ms: u32,
    /// Segments sent again since the connection began.
    pub(crate) retransmits: u32,
    /// Bytes sent that the other end has acknowledged.
    pub(crate) bytes_acked: u64,
    /// Bytes received.
    pub(crate) bytes_received: u64,
}

/// A netlink socket to the kernel's socket tables.
#[derive(Debug)]
pub(crate) struct InetDiag {
    netlink: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl InetDiag {
    /// # Errors
    /// The kernel has no `sock_diag`, or the address family is forbidden to this process.
    pub(crate) fn open() -> io::Result<Self> {
        let netlink = socket_with(
            AddressFamily::NETLINK,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            Some(SOCK_DIAG),
        )?;
        set_socket_timeout(&netlink, Timeout::Recv, Some(ANSWER_WITHIN))?;
        set_socket_timeout(&netlink, Timeout::Send, Some(ANSWER_WITHIN))?;
        Ok(Self {
            netlink,
            sequence: 0,
            // The kernel fills at most 32 KiB at a time.
            buffer: vec![0; 32 * 1024],
        })
    }

    /// Adds all sockets of `family` on local `port` in one of `states` to `out`; returns how many did not fit.
    ///
    /// # Errors
    /// No answer in time, or the kernel refuses; open anew before the next dump.
    pub(crate) fn dump(
        &mut self,
        family: u8,
        states: u32,
        port: u16,
        out: &mut Vec<Socket>,
    ) -> io::Result<u64> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request(self.sequence, family, states, port);
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.netlink, &request, SendFlags::empty(), &kernel)?;
        let mut left_out = 0;
        loop {
            let (length, _) = recv(
                &self.netlink,
                self.buffer.as_mut_slice(),
                RecvFlags::empty(),
            )?;
            match parse(&self.buffer[..length], self.sequence, port, out) {
                Part::More(more) => left_out += more,
                Part::Done(more) => return Ok(left_out + more),
                Part::Failed(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
            // Every datagram of the kernel holds something; an empty one would turn this into a loop.
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// What one datagram said.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    More(u64),
    Done(u64),
    Failed(i32),
}

fn request(sequence: u32, family: u8, states: u32, port: u16) -> [u8; NETLINK_HEADER + 56] {
    let mut bytes = [0_u8; NETLINK_HEADER + 56];
    let length = bytes.len() as u32;
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[16] = family;
    bytes[17] = IPPROTO_TCP;
    bytes[18] = 1 << (INET_DIAG_INFO - 1);
    bytes[20..24].copy_from_slice(&states.to_ne_bytes());
    // With a source port the kernel leaves out all other sockets itself.
    bytes[24..26].copy_from_slice(&port.to_be_bytes());
    bytes
}

fn parse(datagram: &[u8], sequence: u32, port: u16, out: &mut Vec<Socket>) -> Part {
    let mut rest = datagram;
    let mut left_out = 0;
    while let (Some(length), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
        let length = length as usize;
        let Some(message) = rest.get(..length).filter(|_| length >= NETLINK_HEADER) else {
            break;
        };
        // Parts of a dump that was given up on may still lie in the queue.
        if u32_at(message, 8) == Some(sequence) {
            match kind {
                NLMSG_DONE => return Part::Done(left_out),
                NLMSG_ERROR => {
                    let errno = u32_at(message, NETLINK_HEADER).map_or(0, u32::cast_signed);
                    return Part::Failed(errno.checked_neg().unwrap_or(0));
                }
                SOCK_DIAG_BY_FAMILY => {
                    let socket = socket(&message[NETLINK_HEADER..]);
                    if let Some((_, socket)) = socket.filter(|(local_port, _)| *local_port == port)
                    {
                        if out.len() < SOCKETS_MAX {
                            out.push(socket);
                        } else {
                            left_out += 1;
                        }
                    }
                }
                _ => {}
            }
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Part::More(left_out)
}

/// `struct inet_diag_msg` and its attributes; the local port and the rest.
fn socket(message: &[u8]) -> Option<(u16, Socket)> {
    let family = *message.first()?;
    let socket = Socket {
        state: *message.get(1)?,
        local: address(family, message.get(8..24)?)?,
        remote: address(family, message.get(24..40)?)?,
        remote_port: u16_be_at(message, 6)?,
        cookie: u64::from(u32_at(message, 44)?) | u64::from(u32_at(message, 48)?) << 32,
        receive_queue: u32_at(message, 56)?,
        inode: u32_at(message, 68)?,
        info: attribute(message.get(DIAG_MESSAGE..)?, INET_DIAG_INFO).and_then(tcp_info),
    };
    Some((u16_be_at(message, 4)?, socket))
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        IPV4 => {
            let octets: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        }
        IPV6 => {
            let octets: [u8; 16] = bytes.try_into().ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)).to_canonical())
        }
        _ => None,
    }
}

fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(rest, 0)?);
        let payload = rest.get(4..length)?;
        if u16_at(rest, 2)? == wanted {
            return Some(payload);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

/// Offsets within `struct tcp_info`, which only ever grows at its end.
fn tcp_info(bytes: &[u8]) -> Option<TcpInfo> {
    Some(TcpInfo {
        last_ack_ms: u32_at(bytes, 56)?,
        rtt_us: u32_at(bytes, 68)?,
        rtt_deviation_us: u32_at(bytes, 72)?,
        rtt_min_us: u32_at(bytes, 148).unwrap_or_default(),
        retransmits: u32_at(bytes, 100)?,
        bytes_acked: u64_at(bytes, 120)?,
        bytes_received: u64_at(bytes, 128)?,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

fn u16_be_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_kernel_reports_a_listener_its_queue_and_the_bytes_of_a_connection() {
        let Ok(mut diag) = InetDiag::open() else {
            return; // No netlink in this sandbox.
        };
        let listener = TcpListener::bind("127.0.0.77:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.77", port)).unwrap();
        let mut sockets = Vec::new();
        diag.dump(IPV4, LISTENING, port, &mut sockets).unwrap();
        assert_eq!(sockets.len(), 1);
        assert_eq!(sockets[0].receive_queue, 1, "connected, not accepted");

        let _accepted = listener.accept().unwrap();
        client.write_all(&[7; 1000]).unwrap();
        sockets.clear();
        diag.dump(IPV4, CONNECTED, port, &mut sockets).unwrap();
        let [server] = sockets.as_slice() else {
            panic!("{sockets:?}");
        };
        assert_eq!(server.state, ESTABLISHED);
        assert_eq!(server.local, IpAddr::from([127, 0, 0, 77]));
        assert_eq!(server.remote_port, client.local_addr().unwrap().port());
        let info = server.info.unwrap();
        assert_eq!(info.bytes_received, 1000);
        assert!(info.rtt_us > 0 && info.retransmits == 0);
        assert!((1..=info.rtt_us).contains(&info.rtt_min_us) && info.rtt_deviation_us > 0);
    }

    #[test]
    fn a_refusal_and_an_old_answer_are_told_from_an_answer() {
        let mut error = vec![0_u8; 20];
        error[0..4].copy_from_slice(&20_u32.to_ne_bytes());
        error[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        error[8..12].copy_from_slice(&9_u32.to_ne_bytes());
        error[16..20].copy_from_slice(&(-13_i32).to_ne_bytes());
        assert_eq!(parse(&error, 9, 1, &mut Vec::new()), Part::Failed(13));
        assert_eq!(parse(&error, 10, 1, &mut Vec::new()), Part::More(0));
    }

    proptest! {
        #[test]
        fn prop_no_datagram_makes_the_parser_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..600),
            length in 0_u32..600,
            kind in prop_oneof![Just(NLMSG_ERROR), Just(NLMSG_DONE), Just(SOCK_DIAG_BY_FAMILY)],
            attribute_length in any::<u16>(),
        ) {
            let mut put = |at: usize, value: &[u8]| {
                if let Some(place) = bytes.get_mut(at..at + value.len()) {
                    place.copy_from_slice(value);
                }
            };
            put(0, &length.to_ne_bytes());
            put(4, &kind.to_ne_bytes());
            put(8, &1_u32.to_ne_bytes());
            put(16, &[IPV4]);
            put(88, &attribute_length.to_ne_bytes());
            let mut out = Vec::new();
            let _ = parse(&bytes, 1, u16_be_at(&bytes, 20).unwrap_or(0), &mut out);
            prop_assert!(out.len() <= 1 + bytes.len() / DIAG_MESSAGE);
        }
    }
}
