//! What each feature adds to a boosted model's margin, exactly: TreeSHAP. (step 12)
//!
//! In: the trees of a model (`NAME.trees.json`, written with it) and one row. Out: a contribution a feature, which add up to
//! the margin less its mean. Source: Lundberg, Erion, Lee: Consistent individualized feature attribution for tree ensembles,
//! 2018, Algorithm 2 (path-dependent: a feature that is not known is averaged over the training rows that went either way).
//! Invariants: CO-1 contributions and mean add up to the margin. CO-2 any file is a forest or an error. Limits:
//! [`N_TREES_MAX`], [`N_NODES_MAX`], `DEPTH_MAX`. O(leaves × depth²) a row. Does not: explain the transformer.

use serde::Deserialize;

/// Trees of a model at most.
pub const N_TREES_MAX: usize = 4_096;
/// Nodes of a tree at most.
pub const N_NODES_MAX: usize = 8_192;
const DEPTH_MAX: usize = 64;
const N_FEATURES_MAX: usize = 65_536;

/// The file as it stands.
#[derive(Deserialize)]
struct File {
    format: u32,
    features: Vec<String>,
    trees: Vec<Vec<RawNode>>,
}

#[derive(Deserialize)]
struct RawNode {
    feature: Option<usize>,
    threshold: Option<f64>,
    low: Option<usize>,
    high: Option<usize>,
    value: Option<f64>,
    cover: f64,
}

#[derive(Debug, Clone, Copy)]
enum Node {
    Leaf {
        value: f64,
        cover: f64,
    },
    /// Low is taken where the feature is at most the threshold.
    Split {
        feature: usize,
        threshold: f32,
        low: usize,
        high: usize,
        cover: f64,
    },
}

impl Node {
    const fn cover(&self) -> f64 {
        match self {
            Self::Leaf { cover, .. } | Self::Split { cover, .. } => *cover,
        }
    }
}

/// A boosted model's trees.
#[derive(Debug, Clone)]
pub struct Forest {
    features: Vec<String>,
    trees: Vec<Vec<Node>>,
    mean: f64,
}

/// A feature on the way from the root: the share of rows that take this way without knowing it, whether the row itself
/// does, and the weight of all sets of so many known features.
#[derive(Debug, Clone, Copy)]
struct Step {
    feature: usize,
    zero: f64,
    one: f64,
    weight: f64,
}

impl Forest {
    /// Reads a file of trees.
    ///
    /// # Errors
    /// What is wrong with it, in a line.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let file: File = serde_json::from_slice(text).map_err(|why| why.to_string())?;
        if file.format != 1 {
            return Err(format!("format {} is not known, 1 is", file.format));
        }
        if file.trees.len() > N_TREES_MAX || file.features.len() > N_FEATURES_MAX {
            return Err(format!("more than {N_TREES_MAX} trees"));
        }
        let n_features = file.features.len();
        let trees = file.trees.iter().enumerate();
        let trees: Vec<Vec<Node>> = trees
            .map(|(at, tree)| nodes(tree, n_features).map_err(|why| format!("tree {at}: {why}")))
            .collect::<Result<_, _>>()?;
        let mean = trees.iter().map(|tree| mean(tree)).sum();
        Ok(Self {
            features: file.features,
            trees,
            mean,
        })
    }

    /// Names of the features, in order.
    #[must_use]
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// The margin's mean over the training rows.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The margin of a row: the sum of its leaves. O(trees × depth).
    #[must_use]
    pub fn margin(&self, row: &[f32]) -> f64 {
        let leaf = |tree: &Vec<Node>| {
            let mut at = 0;
            loop {
                match tree[at] {
                    Node::Leaf { value, .. } => return value,
                    Node::Split {
                        feature,
                        threshold,
                        low,
                        high,
                        ..
                    } => {
                        at = if goes_low(row, feature, threshold) {
                            low
                        } else {
                            high
                        }
                    }
                }
            }
        };
        self.trees.iter().map(leaf).sum()
    }

    /// What each feature adds to the margin of a row.
    #[must_use]
    pub fn contributions(&self, row: &[f32]) -> Vec<f64> {
        let mut told = vec![0.0; self.features.len()];
        for tree in &self.trees {
            let root = Step {
                feature: usize::MAX,
                zero: 1.0,
                one: 1.0,
                weight: 0.0,
            };
            descend(tree, 0, row, &[], root, &mut told);
        }
        told
    }
}

/// A row that lacks a feature shows nothing there.
fn goes_low(row: &[f32], feature: usize, threshold: f32) -> bool {
    row.get(feature).copied().unwrap_or(0.0) <= threshold
}

