//! How far each series of a node moved: its mean while something acts against its mean before.

use std::collections::BTreeMap;
use std::io::Read;

use hsw_recording::{Entry, Reader};
use hsw_types::{NodeId, SeriesId, SeriesKey};

/// Means of a series before and during.
#[derive(Debug, Clone, Copy, Default)]
pub struct Moved {
    /// Before.
    pub usual: f64,
    /// During.
    pub during: f64,
}

/// Series of `node` in a recording by metric and object (of an object that is a device, the metric alone): from the begin to
/// `spans.0`, and within `spans.1`; Unix seconds.
///
/// # Errors
/// When the recording cannot be read.
pub fn movement<R: Read>(
    mut reader: Reader<R>,
    node: &NodeId,
    usual: (i64, i64),
    during: (i64, i64),
) -> Result<BTreeMap<String, Moved>, hsw_recording::Error> {
    let mut names: BTreeMap<SeriesId, SeriesKey> = BTreeMap::new();
    let mut sums: BTreeMap<String, [(f64, f64); 2]> = BTreeMap::new();
    while let Some((_, entry)) = reader.read()? {
        let Entry::Summary {
            node: from,
            summary,
            ..
        } = entry
        else {
            continue;
        };
        if from != *node {
            continue;
        }
        names.extend(
            summary
                .dictionary
                .iter()
                .map(|def| (def.id, def.key.clone())),
        );
        for series in &summary.series {
            let Some(key) = names.get(&series.id) else {
                continue;
            };
            let sum = sums.entry(key.to_string()).or_default();
            for (n, value) in series.values.iter().enumerate() {
                let at = summary.first_window.0 + n as i64;
                let within = |span: (i64, i64)| (span.0..span.1).contains(&at);
                let Some(value) = value else { continue };
                for (place, span) in [usual, during].into_iter().enumerate() {
                    if within(span) {
                        sum[place].0 += value;
                        sum[place].1 += 1.0;
                    }
                }
            }
        }
    }
    let mean = |(sum, n): (f64, f64)| if n > 0.0 { sum / n } else { 0.0 };
    let moved = |sum: [(f64, f64); 2]| Moved {
        usual: mean(sum[0]),
        during: mean(sum[1]),
    };
    Ok(sums
        .into_iter()
        .map(|(name, sum)| (name, moved(sum)))
        .collect())
}
