//! Tables as the explaining core wants them, and files of named cases. (step 15)

use std::path::Path;

use anyhow::{Context as _, ensure};
use hsw_explain::{Column, NamedCase, Regions, format};

use super::input::Input;
use super::ranges::Rows;
use super::table::{Table, Values};

/// Longest file of causes.
const BYTES_MAX: u64 = 1 << 30;

/// The columns of a table; counters are differenced.
#[must_use]
pub fn columns(table: &Table) -> Vec<Column<'_>> {
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        columns.push(match &column.values {
            Values::Numbers(values) => Column::numbers(&column.name, values),
            Values::Categories { levels, codes } => Column::categories(&column.name, levels, codes),
        });
    }
    columns
}

/// The regions of a table; without normal rows all that are not abnormal are normal.
///
/// # Errors
/// There is no abnormal row.
pub fn regions(table: &Table, abnormal: &Rows, normal: Option<&Rows>) -> anyhow::Result<Regions> {
    ensure!(
        !abnormal.is_empty(),
        "no abnormal rows: give --abnormal A..B"
    );
    let abnormal = abnormal.flags(table.n_rows);
    let normal = match normal {
        Some(rows) => rows.flags(table.n_rows),
        None => vec![true; table.n_rows],
    };
    Ok(Regions::new(&abnormal, &normal))
}

/// The cases of a file.
///
/// # Errors
/// The file cannot be read, or holds no causes.
pub fn read(path: &Path) -> anyhow::Result<Vec<NamedCase>> {
    let context = || format!("read {}", path.display());
    let bytes = Input::open(path)?.text(BYTES_MAX).with_context(context)?;
    let text = String::from_utf8(bytes).with_context(context)?;
    format::read(&text).with_context(context)
}

/// Writes a file of cases beside the old one, then puts it in its place.
///
/// # Errors
/// The folder cannot be written to.
pub fn write(path: &Path, cases: &[NamedCase]) -> anyhow::Result<()> {
    let context = || format!("write {}", path.display());
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    std::fs::write(&fresh, format::write(cases)).with_context(context)?;
    std::fs::rename(&fresh, path).with_context(context)
}
