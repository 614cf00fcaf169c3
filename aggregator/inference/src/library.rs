//! Where ONNX Runtime's shared library and the models lie. (step 11)
//!
//! In: what the configuration says, the environment, the executable's place. Out: the first file that is there.
//! Order: `inference.library`, `ORT_DYLIB_PATH`, `.ort/` in a folder above the executable, beside the executable. Never
//! the working directory: who can write there must not be able to bring code. Does not: load it.

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;

/// What the library is called where deploy/onnxruntime puts it.
const NAME: &str = "libonnxruntime.so";

/// Folders above the executable that may hold `.ort/`: `target/release/deps`, `target/release`, `target`, the checkout.
const N_ABOVE: usize = 4;

/// A library, and who named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// How it was found, for people.
    pub by: &'static str,
}

/// The library to load; `None` where there is none and nobody named one.
///
/// # Errors
/// When the configuration or the environment names a file that is not there: a slip must not pass as "no library".
pub fn find(configured: Option<&Path>) -> Result<Option<Found>, Error> {
    let executable = env::current_exe().ok();
    find_from(
        configured,
        env::var_os("ORT_DYLIB_PATH").map(PathBuf::from),
        executable.as_deref(),
    )
}

/// The folder of model cards: the named one, that of the checkout, or `models` beside the executable.
#[must_use]
pub fn models(named: &Path) -> PathBuf {
    if !named.as_os_str().is_empty() {
        return named.to_owned();
    }
    let executable = env::current_exe().unwrap_or_default();
    let folder = executable.parent().unwrap_or_else(|| Path::new("/"));
    let above = folder.ancestors().take(N_ABOVE);
    let mut above = above.map(|folder| folder.join("aggregator/models"));
    above
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| folder.join("models"))
}

fn find_from(
    configured: Option<&Path>,
    variable: Option<PathBuf>,
    executable: Option<&Path>,
) -> Result<Option<Found>, Error> {
    let named = [
        (configured.map(Path::to_owned), "inference.library"),
        (variable, "ORT_DYLIB_PATH"),
    ];
    for (path, by) in named {
        let Some(path) = path.filter(|path| !path.as_os_str().is_empty()) else {
            continue;
        };
        if !path.is_file() {
            return Err(Error::Library {
                path: path.display().to_string(),
                why: format!("{by} names a file that is not there"),
            });
        }
        // An absolute path, because a bare name would be searched for elsewhere.
        let path = path.canonicalize().unwrap_or(path);
        return Ok(Some(Found { path, by }));
    }
    let Some(folder) = executable.and_then(Path::parent) else {
        return Ok(None);
    };
    let above = folder.ancestors().take(N_ABOVE);
    let above = above.map(|folder| (folder.join(".ort").join(NAME), ".ort"));
    let beside = (folder.join(NAME), "beside the executable");
    let mut places = above.chain([beside]);
    Ok(places
        .find(|(path, _)| path.is_file())
        .map(|(path, by)| Found { path, by }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_place_that_has_it_wins_and_a_wrong_name_is_no_silence() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("target/release")).unwrap();
        fs::create_dir_all(at(".ort")).unwrap();
        let executable = at("target/release/hsw-aggregator");
        let found = |configured: Option<&Path>, variable: Option<PathBuf>| {
            find_from(configured, variable, Some(&executable))
        };
        assert_eq!(found(None, None).unwrap(), None);

        fs::write(at("target/release/libonnxruntime.so"), "x").unwrap();
        assert_eq!(
            found(None, None).unwrap().unwrap().by,
            "beside the executable"
        );
        fs::write(at(".ort/libonnxruntime.so"), "x").unwrap();
        assert_eq!(found(None, None).unwrap().unwrap().by, ".ort");
        fs::write(at("mine.so"), "x").unwrap();
        let by_variable = found(None, Some(at("mine.so"))).unwrap().unwrap();
        assert_eq!(by_variable.by, "ORT_DYLIB_PATH");
        let both = found(Some(&at("mine.so")), Some(at("gone.so"))).unwrap();
        assert_eq!(both.unwrap().by, "inference.library");
        assert_eq!(
            found(None, Some(PathBuf::new())).unwrap().unwrap().by,
            ".ort"
        );

        let gone = found(Some(&at("gone.so")), None).unwrap_err().to_string();
        assert!(gone.contains("inference.library names a file"), "{gone}");
        let gone = found(None, Some(at("gone.so"))).unwrap_err().to_string();
        assert!(gone.contains("ORT_DYLIB_PATH names a file"), "{gone}");
    }
}