fn descend(tree: &[Node], at: usize, row: &[f32], before: &[Step], step: Step, told: &mut [f64]) {
    let mut path = before.to_vec();
    extend(&mut path, step);
    match tree[at] {
        Node::Leaf { value, .. } => {
            for place in 1..path.len() {
                let Step {
                    feature, zero, one, ..
                } = path[place];
                told[feature] += without(&path, place) * (one - zero) * value;
            }
        }
        Node::Split {
            feature,
            threshold,
            low,
            high,
            cover,
        } => {
            let (hot, cold) = if goes_low(row, feature, threshold) {
                (low, high)
            } else {
                (high, low)
            };
            let (mut zero, mut one) = (1.0, 1.0);
            // A feature met again: its share so far is taken out and goes on.
            if let Some(place) = path.iter().position(|step| step.feature == feature) {
                (zero, one) = (path[place].zero, path[place].one);
                unwind(&mut path, place);
            }
            for (child, one) in [(hot, one), (cold, 0.0)] {
                let step = Step {
                    feature,
                    zero: zero * tree[child].cover() / cover,
                    one,
                    weight: 0.0,
                };
                descend(tree, child, row, &path, step, told);
            }
        }
    }
}

fn extend(path: &mut Vec<Step>, step: Step) {
    let n = path.len();
    let weight = if n == 0 { 1.0 } else { 0.0 };
    path.push(Step { weight, ..step });
    for at in (0..n).rev() {
        let share = path[at].weight / (n + 1) as f64;
        path[at + 1].weight += step.one * share * (at + 1) as f64;
        path[at].weight = step.zero * share * (n - at) as f64;
    }
}

fn unwind(path: &mut Vec<Step>, place: usize) {
    let last = path.len() - 1;
    let Step { zero, one, .. } = path[place];
    let n = (last + 1) as f64;
    let mut next = path[last].weight;
    for at in (0..last).rev() {
        if one == 0.0 {
            path[at].weight *= n / (zero * (last - at) as f64);
        } else {
            let was = path[at].weight;
            path[at].weight = next * n / ((at + 1) as f64 * one);
            next = was - path[at].weight * zero * (last - at) as f64 / n;
        }
    }
    for at in place..last {
        let Step {
            feature, zero, one, ..
        } = path[at + 1];
        path[at] = Step {
            feature,
            zero,
            one,
            weight: path[at].weight,
        };
    }
    path.pop();
}

/// The sum of weights that the path would have without one of its features.
fn without(path: &[Step], place: usize) -> f64 {
    let last = path.len() - 1;
    let Step { zero, one, .. } = path[place];
    let n = (last + 1) as f64;
    let (mut next, mut total) = (path[last].weight, 0.0);
    for at in (0..last).rev() {
        if one == 0.0 {
            total += path[at].weight * n / (zero * (last - at) as f64);
        } else {
            let weight = next * n / ((at + 1) as f64 * one);
            total += weight;
            next = path[at].weight - weight * zero * (last - at) as f64 / n;
        }
    }
    total
}

/// The leaves' mean over training rows; children stand behind their parents.
fn mean(tree: &[Node]) -> f64 {
    let mut means = vec![0.0; tree.len()];
    for (at, node) in tree.iter().enumerate().rev() {
        means[at] = match *node {
            Node::Leaf { value, .. } => value,
            Node::Split {
                low, high, cover, ..
            } => (means[low] * tree[low].cover() + means[high] * tree[high].cover()) / cover,
        };
    }
    means.first().copied().unwrap_or(0.0)
}

