//! What a metric's name says that it measures: a cause, a symptom that travels from callee to caller, or an effect. (step 12)
//!
//! In: a name as exporters write it (`CpuUsageRate(%)`, `lat_90`, `availability|Average`). Out: a [`Kind`].
//! Limits: names only; a name that says nothing is [`Kind::Other`]. Does not: look at values or units.

/// What a metric measures, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Something the entity itself runs out of: processor, memory, disk, locks, queues. A cause.
    Saturation,
    /// How long the entity takes to answer, its calls to others included. A symptom that travels to callers.
    Latency,
    /// How long the entity's calls to others take, seen from its side: a symptom of those it calls.
    Calls,
    /// Share of requests that succeed; only a fall is bad. Travels to callers.
    Success,
    /// Errors, as a number or a share; only a rise is bad. Travels to callers.
    Failure,
    /// Nothing known.
    Other,
    /// How much work arrives, and what follows from that: requests, bytes, system calls. An effect.
    Work,
    /// Of the machine, which all entities on it share: it tells none of them apart.
    Host,
}

impl Kind {
    /// The kind of a metric by its name.
    ///
    /// Names are cut into words at case changes and at all that is neither letter nor digit; the first rule that fits counts.
    ///
    /// ```
    /// use hsw_rca::Kind;
    /// assert_eq!(Kind::of("PodClientLatencyP90(s)"), Kind::Calls);
    /// assert_eq!(Kind::of("lat_90"), Kind::Latency);
    /// assert_eq!(Kind::of("NodeCpuUsageRate(%)"), Kind::Host);
    /// ```
    #[must_use]
    pub fn of(name: &str) -> Self {
        let words = words(name);
        let has = |all: &[&str]| words.iter().any(|word| all.contains(&word.as_str()));
        let begins = |all: &[&str]| {
            words
                .iter()
                .any(|word| all.iter().any(|one| word.starts_with(one)))
        };
        let is_slow = has(&["lat", "rt", "rtt", "p50", "p90", "p95", "p99"])
            || begins(&["latenc", "duration", "elapsed", "respons"]);
        if has(&["node", "host", "machine"]) {
            Self::Host
        } else if begins(&["error", "fail", "timeout", "abort", "exception", "drop"])
            || has(&["err", "errs", "5xx", "4xx"])
        {
            Self::Failure
        } else if begins(&["success", "availab"]) {
            Self::Success
        } else if is_slow && has(&["client", "upstream", "outbound", "egress"]) {
            Self::Calls
        } else if is_slow {
            Self::Latency
        } else if begins(&[
            "cpu", "mem", "disk", "swap", "heap", "throttl", "lock", "wait", "queue", "satur",
            "loadavg",
        ]) || has(&[
            "io", "iops", "fs", "gc", "threads", "fd", "fds", "load1", "load5",
        ]) {
            Self::Saturation
        } else if begins(&[
            "request",
            "workload",
            "throughput",
            "byte",
            "packet",
            "network",
            "syscall",
            "queries",
            "transaction",
            "call",
        ]) || has(&["ops", "qps", "tps", "rps", "lod", "load", "net"])
        {
            Self::Work
        } else {
            Self::Other
        }
    }

    /// Order in which metrics of equal standing are told: causes, symptoms, effects.
    #[must_use]
    pub const fn is_effect(self) -> bool {
        matches!(self, Self::Work | Self::Host | Self::Calls)
    }
}

/// Words of a name in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        let is_new = c.is_uppercase() && before.is_lowercase();
        if !c.is_alphanumeric() || is_new {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_several_exporters_are_told_apart() {
        for (name, kind) in [
            ("cpu", Kind::Saturation),
            ("CpuUsage(m)", Kind::Saturation),
            ("container_memory_working_set", Kind::Saturation),
            ("io_wait", Kind::Saturation),
            ("latency|p99", Kind::Latency),
            ("PodServerLatencyP95(s)", Kind::Latency),
            ("PodClientLatencyP95(s)", Kind::Calls),
            ("availability|Average", Kind::Success),
            ("PodSuccessRate(%)", Kind::Success),
            ("http_errors_total", Kind::Failure),
            ("requests|Sum", Kind::Work),
            ("lod", Kind::Work),
            ("NetworkReceiveBytes", Kind::Work),
            ("SyscallRead", Kind::Work),
            ("NodeNetworkReceiveBytes", Kind::Host),
            ("temperature", Kind::Other),
            ("", Kind::Other),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
    }
}
