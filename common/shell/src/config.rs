//! Configuration: defaults, then a file, then its drop-ins, then the environment, then flags; checked once. (steps 1, 6)
//!
//! In: `FILE`, `FILE.d/*.toml` in order of name, `PREFIX__A__B=value`, `--set a.b=value`. Out: one typed value.
//! Invariants: CF-1 an unknown key, a missing one or a wrong type is an error that names the place it came from.
//! CF-2 what is shown holds no secret. Limits: `FILE_BYTES_MAX`, `N_DROP_INS_MAX`.
//! Does not: know defaults (serde does, beside each field) or whether values make sense (their owner does).

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// A configuration file longer than this is refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files in a drop-in folder; more are refused.
const N_DROP_INS_MAX: usize = 256;

/// The flags every subcommand that needs the configuration takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Args {
    /// Configuration file (TOML); files in FILE.d/ are read after it, in order of their names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sets one key, after file and environment, e.g. --set spool.bytes_max=1000000. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// What `config …` does.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Prints what is in force, secrets masked.
    Show(Args),
    /// Prints every key with its default and what it does.
    Default,
    /// Says what is wrong, or nothing.
    Check(Args),
}

/// Reads the configuration; `prefix` is that of environment variables, e.g. `HSW_AGENT__`.
///
/// # Errors
/// One line that names the file, variable or flag, and the key.
pub fn load<T: DeserializeOwned>(args: &Args, prefix: &str) -> anyhow::Result<T> {
    load_from(args, prefix, env::vars_os())
}

/// The configuration as TOML, secrets masked.
///
/// # Errors
/// When a value has no form in TOML; a defect of the type.
pub fn show<T: Serialize>(config: &T) -> anyhow::Result<String> {
    let mut table = Table::try_from(config).context("write the configuration as TOML")?;
    mask_table(&mut table);
    toml::to_string_pretty(&table).context("write the configuration as TOML")
}

/// One place keys come from.
struct Layer {
    name: String,
    table: Table,
}

fn load_from<T: DeserializeOwned>(
    args: &Args,
    prefix: &str,
    vars: impl Iterator<Item = (OsString, OsString)>,
) -> anyhow::Result<T> {
    let mut layers = Vec::new();
    if let Some(file) = &args.config {
        layers.push(read_file(file)?);
        for drop_in in drop_ins(file)? {
            layers.push(read_file(&drop_in)?);
        }
    }
    layers.extend(environment(prefix, vars)?);
    for set in &args.set {
        let (path, value) = set
            .split_once('=')
            .with_context(|| format!("--set {set}: write it as key=value"))?;
        layers.push(single(
            format!("--set {path}"),
            &path.split('.').collect::<Vec<_>>(),
            value,
        )?);
    }

    let mut merged = Table::new();
    for layer in &layers {
        merge(&mut merged, &layer.table);
    }
    match merged.try_into() {
        Ok(config) => Ok(config),
        Err(why) => bail!(blame::<T>(&layers, &why.to_string())),
    }
}

/// The place an error came from is the first one after which reading fails with the very same words.
fn blame<T: DeserializeOwned>(layers: &[Layer], why: &str) -> String {
    let mut merged = Table::new();
    let mut place = "configuration";
    for layer in layers {
        merge(&mut merged, &layer.table);
        if let Err(found) = merged.clone().try_into::<T>()
            && found.to_string() == why
        {
            place = &layer.name;
            break;
        }
    }
    format!("{place}: {}", one_line(why))
}

fn one_line(text: &str) -> String {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn read_file(path: &Path) -> anyhow::Result<Layer> {
    let name = path.display().to_string();
    let bytes = fs::metadata(path)
        .with_context(|| format!("cannot read the configuration {name}"))?
        .len();
    if bytes > FILE_BYTES_MAX {
        bail!("{name} has {bytes} bytes, over the limit of {FILE_BYTES_MAX} for a configuration");
    }
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration {name}"))?;
    match text.parse::<Table>() {
        Ok(table) => Ok(Layer { name, table }),
        Err(why) => {
            let line = why
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            bail!("{name}, line {line}: {}", one_line(why.message()))
        }
    }
}

fn drop_ins(file: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folder = file.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => {
            return Err(why).with_context(|| format!("cannot read {}", folder.display()));
        }
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            paths.push(path);
        }
        if paths.len() > N_DROP_INS_MAX {
            bail!(
                "{} holds more than {N_DROP_INS_MAX} files",
                folder.display()
            );
        }
    }
    paths.sort();
    Ok(paths)
}

