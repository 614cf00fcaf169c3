//! One model: a session whose inputs and outputs are what its card says, warmed before it counts. (step 11)
//!
//! In: a [`Batch`]. Out: [`Scores`]. Invariants: MO-1 a file that is no model, or another than its card says, is an error.
//! MO-2 scores are one a shard, finite, between 0 and 1, quantised. MO-3 a batch is handed over where it lies: nothing
//! is copied but what a GPU copies. Limits: [`MODEL_BYTES_MAX`], `N_SHARDS_WARM`. Does not: decide when to score.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use hsw_fusion::{Batch, Scores, quantise};
use hsw_types::ShardId;
use ort::session::{Session, SessionInputValue, SessionOutputs};
use ort::value::{Outlet, TensorElementType, TensorRef};

use crate::{Card, Error, Forest, Port, Runtime};

/// A larger model is refused.
pub const MODEL_BYTES_MAX: u64 = 64 << 20;

/// Shards of the batches a session is warmed with.
const N_SHARDS_WARM: usize = 16;
/// Batches a session is warmed with: the first allocates, the second runs as later ones will.
const N_WARM: usize = 2;
/// What the trees read.
const FUSED: &str = "fused";
/// Shards explained in a batch, and reasons of each: a few milliseconds.
const N_EXPLAINED: usize = 8;
const N_REASONS: usize = 5;
/// Steps and features of a row at most.
const SIZE_MAX: i64 = 65_536;

/// A model ready to score.
pub struct Model {
    session: Session,
    card: Card,
    n_steps: usize,
    n_features: usize,
    forest: Option<Forest>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("card", &self.card)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Opens the model of a card. `layout` is this program's.
    ///
    /// # Errors
    /// Card or file cannot be read or do not fit together; what the file holds is no model, or fails on its first batch.
    pub fn open(runtime: &Runtime, card: &Path, layout: &str) -> Result<Self, Error> {
        let folder = card.parent().unwrap_or_else(|| Path::new("."));
        let card = Card::read(card, layout)?;
        let bytes = card.model(folder, MODEL_BYTES_MAX)?;
        let refused = |why: String| Error::Model {
            name: card.name.clone(),
            why,
        };
        let session = runtime.session(&bytes).map_err(refused)?;
        if let Some(why) = wrong(&card, &session) {
            return Err(refused(why));
        }
        let forest = card
            .trees(folder, MODEL_BYTES_MAX)?
            .map(|text| forest(&card, &text).map_err(refused))
            .transpose()?;
        let size = |name: &str, place: usize| {
            let port = card.inputs.iter().find(|port| port.name == name);
            port.map(|port| port.dims[place] as usize)
        };
        // A model that reads one step alone reads the newest.
        let n_steps = size("history", 1).unwrap_or(1);
        let n_features = size("history", 2).or_else(|| size("features", 1));
        let Some(n_features) = n_features else {
            return Err(refused("it reads neither history nor features".to_owned()));
        };
        let mut model = Self {
            session,
            card,
            n_steps,
            n_features,
            forest,
        };
        for _ in 0..N_WARM {
            model.score(&model.blank(N_SHARDS_WARM))?;
        }
        Ok(model)
    }

    /// The card.
    #[must_use]
    pub const fn card(&self) -> &Card {
        &self.card
    }

    /// Steps and features of a row.
    #[must_use]
    pub const fn shape(&self) -> (usize, usize) {
        (self.n_steps, self.n_features)
    }

    /// A batch of so many shards with nothing in it, for warming and measuring.
    ///
    /// # Panics
    /// Never: the word can be an id.
    #[must_use]
    pub fn blank(&self, n_shards: usize) -> Batch {
        let nobody = ShardId::new("nobody").expect("a plain word");
        Batch {
            shards: vec![nobody; n_shards],
            n_steps: self.n_steps,
            n_features: self.n_features,
            history: vec![0.0; n_shards * self.n_steps * self.n_features],
            edges: (1..n_shards as u32).map(|to| (0, to)).collect(),
            ..Batch::default()
        }
    }

    /// Scores all shards in one run.
    ///
    /// # Errors
    /// A batch of another shape, a run that fails, scores that are none.
    pub fn score(&mut self, batch: &Batch) -> Result<Scores, Error> {
        let mut scores = self.probabilities(batch)?;
        for p in scores.sick.iter_mut().chain(&mut scores.soon) {
            *p = quantise(*p);
        }
        Ok(scores)
    }

