//! One look at a shard and a time: attributes, reasons, the case. (step 12)
//!
//! In: the state, who is whose sibling, a region. Out: an [`Explanation`] without causes, which the book adds.
//! Normal are the windows before the region as far as they are kept, but for the last [`GUARD`]: trouble is felt before it is
//! sure. Siblings are looked at in the very windows that count as bad. O(attributes · windows · siblings).

use hsw_explain::{Case, Column, Config, Method, NamedCase, Predicate, Regions, Values, published};
use hsw_graph::InteractionGraph;
use hsw_state::{Cluster, NodeIndex, RING_WINDOWS};
use hsw_types::{Role, ShardId, Tier, WindowIndex};

use super::culprits;
use super::explanation::{Explanation, WhyError};
use super::reasons;
use super::table::{self, Span};
use crate::map::{ShardEntry, ShardMap};
use crate::view::NodeLiveness;

/// Windows before a region that count neither way.
const GUARD: i64 = 5;
/// Fewest windows that say what is normal.
const NORMAL_MIN: i64 = 20;
/// Most windows that count as bad: the first ones, in which a cause shows itself before its consequences do.
const ABNORMAL_MAX: i64 = 90;
/// Predicates that are kept with a case, for people who read the file of causes.
const PREDICATES_MAX: usize = 12;
/// Siblings that serve as control at most; those next by name.
const SIBLINGS_MAX: usize = 8;
/// What a case says of liveness: the word, 0 before, 1 during where it is so.
const LIVENESS: [(NodeLiveness, &str); 4] = [
    (NodeLiveness::DatabaseSilent, "database silent"),
    (NodeLiveness::DatabaseDown, "database down"),
    (NodeLiveness::AgentLost, "agent lost"),
    (NodeLiveness::HostLost, "host lost"),
];

/// All that is looked at.
pub(crate) struct Scene<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) map: &'a ShardMap,
    pub(crate) graph: &'a InteractionGraph,
    /// Of each node; the worst since the incident began, where it is known.
    pub(crate) liveness: &'a [NodeLiveness],
    /// Clock of each node minus ours, microseconds, where known.
    pub(crate) clock_offset_us: &'a dyn Fn(NodeIndex) -> Option<i64>,
}

/// What is asked.
pub(crate) struct Look<'a> {
    pub(crate) shard: &'a ShardId,
    pub(crate) first: WindowIndex,
    pub(crate) last: WindowIndex,
    /// First windows of evidence by shard, where they are known.
    pub(crate) onsets: &'a [(ShardId, WindowIndex)],
}