fn environment(
    prefix: &str,
    vars: impl Iterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Vec<Layer>> {
    let mut found = Vec::new();
    for (name, value) in vars {
        let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else {
            continue;
        };
        let Some(value) = value.to_str() else {
            bail!("environment {name}: not UTF-8");
        };
        found.push((name.to_owned(), value.to_owned()));
    }
    found.sort();
    let mut layers = Vec::new();
    for (name, value) in found {
        let path = name[prefix.len()..].to_ascii_lowercase();
        layers.push(single(
            format!("environment {name}"),
            &path.split("__").collect::<Vec<_>>(),
            &value,
        )?);
    }
    Ok(layers)
}

/// A layer of one key; the value is TOML where it reads as such, else text.
fn single(name: String, path: &[&str], value: &str) -> anyhow::Result<Layer> {
    let Some((last, parents)) = path.split_last() else {
        bail!("{name}: no key");
    };
    if path.iter().any(|part| part.is_empty()) {
        bail!("{name}: an empty part in the key");
    }
    let value = format!("v = {value}")
        .parse::<Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let mut table = Table::new();
    table.insert((*last).to_owned(), value);
    for parent in parents.iter().rev() {
        let inner = std::mem::take(&mut table);
        table.insert((*parent).to_owned(), Value::Table(inner));
    }
    Ok(Layer { name, table })
}

/// Tables are merged key by key, everything else is replaced.
fn merge(into: &mut Table, from: &Table) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Table(old)), Value::Table(new)) => merge(old, new),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

const MASK: &str = "********";

fn mask_table(table: &mut Table) {
    for (key, value) in table.iter_mut() {
        let secret = ["password", "secret", "token"]
            .iter()
            .any(|word| key.ends_with(word));
        match value {
            Value::String(text) if secret && !text.is_empty() => *text = MASK.to_owned(),
            other => mask_value(other),
        }
    }
}

fn mask_value(value: &mut Value) {
    match value {
        Value::Table(table) => mask_table(table),
        Value::Array(items) => items.iter_mut().for_each(mask_value),
        Value::String(text) => mask_text(text),
        _ => {}
    }
}

/// Masks `scheme://user:HERE@host` and `password=HERE` within a connection string.
fn mask_text(text: &mut String) {
    if let Some(start) = text.find("://").map(|at| at + 3) {
        let end = text[start..].find('/').map_or(text.len(), |at| start + at);
        if let Some(at) = text[start..end].rfind('@').map(|at| start + at)
            && let Some(colon) = text[start..at].find(':').map(|c| start + c)
        {
            text.replace_range(colon + 1..at, MASK);
        }
    }
    if let Some(start) = text.find("password=").map(|at| at + "password=".len()) {
        let end = text[start..]
            .find(|c: char| c == '&' || c.is_whitespace())
            .map_or(text.len(), |at| start + at);
        text.replace_range(start..end, MASK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Spool {
        bytes_max: u64,
        fsync: bool,
        admin_password: String,
        url: String,
    }

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        node: String,
        #[serde(default)]
        spool: Spool,
    }

    fn load_with(file: &str, vars: &[(&str, &str)], set: &[&str]) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        fs::write(&path, file).unwrap();
        fs::create_dir(dir.path().join("agent.toml.d")).unwrap();
        fs::write(
            dir.path().join("agent.toml.d/10-site.toml"),
            "[spool]\nbytes_max = 2\n",
        )
        .unwrap();
        fs::write(dir.path().join("agent.toml.d/ignored.txt"), "x").unwrap();
        let args = Args {
            config: Some(path),
            set: set.iter().map(|s| (*s).to_owned()).collect(),
        };
        let vars: Vec<(OsString, OsString)> = vars
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        load_from(&args, "HSW_AGENT__", vars.into_iter())
    }

    #[test]
    fn later_places_win_and_tables_are_merged() {
        let file = "node = \"a\"\n[spool]\nbytes_max = 1\nfsync = true\n";
        let config = load_with(file, &[], &[]).unwrap();
        assert_eq!((config.spool.bytes_max, config.spool.fsync), (2, true));
        let env = [("HSW_AGENT__SPOOL__BYTES_MAX", "3"), ("HOME", "/")];
        assert_eq!(load_with(file, &env, &[]).unwrap().spool.bytes_max, 3);
        let config = load_with(file, &env, &["spool.bytes_max=4", "node=b c"]).unwrap();
        assert_eq!((config.spool.bytes_max, config.node.as_str()), (4, "b c"));
    }

    #[test]
    fn an_error_names_the_place_and_the_key() {
        let good = "node = \"a\"\n";
        let place_and_key: [(anyhow::Result<Config>, &str, &str); 5] = [
            (
                load_with("node = \"a\"\n[spool]\nbites = 1\n", &[], &[]),
                "agent.toml:",
                "bites",
            ),
            (load_with("[spool]\n", &[], &[]), "agent.toml:", "node"),
            (
                load_with(good, &[("HSW_AGENT__SPOOL__SIZE", "3")], &[]),
                "environment HSW_AGENT__SPOOL__SIZE",
                "size",
            ),
            (
                load_with(good, &[], &["spool.fsync=maybe"]),
                "--set spool.fsync",
                "fsync",
            ),
            (load_with("node = [\n", &[], &[]), "agent.toml, line", ""),
        ];
        for (outcome, place, key) in place_and_key {
            let why = format!("{:#}", outcome.unwrap_err());
            assert!(why.contains(place) && why.contains(key), "{why}");
            assert!(!why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let file = "node=\"a\"\n[spool]\nadmin_password=\"hunter2\"\nurl=\"postgres://u:hunter2@h/d?password=hunter2&x=1\"\n";
        let text = show(&load_with(file, &[], &[]).unwrap()).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("@h/d?"), "{text}");
    }
}