    /// The same before it is quantised, for comparisons.
    ///
    /// # Errors
    /// As [`Self::score`].
    pub fn probabilities(&mut self, batch: &Batch) -> Result<Scores, Error> {
        let name = self.card.name.clone();
        let failed = |why: String| Error::Score {
            name: name.clone(),
            why,
        };
        if let Some(why) = batch.check() {
            return Err(failed(why));
        }
        let is_longer = self.n_steps == 1 && batch.n_steps >= 1;
        if batch.n_features != self.n_features || !(batch.n_steps == self.n_steps || is_longer) {
            return Err(failed(format!(
                "it reads {} steps of {} features, the batch has {} of {}",
                self.n_steps, self.n_features, batch.n_steps, batch.n_features
            )));
        }
        let n = batch.shards.len();
        if n == 0 {
            return Ok(Scores::default());
        }
        let lent = Lent::new(batch);
        let inputs = self.card.inputs.iter().map(|port| lent.input(port));
        let inputs: Vec<_> = inputs.collect::<Result<_, _>>().map_err(failed)?;
        let outputs = self
            .session
            .run(inputs)
            .map_err(|why| failed(why.to_string()))?;
        let told = |port: &str| probabilities(&outputs, port, n).map_err(failed);
        let has = |port: &str| self.card.outputs.iter().any(|p| p.name == port);
        let mut scores = Scores {
            window: batch.window,
            shards: batch.shards.clone(),
            sick: told("sick")?,
            soon: if has("soon") {
                told("soon")?
            } else {
                Vec::new()
            },
            ..Scores::default()
        };
        if let Some(forest) = &self.forest {
            scores.reasons = reasons(&outputs, forest, &scores).map_err(failed)?;
        }
        Ok(scores)
    }
}

/// What adds most to the verdict on the shards that are most probably sick.
fn reasons(
    outputs: &SessionOutputs<'_>,
    forest: &Forest,
    scores: &Scores,
) -> Result<BTreeMap<ShardId, Vec<(String, f32)>>, String> {
    let mut sick: Vec<usize> = (0..scores.sick.len())
        .filter(|&row| scores.sick[row] > 0.5)
        .collect();
    sick.sort_by(|&a, &b| scores.sick[b].total_cmp(&scores.sick[a]));
    sick.truncate(N_EXPLAINED);
    if sick.is_empty() {
        return Ok(BTreeMap::new());
    }
    let value = outputs.get(FUSED).ok_or("there is no output `fused`")?;
    let (_, values) = value
        .try_extract_tensor::<f32>()
        .map_err(|why| why.to_string())?;
    let n = forest.features().len();
    let of = |row: usize| {
        let row = values.get(row * n..(row + 1) * n)?;
        let names = forest.features().iter();
        let mut told: Vec<(&String, f64)> = names
            .zip(forest.contributions(row))
            .filter(|(_, adds)| *adds > 0.0)
            .collect();
        told.sort_by(|a, b| b.1.total_cmp(&a.1));
        let told = told.into_iter().take(N_REASONS);
        Some(
            told.map(|(name, adds)| (name.clone(), adds as f32))
                .collect(),
        )
    };
    let told = sick.into_iter();
    Ok(told
        .filter_map(|row| Some((scores.shards[row].clone(), of(row)?)))
        .collect())
}

/// The trees of a card, which must read what the model's output `fused` says.
fn forest(card: &Card, text: &[u8]) -> Result<Forest, String> {
    let forest = Forest::read(text).map_err(|why| format!("its trees: {why}"))?;
    let fused = card.outputs.iter().find(|port| port.name == FUSED);
    let n = forest.features().len() as i64;
    if fused.is_none_or(|port| port.dims != [-1, n]) {
        return Err(format!(
            "its trees read {n} features, its output `{FUSED}` is another"
        ));
    }
    Ok(forest)
}

/// What a run reads, where it lies: values in the batch, the rest made here.
struct Lent<'b> {
    batch: &'b Batch,
    newest: Vec<f32>,
    edges: Vec<i64>,
}