impl Scene<'_> {
    /// Nodes of a shard that have told something: the primary first.
    pub(super) fn members(&self, entry: &ShardEntry) -> Vec<NodeIndex> {
        let known = entry
            .nodes
            .iter()
            .filter_map(|node| self.cluster.find(node));
        let mut members: Vec<NodeIndex> = known
            .filter(|at| self.cluster.nodes()[*at].newest.is_some())
            .collect();
        members.sort_by_key(|at| self.cluster.nodes()[*at].facts.role == Role::Replica);
        members
    }

    /// The regions that a look can have.
    fn regions(&self, look: &Look<'_>, newest: WindowIndex) -> Result<(Span, Span), WhyError> {
        let last = look.last.min(newest).min(look.first + (ABNORMAL_MAX - 1));
        if last < look.first {
            return Err(WhyError::Empty);
        }
        let kept_from = newest + (1 - RING_WINDOWS as i64);
        let good_last = look.first + -(GUARD + 1);
        if good_last - kept_from + 1 < NORMAL_MIN {
            return Err(WhyError::TooOld);
        }
        let bad = Span {
            first: look.first,
            last,
        };
        let good = Span {
            first: kept_from,
            last: good_last,
        };
        Ok((good, bad))
    }

    /// Looks.
    ///
    /// # Errors
    /// [`WhyError`]: nothing is known of the shard, or of that time.
    pub(crate) fn look(&self, look: &Look<'_>) -> Result<Explanation, WhyError> {
        let entry = self
            .map
            .shards()
            .find(|entry| entry.shard == *look.shard)
            .ok_or(WhyError::NoShard)?;
        let members = self.members(entry);
        let told = members
            .iter()
            .filter_map(|at| self.cluster.nodes()[*at].newest);
        // A node that is silent tells nothing more; its siblings say how late it is.
        let everybody = self.cluster.nodes().iter().filter_map(|node| node.newest);
        let newest = told
            .max()
            .and_then(|_| everybody.max())
            .ok_or(WhyError::NoShard)?;
        let (good, bad) = self.regions(look, newest)?;
        let span = Span {
            first: good.first,
            last: bad.last,
        };
        let own = table::gather(self.cluster, &members, span, Tier::Context);
        let siblings: Vec<_> = self
            .siblings(entry)
            .into_iter()
            .map(|members| table::gather(self.cluster, &members, bad, Tier::Context))
            .collect();
        let regions = flags(span, good, bad);
        let columns: Vec<Column<'_>> = own
            .iter()
            .filter(|(_, attribute)| attribute.carries_over)
            .map(|(name, attribute)| gauge(name, &attribute.values))
            .collect();
        let mut case = Case::new(&columns, &regions);
        self.add_liveness(&mut case, &members);
        round(&mut case);
        let mut predicates = published(&columns, &regions, &Config::default(), Method::Paper);
        predicates.sort_by(strongest);
        predicates.truncate(PREDICATES_MAX);
        let explanation = Explanation {
            shard: look.shard.clone(),
            abnormal: (bad.first, bad.last),
            normal: (good.first, good.last),
            n_siblings: siblings.len(),
            n_attributes: own.len(),
            revision: 1,
            reasons: reasons::find(&own, &siblings, good.len(), bad),
            causes: Vec::new(),
            none: 1.0,
            culprits: culprits::rank_shards(self, look, good, bad),
            similar: Vec::new(),
            case: NamedCase {
                cause: String::new(),
                predicates,
                case,
            },
            feedback: None,
        };
        Ok(explanation)
    }

    /// Members of the shards that are compared with this one: of its own kind.
    fn siblings(&self, entry: &ShardEntry) -> Vec<Vec<NodeIndex>> {
        let others = self.map.shards().filter(|other| other.shard != entry.shard);
        let same = others.filter(|other| other.is_router == entry.is_router);
        let members = same.map(|other| self.members(other));
        members
            .filter(|members| !members.is_empty())
            .take(SIBLINGS_MAX)
            .collect()
    }

    fn add_liveness(&self, case: &mut Case, members: &[NodeIndex]) {
        for (state, word) in LIVENESS {
            let is_so = members
                .iter()
                .any(|at| self.liveness.get(*at) == Some(&state));
            let levels = hsw_explain::Levels {
                before: 0.0,
                drift: 0.0,
                during: f64::from(u8::from(is_so)),
            };
            case.levels.insert(format!("liveness {word}"), levels);
        }
    }
}

/// A column of values as they are: series are rates and gauges already.
pub(super) fn gauge<'a>(name: &'a str, values: &'a [f64]) -> Column<'a> {
    Column {
        name,
        values: Values::Numbers(values.into()),
        is_difference: false,
    }
}

fn flags(span: Span, good: Span, bad: Span) -> Regions {
    let within = |part: Span| -> Vec<bool> {
        let window = |at: usize| span.first + at as i64;
        let holds = |at| window(at) >= part.first && window(at) <= part.last;
        (0..span.len()).map(holds).collect()
    };
    Regions::new(&within(bad), &within(good))
}

fn strongest(a: &Predicate, b: &Predicate) -> std::cmp::Ordering {
    let weight = |predicate: &Predicate| predicate.power * predicate.shift;
    weight(b)
        .total_cmp(&weight(a))
        .then_with(|| a.attribute.cmp(&b.attribute))
}

/// Four digits: more are noise, and cases are kept.
fn round(case: &mut Case) {
    for levels in case.levels.values_mut() {
        for value in [&mut levels.before, &mut levels.drift, &mut levels.during] {
            *value = format!("{value:.3e}").parse().unwrap_or(f64::NAN);
        }
    }
}
