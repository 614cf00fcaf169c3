//! The detectors by name, in the one order that weights, layouts and stores keep. (steps 10–11)

/// Number of detectors.
pub const N_DETECTORS: usize = 10;

/// A detector. The order is part of [the layout](crate::layout) and of stored weights: new ones go last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DetectorId {
    /// Level of the last half hour, level, trend and season of days and weeks.
    OwnPast,
    /// The same series on sibling shards at the same moment.
    Siblings,
    /// Series that no longer move together as they did.
    Correlated,
    /// Change point and slow drift.
    Change,
    /// The common movements no longer follow from the rows before.
    Modes,
    /// Log templates: rate and novelty.
    Templates,
    /// Fingerprints of statements: latency, mix, changed plans.
    Fingerprints,
    /// Distances in the interaction graph.
    Structure,
    /// Known limits: connections, space, memory, wraparound, files.
    Saturation,
    /// The database answers its agent.
    Liveness,
}

impl DetectorId {
    /// All, in order.
    pub const ALL: [Self; N_DETECTORS] = [
        Self::OwnPast,
        Self::Siblings,
        Self::Correlated,
        Self::Change,
        Self::Modes,
        Self::Templates,
        Self::Fingerprints,
        Self::Structure,
        Self::Saturation,
        Self::Liveness,
    ];

    /// Place in every list of detectors, 0 to [`N_DETECTORS`] − 1.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Name in configuration, stores and columns.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OwnPast => "own_past",
            Self::Siblings => "siblings",
            Self::Correlated => "correlated",
            Self::Change => "change",
            Self::Modes => "modes",
            Self::Templates => "templates",
            Self::Fingerprints => "fingerprints",
            Self::Structure => "structure",
            Self::Saturation => "saturation",
            Self::Liveness => "liveness",
        }
    }

    /// The detector of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// What each detector says of a shard at a window: calibrated −ln p, `None` where it does not know.
pub type Surprises = [Option<f64>; N_DETECTORS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_detector_is_found_at_its_place_and_by_its_name() {
        for (at, one) in DetectorId::ALL.into_iter().enumerate() {
            assert_eq!(one.index(), at);
            assert_eq!(DetectorId::named(one.name()), Some(one));
        }
        assert_eq!(DetectorId::named("oracle"), None);
    }
}
