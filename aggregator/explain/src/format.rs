//! Named cases as JSON that people can read, compare and share. (step 12)
//!
//! In: cases, or a text. Out: the other. A file holds every original case, one a line, and above them, for reading only, what the
//! cases of each cause have in common: that is derived anew whenever the file is read.
//! Invariants: FO-1 what is written is read back, numbers to twelve digits. FO-2 a text of a newer version, or that is none, is an error that says so.
//! Limits: [`crate::CASES_MAX`] cases.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::case::{Case, Levels};
use crate::known::{CASES_MAX, NamedCase, models};
use crate::predicate::{Condition, Method, Predicate};

/// What the file calls itself.
const FORMAT: &str = "hsw-causes";
/// The version that is written; older ones are read.
const VERSION: u64 = 1;

/// Why a text holds no causes.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FormatError {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// It is something else.
    #[error("no file of causes: `format` is not `{FORMAT}`")]
    Foreign,
    /// It is newer than this program.
    #[error("version {0} of causes, this program reads up to {VERSION}: use a newer one")]
    Newer(u64),
    /// Something is missing or of the wrong kind.
    #[error("{0} is missing or of the wrong kind")]
    Wrong(String),
    /// There are too many cases.
    #[error("more than {CASES_MAX} cases: remove old ones")]
    TooMany,
}

/// The text of a file.
#[must_use]
pub fn write(cases: &[NamedCase]) -> String {
    let mut text = format!("{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\n\"causes\":[");
    let all = models(cases, None, Method::Paper);
    for (n, model) in all.iter().enumerate() {
        let common: Vec<Value> = model.predicates.iter().map(short).collect();
        text.push_str(if n == 0 { "\n" } else { ",\n" });
        text.push_str(&format!(
            "{{\"cause\":{},\"cases\":{},\"in_common\":[",
            json!(model.cause),
            model.n_cases
        ));
        list(&mut text, common.iter());
        text.push_str("],\n\"originals\":[");
        let own = cases.iter().filter(|case| case.cause == model.cause);
        let originals: Vec<Value> = own.map(original).collect();
        list(&mut text, originals.iter());
        text.push_str("]}");
    }
    text.push_str("\n]}\n");
    text
}

/// One a line.
fn list<'a>(text: &mut String, values: impl Iterator<Item = &'a Value>) {
    for (n, value) in values.enumerate() {
        text.push_str(if n == 0 { "\n " } else { ",\n " });
        text.push_str(&value.to_string());
    }
}

fn original(case: &NamedCase) -> Value {
    let predicates: Vec<Value> = case.predicates.iter().map(short).collect();
    let levels = case.case.levels.iter().map(|(name, levels)| {
        let Levels {
            before,
            drift,
            during,
        } = *levels;
        (
            name.clone(),
            json!([number(before), number(drift), number(during)]),
        )
    });
    json!({ "predicates": predicates, "levels": levels.collect::<Map<String, Value>>() })
}

/// Twelve digits: more than anybody reads or anything learned here depends on, and a text that reads back as it was written.
fn number(value: f64) -> Value {
    let short = format!("{value:.11e}").parse::<f64>();
    short
        .ok()
        .filter(|value| value.is_finite())
        .map_or(Value::Null, |value| json!(value))
}

/// A predicate with short numbers, for the file.
fn short(predicate: &Predicate) -> Value {
    let mut value = predicate_json(predicate);
    for bound in ["min", "max"] {
        if let Some(exact) = value[bound].as_f64() {
            value[bound] = number(exact);
        }
    }
    value
}

/// A predicate as every JSON of this crate has it: `min`, `max` or `in`; a counter's has `"per_row": true`.
#[must_use]
pub fn predicate_json(predicate: &Predicate) -> Value {
    let mut value = json!({
        "attribute": predicate.attribute,
        "power": number(predicate.power),
        "shift": number(predicate.shift),
        "shift_of_labels": number(predicate.shift_of_labels),
    });
    match &predicate.condition {
        Condition::Range { min, max } => {
            value["min"] = json!(min);
            value["max"] = json!(max);
        }
        Condition::In(names) => value["in"] = json!(names),
    }
    if predicate.is_difference {
        value["per_row"] = json!(true);
    }
    value
}

/// The cases of a text, by cause.
///
/// # Errors
/// The text is no file of causes, is newer, or holds too much.
pub fn read(text: &str) -> Result<Vec<NamedCase>, FormatError> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| FormatError::Json(error.to_string()))?;
    if value["format"] != FORMAT {
        return Err(FormatError::Foreign);
    }
    match value["version"].as_u64() {
        Some(version) if version <= VERSION => {}
        Some(version) => return Err(FormatError::Newer(version)),
        None => return Err(wrong("version")),
    }
    let mut cases = Vec::new();
    for (n, cause) in array(&value, "causes")?.iter().enumerate() {
        let place = |what: &str| format!("{what} of cause {n}");
        let name = cause["cause"]
            .as_str()
            .ok_or_else(|| wrong(&place("cause")))?;
        for original in array(cause, "originals")? {
            if cases.len() == CASES_MAX {
                return Err(FormatError::TooMany);
            }
            let predicates = array(original, "predicates")?.iter().map(predicate);
            cases.push(NamedCase {
                cause: name.to_owned(),
                predicates: predicates.collect::<Result<_, _>>()?,
                case: levels(&original["levels"]).ok_or_else(|| wrong(&place("levels")))?,
            });
        }
    }
    Ok(cases)
}

fn wrong(what: &str) -> FormatError {
    FormatError::Wrong(format!("`{what}`"))
}

fn array<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, FormatError> {
    value[name].as_array().ok_or_else(|| wrong(name))
}

fn levels(value: &Value) -> Option<Case> {
    let number = |value: &Value| match value {
        Value::Null => Some(f64::NAN),
        other => other.as_f64(),
    };
    let one = |(name, value): (&String, &Value)| {
        let [before, drift, during] = value.as_array()?.as_slice() else {
            return None;
        };
        let levels = Levels {
            before: number(before)?,
            drift: number(drift)?,
            during: number(during)?,
        };
        Some((name.clone(), levels))
    };
    let levels: Option<BTreeMap<String, Levels>> = value.as_object()?.iter().map(one).collect();
    levels.map(|levels| Case { levels })
}

fn predicate(value: &Value) -> Result<Predicate, FormatError> {
    let number = |name: &str| value[name].as_f64().ok_or_else(|| wrong(name));
    let bound = |name: &str| match &value[name] {
        Value::Null => Ok(None),
        other => other.as_f64().map(Some).ok_or_else(|| wrong(name)),
    };
    let condition = match value["in"].as_array() {
        Some(names) => {
            let names = names.iter().map(|name| name.as_str().map(str::to_owned));
            Condition::In(names.collect::<Option<_>>().ok_or_else(|| wrong("in"))?)
        }
        None => Condition::Range {
            min: bound("min")?,
            max: bound("max")?,
        },
    };
    let attribute = value["attribute"]
        .as_str()
        .ok_or_else(|| wrong("attribute"))?;
    Ok(Predicate {
        attribute: attribute.to_owned(),
        is_difference: value["per_row"] == true,
        condition,
        power: number("power")?,
        shift: number("shift")?,
        shift_of_labels: number("shift_of_labels")?,
    })
}
