//! `hsw explain`: why was that time bad, from a table of metrics. (step 15)
//!
//! In: a table, the abnormal rows if somebody knows them, causes learned before. Out: the region, predicates best first, causes
//! best first. Where rows before the abnormal ones are missing, predicates are too, and causes are told by levels.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hsw_explain::format::predicate_json;
use hsw_explain::{
    CausalModel, Column, Condition, Config, Fit, Known, Method, Models, NamedCase, Predicate,
    Regions, Rules, Search, Spaces, THETA_SINGLE, find, models, published, separating, sherlock,
};
use serde_json::{Value, json};

use super::causes;
use super::ranges::{Ranges, Rows};
use super::table::Table;

/// Whose procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Procedure {
    /// DBSherlock as published.
    Paper,
    /// DBSherlock as its authors' code has it.
    Code,
    /// Ours: the ranges that separate best, causes by votes, probabilities.
    Ours,
}

/// `hsw explain`.
#[derive(Debug, Args)]
pub struct Options {
    /// Table of metrics: CSV with a header, `time` first where there is one; .zst and .gz are read.
    #[arg(long, value_name = "FILE")]
    pub metrics: PathBuf,
    /// The bad rows: A..B[,C..D] or @T..@T; without, they are looked for.
    #[arg(long, value_name = "ROWS")]
    pub abnormal: Option<Ranges>,
    /// The rows to compare with; all others by default.
    #[arg(long, value_name = "ROWS")]
    pub normal: Option<Ranges>,
    /// Causes that were learned, as `hsw learn` writes them.
    #[arg(long, value_name = "FILE.json")]
    pub models: Option<PathBuf>,
    /// How far apart the regions' means must be, as a share of an attribute's range, for paper and code: 0.2, and 0.05 in
    /// causes merged from several cases.
    #[arg(long, value_name = "X", value_parser = theta)]
    pub theta: Option<f64>,
    /// Whose procedure.
    #[arg(long, value_enum, default_value_t = Procedure::Ours)]
    pub method: Procedure,
}

fn theta(text: &str) -> Result<f64, String> {
    let value = text
        .parse()
        .ok()
        .filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| format!("`{text}` is not a share from 0 to 1"))
}

/// A cause that may be it.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Its name.
    pub cause: String,
    /// How well its predicates fit, −1…1, as the paper defines it.
    pub confidence: f64,
    /// 0…1; ours only.
    pub probability: Option<f64>,
    /// Predicates of the cause whose attributes the table does not have.
    pub n_missing: usize,
}

/// An explanation.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Best first.
    pub predicates: Vec<Predicate>,
    /// Best first.
    pub causes: Vec<Cause>,
    /// Probability that it is none of the known causes; ours only, and only where some are known.
    pub none: Option<f64>,
}

/// What is known of causes, made ready for one procedure.
#[derive(Debug)]
pub struct Library {
    models: Models,
    known: Option<Known>,
}

impl Library {
    /// From cases.
    #[must_use]
    pub fn new(cases: &[NamedCase], procedure: Procedure, theta: Option<f64>) -> Self {
        let method = method(procedure);
        let of: Vec<_> = cases.iter().map(|c| (c.cause.as_str(), &c.case)).collect();
        Self {
            models: Models::new(models(cases, theta, method)),
            known: (procedure == Procedure::Ours && !of.is_empty()).then(|| Known::learn(&of)),
        }
    }

    /// The models, one a cause.
    #[must_use]
    pub fn models(&self) -> &[CausalModel] {
        self.models.models()
    }

