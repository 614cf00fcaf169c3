//! The meta-evaluation loop on synthetic feedback whose truth is known. (step 11)

use super::*;
use crate::dice::uniform;

const START: WallTime = WallTime(0);

/// One in four is sick; the first three detectors see it, the others see nothing of it, the last cries at random.
fn label(row: i64) -> Label {
    let is_sick = row % 4 == 0;
    let said = std::array::from_fn(|i| {
        let calm = -hsw_stats::ln(uniform(row, i));
        let cry = (i == N_DETECTORS - 1 && uniform(row, 50) < 0.3) || (is_sick && i < 3);
        Some(if cry { calm + 12.0 } else { calm })
    });
    Label {
        at: WallTime(row),
        said,
        is_sick,
    }
}

/// The detectors that helped see nothing any more, the one that cried at random is right.
fn turned(row: i64) -> Label {
    let mut label = label(row);
    for i in 0..N_DETECTORS {
        let calm = -hsw_stats::ln(uniform(row, i));
        let cry = if i < 3 { !label.is_sick } else { label.is_sick };
        label.said[i] = Some(if cry { calm + 14.0 } else { calm });
    }
    label
}

fn taught(n: i64) -> (Moments, Meta) {
    let mut moments = Moments::default();
    (10_000..14_000).for_each(|row| {
        let said = std::array::from_fn(|i| Some(-hsw_stats::ln(uniform(row, i))));
        moments.learn(&said);
    });
    let mut meta = Meta::new(Weights::default(), START);
    (0..n).for_each(|row| drop(meta.learn(&moments, label(row))));
    (moments, meta)
}

#[test]
fn nothing_is_proposed_from_too_few_labels_and_one_at_a_time() {
    let (moments, mut meta) = taught(8);
    assert_eq!(meta.propose(&moments, START), Err(Refusal::TooFew));
    let (moments, mut meta) = taught(40);
    assert_eq!(meta.propose(&moments, START), Ok(2));
    assert_eq!(meta.propose(&moments, START), Err(Refusal::Running(2)));
}

#[test]
fn labels_weigh_up_who_helps_and_a_proposal_that_wins_on_later_labels_is_promoted() {
    let (moments, mut meta) = taught(120);
    let before = meta.report(&moments, &meta.weights());
    meta.propose(&moments, START).unwrap();
    assert_eq!(
        meta.weights(),
        Weights::default(),
        "the shadow changes nothing"
    );
    let outcomes: Vec<Outcome> = (120..140)
        .flat_map(|row| meta.learn(&moments, label(row)))
        .collect();
    assert_eq!(outcomes, [Outcome::Promoted(2)]);
    let weights = *meta.weights().all();
    assert!(
        weights[..3].iter().all(|w| *w > 0.15) && weights[3..].iter().all(|w| *w < 0.1),
        "{weights:?}"
    );
    let after = meta.report(&moments, &meta.weights());
    assert!(after.log_loss < before.log_loss && after.n == 140 && after.n_sick == 35);
    assert!(after.average_precision > Some(0.99) && after.precision > Some(0.9));
}

#[test]
fn what_was_promoted_and_turns_out_worse_is_rolled_back_by_itself() {
    let (moments, mut meta) = taught(120);
    meta.propose(&moments, START).unwrap();
    (120..140).for_each(|row| drop(meta.learn(&moments, label(row))));
    assert_eq!(meta.active().id, 2);
    let outcomes: Vec<Outcome> = (140..200)
        .flat_map(|row| meta.learn(&moments, turned(row)))
        .collect();
    assert!(outcomes.contains(&Outcome::RolledBack(1)), "{outcomes:?}");
    assert!(outcomes.contains(&Outcome::Drifted));
    assert_eq!((meta.active().id, meta.weights()), (1, Weights::default()));
    assert_eq!(meta.versions()[1].state, State::RolledBack);
}

#[test]
fn a_proposal_that_loses_on_later_labels_is_dropped() {
    let (moments, mut meta) = taught(120);
    meta.propose(&moments, START).unwrap();
    let outcomes: Vec<Outcome> = (120..140)
        .flat_map(|row| meta.learn(&moments, turned(row)))
        .collect();
    assert!(outcomes.contains(&Outcome::Dropped(2)), "{outcomes:?}");
    assert_eq!(meta.active().id, 1);
}

#[test]
fn what_was_kept_goes_on_and_another_word_of_the_operator_is_a_new_version() {
    let (moments, mut meta) = taught(120);
    meta.propose(&moments, START).unwrap();
    (120..140).for_each(|row| drop(meta.learn(&moments, label(row))));
    let labels: Vec<Label> = meta.labels().copied().collect();
    let again = Meta::restore(
        Weights::default(),
        meta.versions().to_vec(),
        labels.clone(),
        START,
    );
    assert_eq!((again.weights(), again.active().id), (meta.weights(), 2));
    let mut raw = [1.0; N_DETECTORS];
    raw[0] = 5.0;
    let other = Weights::new(&raw).unwrap();
    let changed = Meta::restore(other, meta.versions().to_vec(), labels, START);
    assert_eq!((changed.weights(), changed.active().id), (other, 3));
    assert_eq!(
        Meta::restore(other, Vec::new(), Vec::new(), START)
            .active()
            .id,
        1
    );
}

#[test]
fn labels_and_versions_are_bounded() {
    let (moments, mut meta) = taught(N_LABELS_MAX as i64 + 50);
    assert_eq!(meta.labels().count(), N_LABELS_MAX);
    for round in 0..N_VERSIONS_MAX as i64 + 5 {
        let _ = meta.propose(&moments, START);
        (0..12).for_each(|row| drop(meta.learn(&moments, label(5_000 + 12 * round + row))));
    }
    assert!(meta.versions().len() <= N_VERSIONS_MAX);
    assert_eq!(
        meta.versions()
            .iter()
            .filter(|v| v.state == State::Active)
            .count(),
        1
    );
}
