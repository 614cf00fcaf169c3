//! A model's card: what it takes, what it says, whether it may decide, and the checksum of its file. (step 11)
//!
//! In: `NAME.json` beside `NAME.onnx`. Out: a checked [`Card`]. Invariants: CA-1 a card of another layout or format is
//! refused: a model must not read columns that mean something else. CA-2 a model file is read no further than its
//! checksum. Keys that are for people (data, seeds, metrics, ablation, calibration) are not read here.
//! Limits: [`CARD_BYTES_MAX`]. Does not: open the model.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::Error;

/// A longer card is refused.
pub const CARD_BYTES_MAX: u64 = 1 << 20;

/// The only format there is.
const FORMAT: u32 = 1;

/// Inputs and outputs of a model at most.
const N_PORTS_MAX: usize = 16;

/// The card, as far as the program needs it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Card {
    /// Version of the card's own format.
    pub format: u32,
    /// The model's name, for people and labels.
    pub name: String,
    /// Its file, in the card's folder.
    pub file: String,
    /// SHA-256 of that file, 64 hex digits.
    pub sha256: String,
    /// What its features mean: id, version and checksum of the layout, `id/version/checksum`.
    pub layout: String,
    /// Whether it may decide: only where it beat the statistical fusion on kinds of fault it had not seen.
    pub enabled: bool,
    /// Why, for people.
    pub why: String,
    /// What it takes.
    pub inputs: Vec<Port>,
    /// What it says.
    pub outputs: Vec<Port>,
    /// How far it may differ from the model it replaces.
    pub bounds: Bounds,
    /// Its trees once more, for exact contributions; a model without them gives no reasons.
    #[serde(default)]
    pub trees: Option<Trees>,
}

/// The file of a model's trees.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Trees {
    /// Its name, in the card's folder.
    pub file: String,
    /// SHA-256 of it, 64 hex digits.
    pub sha256: String,
}

/// An input or output: its name and sizes, −1 where they follow the batch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Port {
    /// `history`, `features` or `edges`; `sick`, `soon` or `family`.
    pub name: String,
    /// Sizes.
    pub dims: Vec<i64>,
}

/// How far a model may differ from the one in force before it is swapped in.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Bounds {
    /// Mean difference of probabilities at most.
    pub difference_mean_max: f64,
    /// Share of verdicts (probability above a half) that differ at most.
    pub verdicts_differ_max: f64,
}

impl Card {
    /// Reads and checks a card. `layout` is this program's.
    ///
    /// # Errors
    /// A file that cannot be read or is too long, is no card, is of another format or layout, or names a file elsewhere.
    pub fn read(path: &Path, layout: &str) -> Result<Self, Error> {
        let text = read(path, CARD_BYTES_MAX)?;
        let refused = |why: String| Error::Card {
            path: path.display().to_string(),
            why,
        };
        let card: Self = serde_json::from_slice(&text).map_err(|why| refused(why.to_string()))?;
        match card.wrong(layout) {
            Some(why) => Err(refused(why)),
            None => Ok(card),
        }
    }

    fn wrong(&self, layout: &str) -> Option<String> {
        let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
        let within = |share: f64| (0.0..=1.0).contains(&share);
        if self.format != FORMAT {
            return Some(format!("format {} is not known, {FORMAT} is", self.format));
        }
        if self.layout != layout {
            return Some(format!(
                "it reads layout {}, this program makes {layout}",
                self.layout
            ));
        }
        let model = (&self.file, &self.sha256);
        let trees = self.trees.iter().map(|trees| (&trees.file, &trees.sha256));
        for (file, sha256) in trees.chain([model]) {
            let name = Path::new(file).file_name();
            if name.is_none_or(|name| name != file.as_str()) {
                return Some(format!("`{file}` is no file beside the card"));
            }
            if sha256.len() != 64 || !is_hex(sha256) {
                return Some("sha256 is not 64 hex digits".to_owned());
            }
        }
        if self.name.is_empty() || self.name.len() > 64 {
            return Some("name may have 1 to 64 bytes".to_owned());
        }
        if self.inputs.len() > N_PORTS_MAX || self.outputs.len() > N_PORTS_MAX {
            return Some(format!("more than {N_PORTS_MAX} inputs or outputs"));
        }
        let bounds = self.bounds;
        if !within(bounds.difference_mean_max) || !within(bounds.verdicts_differ_max) {
            return Some("bounds are shares, 0 to 1".to_owned());
        }
        None
    }

