//! A recording from the running aggregator into a file. (step 15)

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Value, json};

use crate::client::Api;

/// Longest, seconds; as the API's.
const SECONDS_MAX: u64 = 86_400;

/// `hsw record`.
#[derive(Debug, Args)]
pub struct Options {
    /// Where it goes; must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// For how long, seconds (or 5m, 2h).
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    pub span: u64,
    /// Begin with what came in so long before, so that the replayed engine knows what is usual.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = seconds)]
    pub before: u64,
}

/// Records; says what was written.
///
/// # Errors
/// One line: the file, the aggregator, or what it refused.
pub async fn run(options: &Options, api: &Api) -> anyhow::Result<(Value, String)> {
    let path = options.out.display();
    let mut file = std::fs::File::create_new(&options.out)
        .with_context(|| format!("make {path}: give a name that is not taken"))?;
    let asked = format!(
        "recording?seconds={}&before={}",
        options.span, options.before
    );
    let mut n_bytes = 0_u64;
    let mut keep = |bytes: &[u8]| {
        n_bytes += bytes.len() as u64;
        file.write_all(bytes)
            .with_context(|| format!("write {path}"))
    };
    api.download(&asked, &mut keep).await?;
    file.sync_all().with_context(|| format!("write {path}"))?;
    let text = format!("{n_bytes} bytes in {path}\n");
    Ok((json!({ "file": path.to_string(), "bytes": n_bytes }), text))
}

/// `90`, `90s`, `5m`, `2h`.
fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err("give seconds, or a number with s, m or h".to_owned()),
    };
    let n: u64 = digits.parse().map_err(|_| "give a number".to_owned())?;
    match n.checked_mul(factor) {
        Some(n) if n <= SECONDS_MAX => Ok(n),
        _ => Err("at most 24h".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_minutes_or_hours() {
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("2h"), Ok(7_200));
        for wrong in ["", "m", "5d", "25h", "-1", "99999999999999999999h"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
