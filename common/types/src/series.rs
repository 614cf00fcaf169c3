//! What is measured: a metric of a subject, and one reading of it. (steps 1–3)

use std::fmt;
use std::sync::Arc;

/// What a series is about, beside its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The node (its database instance, cgroup or host) as a whole.
    Node,
    /// A named part: a device, interface, database, table, wait class, SQLSTATE.
    Object(String),
    /// Somebody who talks to this node, or whom it talks to.
    Edge(Box<EdgeSubject>),
    /// A log line or a statement with its variable parts removed.
    Template {
        /// Stable hash of the whole text, equal on every agent; `text` may be its beginning.
        hash: u64,
        /// The masked text; holds no literal.
        text: String,
    },
}

/// How two vertices are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EdgeKind {
    /// A client's sessions on this node (peer → node).
    Client,
    /// A foreign server this node queries (node → peer).
    ForeignServer,
    /// A replica that streams from this node (node → peer).
    Replication,
    /// A role of this node that may act as another: `user` is a member of the role `peer` (or has the attribute of that name,
    /// e.g. `superuser`).
    Membership,
    /// A client whose logins this node refuses (peer → node).
    RefusedLogin,
}

/// One end of an interaction, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeSubject {
    /// What kind of interaction.
    pub kind: EdgeKind,
    /// The peer's address or host name, without a port; `local` for a Unix socket.
    pub peer: String,
    /// The peer's port, where it listens ([`EdgeKind::ForeignServer`]); 0 where that means nothing.
    pub port: u16,
    /// Login role; empty when unknown.
    pub user: String,
    /// `application_name`, digits masked; empty when unknown.
    pub application: String,
    /// Database; empty when unknown.
    pub database: String,
}

/// Names a series of one node: a metric of the [catalogue](crate::CATALOGUE) and its subject.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesKey {
    /// Dotted name, e.g. `pg.commits`; an unknown one is stored and shown, and judged by default rules.
    pub metric: String,
    /// What it is about.
    pub subject: Subject,
}

impl SeriesKey {
    /// A metric of the node itself.
    #[must_use]
    pub fn node(metric: &str) -> Self {
        Self {
            metric: metric.to_owned(),
            subject: Subject::Node,
        }
    }

    /// A metric of a named part of the node.
    #[must_use]
    pub fn object(metric: &str, object: &str) -> Self {
        Self {
            metric: metric.to_owned(),
            subject: Subject::Object(object.to_owned()),
        }
    }

    /// A metric of an interaction.
    #[must_use]
    pub fn edge(metric: &str, edge: EdgeSubject) -> Self {
        Self {
            metric: metric.to_owned(),
            subject: Subject::Edge(Box::new(edge)),
        }
    }
}

impl fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.metric)?;
        match &self.subject {
            Subject::Node => Ok(()),
            Subject::Object(object) => write!(f, "{{{object}}}"),
            Subject::Edge(e) => write!(
                f,
                "{{{} {}@{} {}}}",
                e.peer, e.user, e.database, e.application
            ),
            Subject::Template { text, .. } => write!(f, "{{{text}}}"),
        }
    }
}

/// The value of one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// The state at this moment; the window keeps the last one.
    Gauge(f64),
    /// A running total; the pipeline differences it into a rate per second.
    /// `epoch` changes whenever the total starts anew (stats reset, restart, failover): that step is dropped.
    Counter {
        /// The total.
        total: f64,
        /// Which life of the counter.
        epoch: u64,
    },
    /// Something that happened in this window, `n` times; the window adds them up. Zero is worth saying once.
    Events(f64),
    /// One observed duration, milliseconds; the window keeps a quantile sketch.
    LatencyMs(f64),
}

/// A series goes on under another name: a template has widened, or was merged into one that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The name that is no more.
    pub from: Arc<SeriesKey>,
    /// The name that takes its place.
    pub to: Arc<SeriesKey>,
}

/// One reading of one series. Keys are shared, so that a source allocates each only once.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which series.
    pub key: Arc<SeriesKey>,
    /// Its value; the pipeline refuses and counts what is not finite.
    pub value: Value,
}

impl Reading {
    /// A gauge.
    #[must_use]
    pub fn gauge(key: &Arc<SeriesKey>, value: f64) -> Self {
        Self {
            key: Arc::clone(key),
            value: Value::Gauge(value),
        }
    }

    /// A running total.
    #[must_use]
    pub fn counter(key: &Arc<SeriesKey>, total: f64, epoch: u64) -> Self {
        Self {
            key: Arc::clone(key),
            value: Value::Counter { total, epoch },
        }
    }
}
