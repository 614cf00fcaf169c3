//! What became hot, as evidence beside the symptoms. (step 12)
//!
//! In: the hot lists of a sick shard. Out: at most [`N_HOT`] pieces of evidence, too light to rank above a finding.
//! Does not: open an incident; more work alone is no trouble.

use hsw_hot::{Became, HotLists};
use hsw_types::{Family, HotKind, NodeId, SeriesKey, ShardId, Subject, Unit, WindowIndex};

use crate::incident::{Evidence, Symptom};
use crate::symptoms::Symptoms;
use crate::words;

/// Pieces of evidence per shard.
const N_HOT: usize = 2;
/// Weight of the strongest of them; below any finding's.
const WEIGHT: f64 = 0.02;

/// Adds what became hot in a sick shard; `node` speaks for it.
pub(crate) fn add(
    lists: &HotLists,
    mut symptoms: Symptoms,
    shard: &ShardId,
    node: Option<&NodeId>,
    window: WindowIndex,
) -> Symptoms {
    let Some(node) = node.filter(|_| symptoms.is_sick && !symptoms.is_blind) else {
        return symptoms;
    };
    let became = lists.became_hot(shard, N_HOT).into_iter().enumerate();
    symptoms
        .evidence
        .extend(became.map(|(rank, became)| Evidence {
            symptom: Symptom::Hot,
            node: node.clone(),
            shard: shard.clone(),
            series: series(&became),
            family: Family::Throughput,
            unit: Unit::PerSecond,
            since: window,
            value: became.item.rate,
            usual: Some(became.usual),
            siblings: None,
            residual: 0.0,
            weight: WEIGHT / (rank + 1) as f64,
            sentence: sentence(&became),
        }));
    symptoms
}

fn name(became: &Became) -> String {
    let key = became.item.key;
    let name = became.item.name.as_deref();
    name.map_or_else(|| format!("{key:016x}"), str::to_owned)
}

fn series(became: &Became) -> SeriesKey {
    SeriesKey {
        metric: format!("hot.{}", became.kind.as_str()),
        subject: Subject::Template {
            hash: became.item.key,
            text: name(became),
        },
    }
}

fn sentence(became: &Became) -> String {
    let (what, of) = match became.kind {
        HotKind::Fingerprint => ("query", "calls"),
        HotKind::Table => ("table", "rows"),
        HotKind::Tenant => ("tenant", "work"),
        HotKind::Template => ("log line", "lines"),
    };
    let said = |rate| words::in_words(rate, Unit::PerSecond);
    format!(
        "{what} `{}` became hot: {} (usually {}), {:.0} % of the shard's {of}",
        name(became),
        said(became.item.rate),
        said(became.usual),
        became.item.share * 100.0
    )
}