    /// The causes of a case, best first, and the probability that it is none of them.
    #[must_use]
    pub fn causes(&self, columns: &[Column<'_>], regions: &Regions) -> (Vec<Cause>, Option<f64>) {
        let spaces = Spaces::new(columns, regions, Config::default().n_partitions);
        let fits = self.models.fits(&spaces).into_iter();
        let of_model = |(model, fit): (&CausalModel, Fit)| Cause {
            cause: model.cause.clone(),
            confidence: fit.confidence,
            probability: None,
            n_missing: fit.n_missing,
        };
        let mut causes: Vec<Cause> = self.models().iter().zip(fits).map(of_model).collect();
        causes.sort_by(|a, b| {
            b.confidence
                .total_cmp(&a.confidence)
                .then_with(|| a.cause.cmp(&b.cause))
        });
        let Some(known) = &self.known else {
            return (causes, None);
        };
        let diagnosis = known.diagnose(&hsw_explain::Case::new(columns, regions));
        let place = |cause: &Cause| {
            let place = diagnosis
                .causes
                .iter()
                .position(|(name, _)| *name == cause.cause);
            place.unwrap_or(usize::MAX)
        };
        for cause in &mut causes {
            let found = diagnosis.causes.get(place(cause));
            cause.probability = Some(found.map_or(0.0, |(_, probability)| *probability));
        }
        causes.sort_by_cached_key(place);
        (causes, Some(diagnosis.none))
    }
}

const fn method(procedure: Procedure) -> Method {
    match procedure {
        Procedure::Code => Method::Code,
        Procedure::Paper | Procedure::Ours => Method::Paper,
    }
}

/// Predicates by a procedure, best first.
#[must_use]
pub fn predicates(
    columns: &[Column<'_>],
    regions: &Regions,
    procedure: Procedure,
    theta: Option<f64>,
) -> Vec<Predicate> {
    let theta = theta.unwrap_or(THETA_SINGLE);
    let config = Config {
        theta,
        ..Config::default()
    };
    let mut predicates = match procedure {
        Procedure::Ours => separating(columns, regions, config.n_partitions),
        Procedure::Paper | Procedure::Code => {
            let method = method(procedure);
            let mut all = published(columns, regions, &config, method);
            all.retain(|predicate| predicate.shift_by(method) > theta);
            all
        }
    };
    Rules::shipped().prune(&mut predicates, columns);
    predicates
}

/// The region that stands out by itself.
#[must_use]
pub fn region(columns: &[Column<'_>], n_rows: usize, procedure: Procedure) -> Option<Rows> {
    let flags = match procedure {
        Procedure::Ours => {
            let found = find(columns, n_rows, Search::Ours)?;
            (0..n_rows).map(|row| found.contains(&row)).collect()
        }
        Procedure::Paper | Procedure::Code => sherlock(columns, n_rows)?,
    };
    Some(Rows::from_flags(&flags))
}

/// Runs the command.
///
/// # Errors
/// A file cannot be read, a row is not there, or nothing stands out and no region is given.
#[expect(
    clippy::print_stdout,
    reason = "printing is what a command line is for"
)]
pub fn run(options: &Options, json: bool) -> anyhow::Result<()> {
    let table = Table::read(&options.metrics)?;
    let columns = causes::columns(&table);
    let cases = options.models.as_deref().map(causes::read).transpose()?;
    let given = options
        .abnormal
        .as_ref()
        .map(|ranges| ranges.rows(&table))
        .transpose()?;
    let is_found = given.is_none();
    let rows = match given {
        Some(rows) => rows,
        None => region(&columns, table.n_rows, options.method)
            .ok_or_else(|| anyhow::anyhow!("no rows stand out: give --abnormal A..B"))?,
    };
    let normal = options
        .normal
        .as_ref()
        .map(|ranges| ranges.rows(&table))
        .transpose()?;
    let regions = causes::regions(&table, &rows, normal.as_ref())?;
    let (causes, none) = match &cases {
        Some(cases) => {
            Library::new(cases, options.method, options.theta).causes(&columns, &regions)
        }
        None => (Vec::new(), None),
    };
    let explanation = Explanation {
        predicates: predicates(&columns, &regions, options.method, options.theta),
        causes,
        none,
    };
    if json {
        println!("{}", to_json(&rows, is_found, &explanation));
    } else {
        print!("{}", text(&rows, is_found, &explanation));
    }
    Ok(())
}

fn to_json(rows: &Rows, is_found: bool, explanation: &Explanation) -> Value {
    let region: Vec<Value> = rows.ranges().iter().map(|(a, b)| json!([a, b])).collect();
    let cause = |cause: &Cause| {
        let mut value = json!({ "cause": cause.cause, "confidence": cause.confidence });
        if let Some(probability) = cause.probability {
            value["probability"] = json!(probability);
        }
        if cause.n_missing > 0 {
            value["missing_attributes"] = json!(cause.n_missing);
        }
        value
    };
    let predicates: Vec<Value> = explanation.predicates.iter().map(predicate_json).collect();
    let causes: Vec<Value> = explanation.causes.iter().map(cause).collect();
    let mut value = json!({
        "region": region, "region_found": is_found, "predicates": predicates, "causes": causes,
    });
    if let Some(none) = explanation.none {
        value["none_of_the_known"] = json!(none);
    }
    value
}

/// With bounds as people read them: six digits.
fn rounded(predicate: &Predicate) -> Predicate {
    let six = |bound: &mut f64| *bound = format!("{bound:.5e}").parse().unwrap_or(*bound);
    let mut predicate = predicate.clone();
    if let Condition::Range { min, max } = &mut predicate.condition {
        min.iter_mut().for_each(six);
        max.iter_mut().for_each(six);
    }
    predicate
}

/// Predicates that are printed for people.
const PRINTED: usize = 20;

fn text(rows: &Rows, is_found: bool, explanation: &Explanation) -> String {
    let how = if is_found {
        "found, not given"
    } else {
        "given"
    };
    let mut text = format!("abnormal rows {rows} ({how})\n");
    for predicate in explanation.predicates.iter().take(PRINTED) {
        let power = predicate.power;
        text.push_str(&format!("  {power:5.2}  {}\n", rounded(predicate)));
    }
    let n_more = explanation.predicates.len().saturating_sub(PRINTED);
    if n_more > 0 {
        text.push_str(&format!("  and {n_more} more: --json shows all\n"));
    }
    if explanation.predicates.is_empty() {
        text.push_str("  nothing separates these rows from the others\n");
    }
    for cause in &explanation.causes {
        let likely = cause
            .probability
            .map_or(String::new(), |p| format!("{:3.0} %  ", 100.0 * p));
        let name = &cause.cause;
        text.push_str(&format!(
            "{likely}{name} (confidence {:.2})\n",
            cause.confidence
        ));
    }
    if let Some(none) = explanation.none {
        text.push_str(&format!(
            "{:3.0} %  none of the known causes\n",
            100.0 * none
        ));
    }
    text
}
