//! What the detectors say in the demonstration. (step 15)

use hsw_engine::{Judgement, Said, WeightsView};
use hsw_fusion::{DetectorId, Meta, Moments, Refusal};
use hsw_types::{WallTime, WindowIndex};

use crate::shared::weights::Question;

/// One that is sure, and one that sees nothing; templates are unknown.
pub(super) fn judgement(window: WindowIndex, is_bad: bool) -> Judgement {
    let said = |detector: DetectorId| Said {
        detector,
        surprise: (detector != DetectorId::Templates).then_some(if is_bad { 14.0 } else { 0.4 }),
        weight: 0.1,
    };
    Judgement {
        window,
        probability: if is_bad { 0.97 } else { 0.000_6 },
        surprise: if is_bad { 16.0 } else { 0.4 },
        version: 1,
        said: DetectorId::ALL.map(said).to_vec(),
    }
}

/// As an aggregator that has no label yet.
pub(super) fn answer(question: Question) {
    let meta = Meta::new(hsw_fusion::Weights::default(), WallTime::default());
    match question {
        Question::Show { reply } => {
            let report = meta.report(&Moments::default(), &meta.weights());
            drop(reply.send(WeightsView {
                versions: meta.versions().to_vec(),
                active: 1,
                report,
                shadow_report: None,
                n_labels: 0,
            }));
        }
        Question::Propose { reply } => drop(reply.send(Err(Refusal::TooFew))),
        Question::Label { reply, .. } => drop(reply.send(())),
    }
}