    /// The model's bytes, which have the card's checksum.
    ///
    /// # Errors
    /// A file that cannot be read, is longer than `bytes_max`, or is another one than the card speaks of.
    pub fn model(&self, folder: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.file(folder, (&self.file, &self.sha256), bytes_max)
    }

    /// The trees' bytes, likewise; `None` where the card names none.
    ///
    /// # Errors
    /// As [`Self::model`].
    pub fn trees(&self, folder: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let trees = self.trees.as_ref();
        trees
            .map(|trees| self.file(folder, (&trees.file, &trees.sha256), bytes_max))
            .transpose()
    }

    fn file(
        &self,
        folder: &Path,
        (file, sha256): (&str, &str),
        bytes_max: u64,
    ) -> Result<Vec<u8>, Error> {
        let path: PathBuf = folder.join(file);
        let bytes = read(&path, bytes_max)?;
        let found: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if !found.eq_ignore_ascii_case(sha256) {
            return Err(Error::Model {
                name: self.name.clone(),
                why: format!(
                    "{} has checksum {found}, the card says {sha256}",
                    path.display()
                ),
            });
        }
        Ok(bytes)
    }
}

/// A file's bytes, at most so many.
fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let failed = |why: String| Error::Read {
        path: path.display().to_string(),
        why,
    };
    let file = File::open(path).map_err(|why| failed(why.to_string()))?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|why| failed(why.to_string()))?;
    if bytes.len() as u64 > bytes_max {
        return Err(failed(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const CARD: &str = r#"{"format":1,"name":"m","file":"m.onnx","sha256":"SUM","layout":"l/1/0",
        "enabled":true,"why":"","inputs":[],"outputs":[],"seeds":[1],
        "bounds":{"difference_mean_max":0.1,"verdicts_differ_max":0.05}}"#;
    /// Of the three bytes `abc` (FIPS 180-2, B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read_text(text: &str) -> Result<Card, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        fs::write(&path, text).unwrap();
        Card::read(&path, "l/1/0").map_err(|why| why.to_string())
    }

    #[test]
    fn a_card_that_cannot_be_is_refused_with_what_is_wrong() {
        let good = CARD.replace("SUM", ABC);
        assert!(read_text(&good).unwrap().enabled);
        for (from, to, why) in [
            ("\"format\":1", "\"format\":2", "format 2"),
            ("l/1/0", "l/2/0", "layout l/2/0"),
            ("m.onnx", "../m.onnx", "no file beside the card"),
            ("m.onnx", "", "no file beside the card"),
            (
                "\"seeds\"",
                "\"trees\":{\"file\":\"/etc/passwd\",\"sha256\":\"\"},\"seeds\"",
                "no file beside the card",
            ),
            (ABC, "abc", "64 hex digits"),
            ("0.1", "1.5", "shares"),
            ("\"enabled\":true,", "", "enabled"),
            ("{", "", "expected"),
        ] {
            let error = read_text(&good.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(why), "{to}: {error}");
        }
        let long = good.replacen(
            "\"why\":\"\"",
            &format!("\"why\":\"{}\"", "x".repeat(1 << 20)),
            1,
        );
        assert!(read_text(&long).unwrap_err().contains("longer"));
    }

    #[test]
    fn a_model_that_is_not_the_cards_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let card = read_text(&CARD.replace("SUM", ABC)).unwrap();
        let at = folder.path();
        assert!(matches!(card.model(at, 10), Err(Error::Read { .. })));
        fs::write(at.join("m.onnx"), "abc").unwrap();
        assert_eq!(card.model(at, 10).unwrap(), b"abc");
        assert!(matches!(card.model(at, 2), Err(Error::Read { .. })));
        fs::write(at.join("m.onnx"), "abd").unwrap();
        let error = card.model(at, 10).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{error}");
    }
}
