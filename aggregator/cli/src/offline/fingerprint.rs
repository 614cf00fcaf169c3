//! `hsw fingerprint`: what kinds of statements there are. (step 15)
//!
//! In: files of statements: one JSON string or one object `{"id", "sql"}` a line, or SQL divided by semicolons.
//! Out: one object a statement: `n`, its `id` where it had one, `fingerprint` (16 hex digits, equal for equal kinds) and
//! `normalized`. For MySQL the fingerprint is of the normalised text (percona's digest). For PostgreSQL `normalized` is the
//! text with `$n`, and the fingerprint is of a stricter template, in which aliases, lengths of lists and the like fall
//! together. `normalized` shows what the database's own tools show: literals of utility statements stay in it.

use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use hsw_pipeline::{Dialect, Fingerprinter, Statements};
use serde_json::Value;

use super::input::Input;

/// Longest file, decompressed.
const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The fingerprint command.
#[derive(Debug, Args)]
pub struct Options {
    /// Whose SQL it is.
    #[arg(long, value_enum)]
    pub dialect: Sql,
    /// Group by PostgreSQL's own parser instead of tokens; needs a build with the feature `postgresql-parser`.
    #[arg(long)]
    pub parser: bool,
    /// Files, plain, .gz or .zst; `-` is standard input. A JSON string or {"id", "sql"} a line, or SQL divided by `;`.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// A dialect of SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sql {
    /// MySQL and MariaDB.
    Mysql,
    /// PostgreSQL.
    #[value(alias = "postgres", alias = "pg")]
    Postgresql,
}

/// Runs it.
///
/// # Errors
/// A file cannot be read, a line is no statement, or standard output is gone.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let mut fingerprinter = fingerprinter(options)?;
    let dialect = fingerprinter.dialect();
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut n = 0_u64;
    for path in &options.files {
        let name = path.display().to_string();
        let bytes = Input::open(path)?
            .text(FILE_BYTES_MAX)
            .with_context(|| format!("read {name}"))?;
        let text = String::from_utf8_lossy(&bytes);
        each_statement(&name, &text, dialect, |id, sql| {
            let row = row(&mut fingerprinter, n, id, sql);
            n += 1;
            writeln!(out, "{row}").context("write to standard output")
        })?;
    }
    out.flush().context("write to standard output")
}

fn fingerprinter(options: &Options) -> anyhow::Result<Fingerprinter> {
    let dialect = match options.dialect {
        Sql::Mysql => Dialect::MySql,
        Sql::Postgresql => Dialect::PostgreSql,
    };
    if !options.parser {
        return Ok(Fingerprinter::new(dialect));
    }
    anyhow::ensure!(
        dialect == Dialect::PostgreSql,
        "--parser is PostgreSQL's own: leave it out, or say --dialect postgresql"
    );
    #[cfg(feature = "postgresql-parser")]
    return Ok(Fingerprinter::with_parser());
    #[cfg(not(feature = "postgresql-parser"))]
    anyhow::bail!(
        "built without PostgreSQL's parser: leave --parser out, or build with --features postgresql-parser"
    )
}

/// Hands out the statements of a file's text, with their ids.
fn each_statement(
    name: &str,
    text: &str,
    dialect: Dialect,
    mut take: impl FnMut(Option<&Value>, &str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if !is_json(text) {
        return Statements::new(text, dialect).try_for_each(|sql| take(None, sql));
    }
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (id, sql) = statement(line).with_context(|| {
            let line = at + 1;
            format!("{name}, line {line}: write a JSON string or an object with \"sql\"")
        })?;
        take(id.as_ref(), &sql)?;
    }
    Ok(())
}

/// One JSON value a line: the first line says so. No statement of SQL begins like that, so bad JSON is none.
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['"', '{'])
}

fn statement(line: &str) -> anyhow::Result<(Option<Value>, String)> {
    match serde_json::from_str(line)? {
        Value::String(sql) => Ok((None, sql)),
        Value::Object(mut object) => match object.remove("sql") {
            Some(Value::String(sql)) => Ok((object.remove("id"), sql)),
            _ => anyhow::bail!("no \"sql\""),
        },
        _ => anyhow::bail!("neither"),
    }
}

fn row(fingerprinter: &mut Fingerprinter, n: u64, id: Option<&Value>, sql: &str) -> Value {
    let hash = fingerprinter.fingerprint(sql).hash;
    let mut row = serde_json::json!({
        "n": n,
        "fingerprint": format!("{hash:016x}"),
        "normalized": fingerprinter.normalized(sql),
    });
    if let Some(id) = id {
        row["id"] = id.clone();
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_json_lines_or_sql() {
        assert!(is_json("\n{\"id\": 1, \"sql\": \"select 1\"}\n"));
        assert!(is_json("\"select 1\""));
        assert!(is_json("{\"sql\": \"select 1\""));
        assert!(!is_json("select 1"));
        assert_eq!(
            statement("\"select 1\"").unwrap(),
            (None, "select 1".to_owned())
        );
        let (id, sql) = statement("{\"id\": \"a\", \"sql\": \"x\"}").unwrap();
        assert_eq!((id, sql.as_str()), (Some(Value::from("a")), "x"));
        assert!(statement("{\"id\": 1}").is_err());
        assert!(statement("[1]").is_err());
    }

    #[test]
    fn a_line_that_is_no_json_is_told_with_its_file_and_place() {
        let read = |text: &str| {
            let mut all = Vec::new();
            let result = each_statement("a.jsonl", text, Dialect::MySql, |_, sql| {
                all.push(sql.to_owned());
                Ok(())
            });
            (all, result.map_err(|error| format!("{error:#}")))
        };
        for bad in [
            "{\"sql\": \"select 'secret'\"",
            "\"select 1",
            "{sql: 'select 1'}",
        ] {
            let (all, result) = read(&format!("\n{bad}\n\"select 2\"\n"));
            let error = result.unwrap_err();
            assert!(
                error.starts_with("a.jsonl, line 2: write a JSON string"),
                "{error}"
            );
            assert!(all.is_empty(), "{all:?}");
        }
        let (all, result) = read("\"select 1\"\n\n{\"id\": 2, \"sql\": \"select 2\"}");
        assert_eq!(
            (all, result),
            (vec!["select 1".to_owned(), "select 2".to_owned()], Ok(()))
        );
        assert_eq!(read("select 1; select '{'").0.len(), 2);
    }

    #[test]
    fn a_row_echoes_the_id_and_equal_kinds_have_equal_fingerprints() {
        let mut fingerprinter = Fingerprinter::new(Dialect::PostgreSql);
        let one = row(
            &mut fingerprinter,
            0,
            Some(&Value::from(7)),
            "SELECT a FROM t WHERE b IN (1, 2)",
        );
        let two = row(&mut fingerprinter, 1, None, "select a from t where b = 'x'");
        assert_eq!(one["id"], 7);
        assert_eq!(one["normalized"], "SELECT a FROM t WHERE b IN ($1, $2)");
        assert_eq!(one["fingerprint"], two["fingerprint"]);
        assert!(two.get("id").is_none());
    }
}