impl<'b> Lent<'b> {
    fn new(batch: &'b Batch) -> Self {
        let ends = |end: fn(&(u32, u32)) -> u32| {
            let own = batch.edges.iter().map(end).map(i64::from);
            // Models pass over an edge from a row to itself; without any edge there would be a tensor of size 0.
            own.chain([0])
        };
        Self {
            batch,
            newest: if batch.n_steps == 1 {
                Vec::new()
            } else {
                batch.newest()
            },
            edges: ends(|edge| edge.0).chain(ends(|edge| edge.1)).collect(),
        }
    }

    fn input(&self, port: &Port) -> Result<(String, SessionInputValue<'_>), String> {
        let batch = self.batch;
        let n = batch.shards.len();
        let tensor = match port.name.as_str() {
            "history" => TensorRef::from_array_view((
                [n, batch.n_steps, batch.n_features],
                batch.history.as_slice(),
            ))
            .map(SessionInputValue::from),
            "features" => {
                let rows = if batch.n_steps == 1 {
                    &batch.history
                } else {
                    &self.newest
                };
                TensorRef::from_array_view(([n, batch.n_features], rows.as_slice()))
                    .map(SessionInputValue::from)
            }
            _ => TensorRef::from_array_view(([2, self.edges.len() / 2], self.edges.as_slice()))
                .map(SessionInputValue::from),
        };
        let tensor = tensor.map_err(|why| why.to_string())?;
        Ok((port.name.clone(), tensor))
    }
}

/// An output as probabilities, one a shard.
fn probabilities(outputs: &SessionOutputs<'_>, port: &str, n: usize) -> Result<Vec<f32>, String> {
    let said = |why: &dyn Display| format!("output `{port}`: {why}");
    let value = outputs.get(port).ok_or_else(|| said(&"it is not there"))?;
    let (_, values) = value
        .try_extract_tensor::<f32>()
        .map_err(|why| said(&why))?;
    if values.len() != n {
        return Err(said(&format!("{} values for {n} shards", values.len())));
    }
    let is_probability = |p: &f32| (-1e-4..=1.0 + 1e-4).contains(p);
    if let Some(odd) = values.iter().find(|p| !is_probability(p)) {
        return Err(said(&format!("{odd} is no probability")));
    }
    Ok(values.iter().map(|p| p.clamp(0.0, 1.0)).collect())
}

/// What of the session is not as the card says.
fn wrong(card: &Card, session: &Session) -> Option<String> {
    const INPUTS: [(&str, TensorElementType, usize); 3] = [
        ("history", TensorElementType::Float32, 3),
        ("features", TensorElementType::Float32, 2),
        ("edges", TensorElementType::Int64, 2),
    ];
    if session.inputs().len() != card.inputs.len() {
        return Some(format!(
            "it has {} inputs, its card {}",
            session.inputs().len(),
            card.inputs.len()
        ));
    }
    for port in &card.inputs {
        let Some((_, kind, rank)) = INPUTS.iter().find(|(name, ..)| *name == port.name) else {
            return Some(format!("input `{}` is not known here", port.name));
        };
        let fixed = port.dims.iter().skip(1);
        let is_edges = port.name == "edges";
        if port.dims.len() != *rank
            || (!is_edges && fixed.clone().any(|size| !(1..=SIZE_MAX).contains(size)))
        {
            return Some(format!(
                "input `{}` cannot have sizes {:?}",
                port.name, port.dims
            ));
        }
        if let Some(why) = port_wrong(session.inputs(), port, *kind) {
            return Some(why);
        }
    }
    if !card.outputs.iter().any(|port| port.name == "sick") {
        return Some("its card names no output `sick`".to_owned());
    }
    let float = TensorElementType::Float32;
    let mut outputs = card.outputs.iter();
    outputs.find_map(|port| port_wrong(session.outputs(), port, float))
}

fn port_wrong(outlets: &[Outlet], port: &Port, kind: TensorElementType) -> Option<String> {
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == port.name) else {
        return Some(format!("it has no `{}`", port.name));
    };
    if outlet.dtype().tensor_type() != Some(kind) {
        return Some(format!(
            "`{}` is {}, not {kind:?}",
            port.name,
            outlet.dtype()
        ));
    }
    let sizes: Vec<i64> = outlet.dtype().tensor_shape().map(|s| s.to_vec())?;
    (sizes != port.dims).then(|| {
        format!(
            "`{}` has sizes {sizes:?}, its card says {:?}",
            port.name, port.dims
        )
    })
}
