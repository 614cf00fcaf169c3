//! Finding series by their metric. (step 8)

use hsw_types::{SeriesKey, Subject};

use crate::cluster::{Cluster, KeyIndex};

impl Cluster {
    /// Series of a metric, whatever they are about, in the order of their subjects. O(log keys) and what is found.
    pub fn keys_of(&self, metric: &str) -> impl Iterator<Item = KeyIndex> + '_ {
        // A node's own series comes before those of its parts.
        let first = SeriesKey {
            metric: metric.to_owned(),
            subject: Subject::Node,
        };
        let metric = first.metric.clone();
        self.key_of
            .range(first..)
            .take_while(move |(key, _)| key.metric == metric)
            .map(|(_, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsw_types::{NodeId, SeriesDef, SeriesId, ShardSummary, WindowIndex};

    #[test]
    fn series_of_a_metric_are_found_with_all_their_subjects_and_no_others() {
        let mut cluster = Cluster::new(10);
        let node = cluster.node_index(&NodeId::new("a").unwrap());
        let keys = [
            SeriesKey::node("disk.reads"),
            SeriesKey::object("disk.reads", "sda"),
            SeriesKey::object("disk.reads", "sdb"),
            SeriesKey::object("disk.reads_x", "sda"),
            SeriesKey::object("disk.read_bytes", "sda"),
        ];
        let dictionary = (0..).zip(keys).map(|(id, key)| SeriesDef {
            id: SeriesId(id),
            key,
        });
        let series = (0..5).map(|id| hsw_types::SeriesValues {
            id: SeriesId(id),
            values: vec![Some(1.0)],
        });
        cluster.apply(
            node,
            ShardSummary {
                first_window: WindowIndex(1),
                n_windows: 1,
                dictionary_epoch: 1,
                facts: None,
                dictionary: dictionary.collect(),
                series: series.collect(),
                latencies: Vec::new(),
                log_samples: Vec::new(),
                sources: Vec::new(),
                hot: Vec::new(),
            },
        );
        let found = cluster
            .keys_of("disk.reads")
            .map(|key| cluster.keys()[key].key.to_string());
        assert_eq!(
            found.collect::<Vec<_>>(),
            ["disk.reads", "disk.reads{sda}", "disk.reads{sdb}"]
        );
        assert_eq!(cluster.keys_of("disk").count(), 0);
    }
}
