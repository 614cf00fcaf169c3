//! A table of several entities, one of which is asked about: the others are its control group. (step 15)

use std::collections::BTreeMap;

use anyhow::ensure;
use hsw_explain::{Column, Config, Predicate, Regions, Rules, controlled};

/// An entity among its siblings.
pub(super) struct Entity<'a> {
    /// Its own columns, named as in the file.
    pub(super) columns: Vec<Column<'a>>,
    /// The same, named by their metrics.
    own: Vec<Column<'a>>,
    siblings: Vec<Vec<Column<'a>>>,
}

/// Cuts the columns `entity|metric` of a table into those of one entity and those of its siblings.
///
/// # Errors
/// The table does not know the entity, or knows no other.
pub(super) fn split<'a>(columns: &[Column<'a>], entity: &str) -> anyhow::Result<Entity<'a>> {
    let mut by_entity: BTreeMap<&str, Vec<Column<'a>>> = BTreeMap::new();
    for column in columns {
        if let Some((entity, metric)) = column.name.split_once('|') {
            let mut column = column.clone();
            column.name = metric;
            by_entity.entry(entity).or_default().push(column);
        }
    }
    let Some(own) = by_entity.remove(entity) else {
        let known: Vec<&str> = by_entity.keys().copied().take(10).collect();
        anyhow::bail!(
            "--entity {entity}: no column `{entity}|metric`; entities of the table: {}",
            known.join(", ")
        );
    };
    ensure!(
        !by_entity.is_empty(),
        "--entity {entity}: it has no siblings in the table; leave --entity out"
    );
    let is_own = |column: &&Column<'a>| {
        column
            .name
            .split_once('|')
            .is_some_and(|(own, _)| own == entity)
    };
    Ok(Entity {
        columns: columns.iter().filter(is_own).cloned().collect(),
        own,
        siblings: by_entity.into_values().collect(),
    })
}

impl Entity<'_> {
    /// What it shows and no sibling does, with what siblings show meanwhile; best first.
    pub(super) fn predicates(
        &self,
        regions: &Regions,
        rules: &Rules,
    ) -> (Vec<Predicate>, Vec<(f64, f64)>) {
        let siblings: Vec<&[Column<'_>]> = self.siblings.iter().map(Vec::as_slice).collect();
        let found = controlled(
            &self.own,
            &siblings,
            regions,
            Config::default().n_partitions,
        );
        let mut predicates: Vec<Predicate> =
            found.iter().map(|own| own.predicate.clone()).collect();
        rules.prune(&mut predicates, &self.own);
        let is_kept = |attribute: &str| predicates.iter().any(|own| own.attribute == attribute);
        let kept = found.iter().filter(|own| is_kept(&own.predicate.attribute));
        let siblings = kept.map(|own| own.siblings).collect();
        (predicates, siblings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_is_told_from_its_siblings_and_one_that_is_not_there_is_named() {
        let low: Vec<f64> = (0..30).map(|row| f64::from(row % 3)).collect();
        let high: Vec<f64> = (0..30)
            .map(|row| if row > 19 { 50.0 } else { 1.0 })
            .collect();
        let columns = [
            Column::numbers("s1|queue", &high),
            Column::numbers("s2|queue", &low),
            Column::numbers("s3|queue", &low),
            Column::numbers("total", &high),
        ];
        let entity = split(&columns, "s1").unwrap();
        assert_eq!(
            (entity.columns.len(), entity.columns[0].name),
            (1, "s1|queue")
        );
        let abnormal: Vec<bool> = (0..30).map(|row| row > 19).collect();
        let regions = Regions::new(&abnormal, &[true; 30]);
        let (predicates, siblings) = entity.predicates(&regions, &Rules::shipped());
        assert_eq!(
            (predicates[0].attribute.as_str(), siblings[0]),
            ("queue", (0.0, 2.0))
        );
        let error = |columns: &[Column<'_>], entity: &str| {
            split(columns, entity)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        assert!(error(&columns, "s9").contains("entities of the table: s1, s2, s3"));
        assert!(error(&columns[..1], "s1").contains("no siblings"));
    }
}
