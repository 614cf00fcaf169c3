//! Records by kind, with their durations: statements by fingerprint, messages by template. (step 15)
//!
//! Limits: [`N_STATEMENTS_MAX`] statements, the first to come, the rest counted together; templates as the miner bounds them,
//! merged when it merges them.

use std::collections::BTreeMap;

use hsw_pipeline::mine::{Config, Event, Miner};
use hsw_pipeline::{Dialect, Fingerprinter, LogFormat, LogRecord, Severity};
use hsw_sketch::QuantileSketch;
use hsw_types::WallTime;
use hsw_types::fnv1a_64;
use serde_json::{Value, json};

/// Statements that are told apart.
pub(super) const N_STATEMENTS_MAX: usize = 2_000;

/// Records of one kind.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) text: String,
    severity: Option<Severity>,
    pub(super) n: u64,
    pub(super) first: Option<WallTime>,
    pub(super) last: Option<WallTime>,
    /// Of those with a duration.
    pub(super) durations: QuantileSketch,
    pub(super) total_ms: f64,
    lock_ms: f64,
    pub(super) rows_examined: u64,
    pub(super) rows_sent: u64,
}

impl Group {
    pub(super) fn add(&mut self, record: &LogRecord) {
        self.n += 1;
        self.severity = self.severity.max(Some(record.severity));
        if let Some(at) = record.at {
            self.span(at, at);
        }
        if let Some(ms) = record.duration_ms {
            self.durations.add(ms);
            self.total_ms += ms;
        }
        self.lock_ms += record.lock_ms.unwrap_or(0.0);
        self.rows_examined = self
            .rows_examined
            .saturating_add(record.rows_examined.unwrap_or(0));
        self.rows_sent = self.rows_sent.saturating_add(record.rows_sent.unwrap_or(0));
    }

    fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.severity = self.severity.max(other.severity);
        if let (Some(first), Some(last)) = (other.first, other.last) {
            self.span(first, last);
        }
        self.durations.merge(&other.durations);
        self.total_ms += other.total_ms;
        self.lock_ms += other.lock_ms;
        self.rows_examined = self.rows_examined.saturating_add(other.rows_examined);
        self.rows_sent = self.rows_sent.saturating_add(other.rows_sent);
    }

    fn span(&mut self, first: WallTime, last: WallTime) {
        self.first = Some(self.first.map_or(first, |own| own.min(first)));
        self.last = self.last.max(Some(last));
    }

    pub(super) fn severity(&self) -> &'static str {
        self.severity.unwrap_or_default().as_str()
    }

    pub(super) fn json(&self) -> Value {
        let ms = |q| self.durations.quantile(q);
        let at = |at: Option<WallTime>| at.map(WallTime::to_rfc3339);
        json!({
            "text": self.text, "severity": self.severity(), "records": self.n,
            "first": at(self.first), "last": at(self.last),
            "timed": self.durations.n(), "total_ms": self.total_ms,
            "p50_ms": ms(0.5), "p95_ms": ms(0.95), "p99_ms": ms(0.99), "lock_ms": self.lock_ms,
            "rows_examined": self.rows_examined, "rows_sent": self.rows_sent,
        })
    }
}

/// The most important first; ties by text, so that equal input gives equal output.
fn ranked<'a>(
    all: impl Iterator<Item = (u64, &'a Group)>,
    weight: impl Fn(&Group) -> (f64, u64),
) -> Vec<(u64, &'a Group)> {
    let mut all: Vec<_> = all.collect();
    all.sort_by(|(_, a), (_, b)| {
        let ((a_first, a_second), (b_first, b_second)) = (weight(a), weight(b));
        let order = b_first.total_cmp(&a_first).then(b_second.cmp(&a_second));
        order.then_with(|| a.text.cmp(&b.text))
    });
    all
}

fn top_json(ranked: &[(u64, &Group)], n: usize) -> Vec<Value> {
    let one = |(hash, group): &(u64, &Group)| {
        let mut value = group.json();
        value["hash"] = json!(format!("{hash:016x}"));
        value
    };
    ranked.iter().take(n).map(one).collect()
}

/// Statements by fingerprint.
#[derive(Debug)]
pub(super) struct Statements {
    known: BTreeMap<u64, Group>,
    pub(super) others: Group,
    mysql: Fingerprinter,
    postgresql: Fingerprinter,
}

impl Default for Statements {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            others: Group::default(),
            mysql: Fingerprinter::new(Dialect::MySql),
            postgresql: Fingerprinter::new(Dialect::PostgreSql),
        }
    }
}

impl Statements {
    pub(super) fn add(&mut self, format: &LogFormat, record: &LogRecord) {
        let sql = record.statement.as_str();
        let (hash, text) = match format {
            // Already a shape without values.
            LogFormat::Mongo | LogFormat::MongoText => (fnv1a_64(sql.as_bytes()), sql),
            LogFormat::MysqlSlow | LogFormat::MysqlError => {
                let fingerprint = self.mysql.fingerprint(sql);
                (fingerprint.hash, fingerprint.text)
            }
            _ => {
                let fingerprint = self.postgresql.fingerprint(sql);
                (fingerprint.hash, fingerprint.text)
            }
        };
        if let Some(group) = self.known.get_mut(&hash) {
            group.add(record);
        } else if self.known.len() < N_STATEMENTS_MAX {
            let group = self.known.entry(hash).or_default();
            group.text.push_str(text);
            group.add(record);
        } else {
            self.others.add(record);
        }
    }

    /// By total time.
    pub(super) fn ranked(&self) -> Vec<(u64, &Group)> {
        let all = self.known.iter().map(|(&hash, group)| (hash, group));
        ranked(all, |group| (group.total_ms, group.n))
    }

    pub(super) fn json(&self, n: usize) -> Value {
        let top = top_json(&self.ranked(), n);
        json!({ "kinds": self.known.len(), "top": top, "others": self.others.json() })
    }
}

/// Messages by template.
#[derive(Debug)]
pub(super) struct Templates {
    miner: Miner,
    /// By number; what has no text yet gets it when it is asked for.
    known: BTreeMap<u32, Group>,
}

impl Default for Templates {
    fn default() -> Self {
        Self {
            miner: Miner::new(Config::default()),
            known: BTreeMap::new(),
        }
    }
}

impl Templates {
    pub(super) fn add(&mut self, record: &LogRecord) {
        let number = self
            .miner
            .observe_of(record.severity as u8, &record.message);
        self.known.entry(number.0).or_default().add(record);
        for event in self.miner.take_events() {
            if let Event::Merged { from, to } = event
                && let Some(gone) = self.known.remove(&from.0)
            {
                self.known.entry(to.0).or_default().merge(&gone);
            }
        }
    }

    /// Gives every group the text of its template, as it is now.
    pub(super) fn name(&mut self) {
        for (number, text, _) in self.miner.templates() {
            if let Some(group) = self.known.get_mut(&number.0) {
                group.text = text;
            }
        }
    }

    /// Errors before everyday lines.
    pub(super) fn ranked(&self) -> Vec<(u64, &Group)> {
        let hash = |group: &Group| fnv1a_64(group.text.as_bytes());
        ranked(self.known.values().map(|g| (hash(g), g)), |group| {
            let failed = group.severity >= Some(Severity::Warning);
            (f64::from(u8::from(failed)), group.n)
        })
    }

    pub(super) fn json(&self, n: usize) -> Value {
        let top = top_json(&self.ranked(), n);
        json!({ "kinds": self.known.len(), "top": top })
    }
}
