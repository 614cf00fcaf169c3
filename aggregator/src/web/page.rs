//! The page's files, embedded. (step 15)
//!
//! Out: a route for each file. Invariants: WE-6 a script imports only what a served file exports. WE-7 text never becomes
//! markup or code, and nothing is loaded from elsewhere. Does not: hold data, so strangers may read them (see `guard`).

use axum::Router;
use axum::http::header;
use axum::routing::get;

use super::Parts;

/// Browsers ask each time whether it changed: a new aggregator must not meet an old page.
const CACHE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-cache");

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// Path, kind and content of each file.
const FILES: [(&str, &str, &str); 11] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", STYLE, include_str!("page/style.css")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/state.js", SCRIPT, include_str!("page/state.js")),
    ("/draw.js", SCRIPT, include_str!("page/draw.js")),
    ("/incident.js", SCRIPT, include_str!("page/incident.js")),
    ("/why.js", SCRIPT, include_str!("page/why.js")),
    ("/forms.js", SCRIPT, include_str!("page/forms.js")),
    ("/graph.js", SCRIPT, include_str!("page/graph.js")),
    ("/hot.js", SCRIPT, include_str!("page/hot.js")),
    ("/tables.js", SCRIPT, include_str!("page/tables.js")),
];

/// A route for each file.
pub(super) fn routes() -> Router<Parts> {
    FILES
        .into_iter()
        .fold(Router::new(), |router, (path, kind, text)| {
            let answer = move || async move { ([(header::CONTENT_TYPE, kind), CACHE], text) };
            router.route(path, get(answer))
        })
}

/// Whether a path is a file of the page, which holds no data.
pub(super) fn is_file(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn scripts() -> impl Iterator<Item = (&'static str, &'static str)> {
        let files = FILES.into_iter();
        files
            .filter(|(_, kind, _)| *kind == SCRIPT)
            .map(|(path, _, text)| (path, text))
    }

    fn text_of(path: &str) -> &'static str {
        let (.., text) = FILES.iter().find(|(known, ..)| *known == path).unwrap();
        text
    }

    /// What `import { a, b } from './x.js'` names: the file's path and the names.
    fn imports(text: &'static str) -> Vec<(String, Vec<&'static str>)> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("import "));
        lines
            .map(|line| {
                let (names, from) = line.split_once(" from ").unwrap();
                let names = names.trim_matches(['{', '}', ' ']).split(", ").collect();
                let file = from.trim_matches(['\'', ';', '.']);
                (file.to_owned(), names)
            })
            .collect()
    }

    #[test]
    fn every_name_that_a_script_imports_is_exported_by_a_file_that_is_served() {
        let mut reached = BTreeSet::from(["/app.js".to_owned()]);
        for (path, text) in scripts() {
            for (file, names) in imports(text) {
                assert!(is_file(&file), "{path} imports {file}, which is not served");
                for name in names {
                    let exported = ["function ", "async function ", "const "]
                        .iter()
                        .any(|kind| {
                            let exports = format!("export {kind}{name}");
                            text_of(&file).lines().any(|line| {
                                let rest = line.strip_prefix(&exports);
                                rest.is_some_and(|rest| rest.starts_with(['(', ' ']))
                            })
                        });
                    assert!(exported, "{path} imports {name}, {file} exports no such");
                }
                reached.insert(file);
            }
        }
        let all: BTreeSet<_> = scripts().map(|(path, _)| path.to_owned()).collect();
        assert_eq!(reached, all, "scripts that nothing imports");
    }

    #[test]
    fn text_never_becomes_markup_or_code_and_nothing_is_loaded_from_elsewhere() {
        for (path, text) in scripts() {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "DOMParser",
                "createContextualFragment",
                "eval(",
                "new Function",
                "import(",
                "localStorage",
            ] {
                assert!(!text.contains(forbidden), "{path}: {forbidden}");
            }
        }
        for (path, _, text) in FILES {
            let addresses = text.split("://").skip(1);
            let elsewhere: Vec<_> = addresses
                .filter(|rest| !rest.starts_with("www.w3.org/2000/svg"))
                .collect();
            assert!(elsewhere.is_empty(), "{path}: {elsewhere:?}");
            assert!(!text.contains("src=\"//"), "{path}");
        }
    }

    #[test]
    fn scripts_and_styles_stand_in_files_of_their_own_as_the_policy_demands() {
        let html = text_of("/");
        assert!(!html.contains("<style") && !html.contains(" style="));
        for script in html.split("<script").skip(1) {
            assert!(script.starts_with(" type=\"module\" src=\"/"), "{script}");
        }
        for (path, text) in scripts() {
            assert!(!text.contains("style:"), "{path}: the policy drops it");
            assert!(
                !text.contains("setAttribute('style'") && !text.contains("javascript:"),
                "{path}"
            );
        }
    }

    #[test]
    fn files_of_the_page_are_short_enough_to_be_read() {
        for (path, _, text) in FILES {
            assert!(text.lines().count() <= 500, "{path}");
        }
    }
}