/// Checks a tree: children behind their parents (so that it ends), once each, covers that add up.
fn nodes(raw: &[RawNode], n_features: usize) -> Result<Vec<Node>, String> {
    if raw.is_empty() || raw.len() > N_NODES_MAX {
        return Err(format!(
            "it has {} nodes, 1 to {N_NODES_MAX} may be",
            raw.len()
        ));
    }
    let mut depth = vec![None; raw.len()];
    depth[0] = Some(0_usize);
    let mut told = Vec::with_capacity(raw.len());
    for (at, node) in raw.iter().enumerate() {
        let Some(own) = depth[at] else {
            return Err(format!("nothing leads to node {at}"));
        };
        if !(node.cover.is_finite() && node.cover > 0.0) {
            return Err(format!("node {at}: cover {}", node.cover));
        }
        let split = (node.feature, node.threshold, node.low, node.high);
        told.push(match (node.value, split) {
            (Some(value), (None, None, None, None)) if value.is_finite() => Node::Leaf {
                value,
                cover: node.cover,
            },
            (None, (Some(feature), Some(threshold), Some(low), Some(high)))
                if feature < n_features && threshold.is_finite() && own < DEPTH_MAX =>
            {
                for child in [low, high] {
                    let is_new = depth.get(child).is_some_and(Option::is_none);
                    if child <= at || !is_new {
                        return Err(format!("node {at}: child {child}"));
                    }
                    depth[child] = Some(own + 1);
                }
                let both = raw[low].cover + raw[high].cover;
                if (both - node.cover).abs() > 1e-6 * node.cover {
                    return Err(format!("node {at}: {both} rows of {} go on", node.cover));
                }
                Node::Split {
                    feature,
                    threshold: threshold as f32,
                    low,
                    high,
                    cover: node.cover,
                }
            }
            _ => return Err(format!("node {at} is neither leaf nor split")),
        });
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random numbers of no importance (xorshift).
    struct Dice(u64);

    impl Dice {
        fn next(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    /// A random tree over few features, so that one is met again on most ways.
    fn grow(dice: &mut Dice, nodes: &mut Vec<serde_json::Value>, depth: u64, rows: u64) -> usize {
        let at = nodes.len();
        nodes.push(serde_json::Value::Null);
        if depth == 0 || rows < 2 || dice.next(5) == 0 {
            let value = dice.next(200) as f64 / 10.0 - 10.0;
            nodes[at] = serde_json::json!({ "value": value, "cover": rows });
            return at;
        }
        let left = 1 + dice.next(rows - 1);
        let (feature, threshold) = (dice.next(5), dice.next(10) as f64);
        let low = grow(dice, nodes, depth - 1, left);
        let high = grow(dice, nodes, depth - 1, rows - left);
        nodes[at] = serde_json::json!({
            "feature": feature, "threshold": threshold, "low": low, "high": high, "cover": rows,
        });
        at
    }

    fn forest(seed: u64, n_trees: usize) -> Forest {
        let mut dice = Dice(seed * 2 + 1);
        let trees: Vec<_> = (0..n_trees)
            .map(|_| {
                let mut nodes = Vec::new();
                grow(&mut dice, &mut nodes, 5, 1_000);
                nodes
            })
            .collect();
        let file = serde_json::json!({ "format": 1, "features": ["a", "b", "c", "d", "e"], "trees": trees });
        Forest::read(file.to_string().as_bytes()).unwrap()
    }

    /// The margin that is expected when only the features of `known` are.
    fn expected(tree: &[Node], at: usize, row: &[f32], known: u32) -> f64 {
        match tree[at] {
            Node::Leaf { value, .. } => value,
            Node::Split {
                feature,
                threshold,
                low,
                high,
                cover,
            } => {
                let of = |child| expected(tree, child, row, known);
                if known >> feature & 1 == 1 {
                    return of(if row[feature] <= threshold { low } else { high });
                }
                (of(low) * tree[low].cover() + of(high) * tree[high].cover()) / cover
            }
        }
    }

    /// Shapley values by their definition: over all subsets of five features.
    fn brute_force(forest: &Forest, row: &[f32]) -> Vec<f64> {
        let value = |known: u32| -> f64 {
            let trees = forest.trees.iter();
            trees.map(|tree| expected(tree, 0, row, known)).sum()
        };
        let factorial = |n: u32| (1..=n).product::<u32>() as f64;
        (0..5)
            .map(|feature| {
                let sets = (0..32_u32).filter(|set| set >> feature & 1 == 0);
                sets.map(|set| {
                    let n = set.count_ones();
                    let weight = factorial(n) * factorial(4 - n) / factorial(5);
                    weight * (value(set | 1 << feature) - value(set))
                })
                .sum()
            })
            .collect()
    }

    #[test]
    fn contributions_are_shapley_values_and_add_up_to_the_margin() {
        for seed in 1..60 {
            let forest = forest(seed, 3);
            let mut dice = Dice(seed + 1_000);
            let row: Vec<f32> = (0..5).map(|_| dice.next(10) as f32).collect();
            let told = forest.contributions(&row);
            for (ours, theirs) in told.iter().zip(brute_force(&forest, &row)) {
                assert!((ours - theirs).abs() < 1e-9, "{seed}: {ours} {theirs}");
            }
            let sum: f64 = told.iter().sum();
            assert!((forest.mean() + sum - forest.margin(&row)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_feature_that_no_tree_asks_for_adds_nothing() {
        let text = br#"{"format":1,"features":["a","b"],"trees":[[
            {"feature":0,"threshold":1.0,"low":1,"high":2,"cover":10},{"value":-1.0,"cover":6},{"value":4.0,"cover":4}]]}"#;
        let forest = Forest::read(text).unwrap();
        assert_eq!(forest.mean(), 1.0);
        assert_eq!(forest.contributions(&[2.0, 9.0]), [3.0, 0.0]);
        assert_eq!(forest.contributions(&[1.0, 9.0]), [-2.0, 0.0]);
    }

    #[test]
    fn what_is_no_forest_is_an_error() {
        let good = r#"{"format":1,"features":["a"],"trees":[[
            {"feature":0,"threshold":1.0,"low":1,"high":2,"cover":10},{"value":-1.0,"cover":6},{"value":4.0,"cover":4}]]}"#;
        assert!(Forest::read(good.as_bytes()).is_ok());
        for (from, to) in [
            ("\"format\":1", "\"format\":2"),
            ("\"low\":1", "\"low\":0"),
            ("\"low\":1", "\"low\":2"),
            ("\"high\":2", "\"high\":3"),
            ("\"feature\":0", "\"feature\":1"),
            ("\"cover\":6", "\"cover\":0"),
            ("\"cover\":6", "\"cover\":9"),
            ("\"value\":-1.0", "\"worth\":-1.0"),
            ("1.0,\"low\"", "1e999,\"low\""),
        ] {
            assert!(
                Forest::read(good.replacen(from, to, 1).as_bytes()).is_err(),
                "{to}"
            );
        }
    }
}
