//! The way out for text: a log line with everything variable taken out. (step 2)
//!
//! In: a message. Out: a template of at most [`TEMPLATE_CHARS_MAX`] characters, and its hash, equal on every agent.
//! Invariants: MA-1 no decimal digit and nothing that stood in quotes is in the template.
//! Rules are general (digits, quotes, addresses, paths, `key=value`); none is of one system.

use hsw_types::fnv1a_64;

/// Longest template.
const TEMPLATE_CHARS_MAX: usize = 300;

/// Writes the template of `text` into `out` (cleared before) and returns its hash. O(n).
pub fn mask(text: &str, out: &mut String) -> u64 {
    out.clear();
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut n_chars = 0;
    while at < bytes.len() && n_chars < TEMPLATE_CHARS_MAX {
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            break;
        };
        if first.is_whitespace() {
            if !out.is_empty() && !out.ends_with(' ') {
                out.push(' ');
                n_chars += 1;
            }
            at += first.len_utf8();
            continue;
        }
        if let Some(n) = quoted(rest, first, &text[..at]) {
            n_chars += put(out, "<*>");
            at += n;
            continue;
        }
        let n = rest.find(|c: char| !in_token(c)).unwrap_or(rest.len());
        if n == 0 {
            out.push(first);
            n_chars += 1;
            at += first.len_utf8();
            // A value: nobody says whether it is a name or a secret.
            if let Some((n_blank, n)) = assigned(text, at, first) {
                let blank = if n_blank > 0 { " " } else { "" };
                n_chars += put(out, blank) + put(out, "<*>");
                at += n_blank + n;
            }
            continue;
        }
        let token = &rest[..n];
        let word = token.trim_end_matches(['.', ':', '-', '/']);
        if token.len() > word.len() && token.ends_with(':') && is_secret_word(word) {
            n_chars += put(out, token);
            at += n;
            let value = text[at..].trim_start();
            let n_value = value.find(char::is_whitespace).unwrap_or(value.len());
            if n_value > 0 {
                n_chars += put(out, " <*>");
                at = text.len() - value.len() + n_value;
            }
            continue;
        }
        let tail = &token[word.len()..];
        n_chars += put(out, class(word)) + put(out, tail);
        at += n;
    }
    while out.ends_with(' ') {
        out.pop();
    }
    if let Some((end, _)) = out.char_indices().nth(TEMPLATE_CHARS_MAX) {
        out.truncate(end);
    }
    fnv1a_64(out.as_bytes())
}

fn put(out: &mut String, text: &str) -> usize {
    out.push_str(text);
    text.chars().count()
}

/// Characters of words, numbers, times, addresses and paths.
fn in_token(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(
            c,
            '_' | '.' | ':' | '/' | '@' | '-' | '+' | '%' | '\\' | '~' | '$' | '*'
        )
}

/// The word itself, or what stands for it.
fn class(word: &str) -> &str {
    let digits = word.chars().any(char::is_numeric);
    if word.contains('@') || word.contains('$') {
        return "<*>";
    }
    if digits {
        let number = word
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b':' | b'/' | b'%'));
        return if number { "<n>" } else { "<*>" };
    }
    let path = word.starts_with(['/', '~', '\\']) && word.len() > 1
        || word.matches(['/', '\\']).count() > 1
        || word.contains("://");
    if path {
        return "<path>";
    }
    let hexadecimal = word.len() >= 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    // Host and file names; a dot at the end of a sentence is cut off before.
    let dotted = word.trim_matches('.').contains('.');
    if hexadecimal || dotted { "<*>" } else { word }
}

/// Length of a quoted stretch that begins here, with its quotes.
fn quoted(rest: &str, first: char, before: &str) -> Option<usize> {
    let close = match first {
        '"' => '"',
        '\'' => '\'',
        '`' => '`',
        '«' => '»',
        '»' => '«',
        '“' => '”',
        '„' => '“',
        '‘' => '’',
        _ => return None,
    };
    let inside = &rest[first.len_utf8()..];
    if first == '\'' && is_apostrophe(before, inside) {
        return None;
    }
    // To the last one: the server does not escape quotes inside a value, so that what stands between two pairs may be
    // a part of it. A template loses the words between two quoted names; a value loses its way out.
    let end = inside.rfind(close);
    // Never closed (a cut line): the rest may all be the value.
    Some(end.map_or(rest.len(), |end| first.len_utf8() + end + close.len_utf8()))
}

/// Whether a `'` is one: within a word, or behind one that nothing closes. `E'…'`, `N'…'`, `_utf8'…'` are constants.
fn is_apostrophe(before: &str, inside: &str) -> bool {
    let word = before
        .rsplit(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap_or("");
    let is_prefix = matches!(word, "E" | "e" | "N" | "n" | "X" | "x" | "B" | "b")
        || word.starts_with('_')
        || !word.ends_with(char::is_alphabetic);
    if is_prefix {
        return false;
    }
    let Some(end) = inside.find('\'') else {
        return true;
    };
    // `user'ann' x` closes behind a letter and before none; `don't say 'x'` opens there.
    let closes = inside[..end].ends_with(char::is_alphanumeric)
        && !inside[end + 1..].starts_with(char::is_alphabetic);
    inside.starts_with(char::is_alphabetic) && !closes
}

/// Blanks before, and length of, the value that `=` or `=>` gives. `at` is behind the sign.
fn assigned(text: &str, at: usize, sign: char) -> Option<(usize, usize)> {
    let (head, rest) = text.split_at_checked(at)?;
    let head = head.strip_suffix(sign)?;
    let n_blank = rest.len() - rest.trim_start().len();
    let n = match sign {
        '=' if rest.starts_with('>') => 0,
        '=' => {
            let head = head.trim_end();
            let key = head
                .rsplit(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-'))
                .next();
            match key {
                // Free text of the client's; what follows it in the server's own lines is known.
                Some("application_name" | "name") => free_text(&rest[n_blank..]),
                _ => value(&rest[n_blank..]),
            }
        }
        '>' if head.ends_with('=') => value(&rest[n_blank..]),
        _ => 0,
    };
    (n > 0).then_some((n_blank, n))
}

/// Whether a word announces something secret.
fn is_secret_word(word: &str) -> bool {
    const WORDS: [&str; 7] = [
        "password",
        "passwd",
        "secret",
        "token",
        "passphrase",
        "credential",
        "apikey",
    ];
    let word = word.to_ascii_lowercase().replace(['_', '-'], "");
    WORDS
        .iter()
        .any(|known| word.ends_with(known) || word.ends_with(&format!("{known}s")))
}

/// Up to the next ` key=`, or what servers say behind a client's name.
fn free_text(rest: &str) -> usize {
    if rest.starts_with(['"', '\'']) {
        return 0;
    }
    let ends = rest.match_indices(' ').find(|(at, _)| {
        let after = &rest[at + 1..];
        let n = after
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        after.starts_with("SSL ")
            || after.starts_with("GSS ")
            || n > 0 && after[n..].starts_with('=')
    });
    ends.map_or(rest.len(), |(at, _)| at)
}

/// Length of the value behind `=`.
fn value(rest: &str) -> usize {
    if rest.starts_with(['"', '\'']) {
        return 0;
    }
    if rest.starts_with('(') {
        // `Key (a, b)=(1, 2)`: the value may hold brackets.
        return rest.rfind(')').map_or(rest.len(), |end| end + 1);
    }
    if rest.starts_with('[') {
        // `host=[local]`.
        return rest.find(']').map_or(rest.len(), |end| end + 1);
    }
    rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ')' | ']' | '}'))
        .unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &str) {
        let mut out = String::new();
        mask(text, &mut out);
        assert_eq!(out, expected, "{text}");
    }

    #[test]
    fn everything_variable_is_taken_out() {
        check(
            "duplicate key value violates unique constraint \"t_pkey\"",
            "duplicate key value violates unique constraint <*>",
        );
        check(
            "process 123 still waiting for ShareLock on transaction 77 after 1000.123 ms",
            "process <n> still waiting for ShareLock on transaction <n> after <n> ms",
        );
        check(
            "could not open file \"base/1/2\": No such file or directory",
            "could not open file <*>: No such file or directory",
        );
        check(
            "connection received: host=10.0.0.9 port=5555",
            "connection received: host=<*> port=<*>",
        );
        check(
            "Aborted connection 5 to db: 'shop' user: 'o'brien' host: 'a.b' (x@y.z, /var/lib/x, deadbeefcafe)",
            "Aborted connection <n> to db: <*> (<*>, <path>, <*>)",
        );
        check("couldn't do it, don't ask", "couldn't do it, don't ask");
        check("Key (a)=(1, (b)) done", "Key (a)=<*> done");
        check("host=[local] port=1", "host=<*> port=<*>");
        check("name = bob, a => b c", "name = <*>");
        check("port = 5, a => b c", "port = <*>, a => <*> c");
        check("bad password: hunter2 given", "bad password: <*> given");
        check(
            "connection authorized: user=app application_name=report for ann SSL enabled",
            "connection authorized: user=<*> application_name=<*> SSL enabled",
        );
        check(
            "id 6ba7b810-9dad-11d1-80b4-00c04fd430c8 at 17:50:48.",
            "id <*> at <n>.",
        );
    }

    #[test]
    fn quotes_within_quotes_do_not_let_the_value_out() {
        check(
            "invalid input syntax for type integer: \"{\"name\": \"Ann\"}\"",
            "invalid input syntax for type integer: <*>",
        );
        check(
            "bad value \"a\" secret \"b\" at line 7",
            "bad value <*> at line <n>",
        );
        check("bad value \"never closed secret", "bad value <*>");
    }

    #[test]
    fn constants_with_a_prefix_are_quoted_and_apostrophes_are_not() {
        check("bad literal E'esecret' here", "bad literal E<*> here");
        check("bad N'nsecret', _utf8'x y'", "bad N<*>");
        check("x'y' z user'ann' off", "x<*> off");
        check("don't, it's the one", "don't, it's the one");
        check("can't open 'secret' now", "can't open <*> now");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"foobar"), 0x85944171f73967e8);
    }

    proptest! {
        #[test]
        fn prop_a_template_holds_no_digit_and_no_quoted_text(
            secret in "[a-z]{6,12}", odd in "[a-z \"]{0,9}", text in "[a-zA-Z0-9 /:.=(),'\\\\-]{0,60}", any in ".{0,400}"
        ) {
            let mut out = String::new();
            mask(&format!("{} \"{odd}{secret}{odd}\" {}", text.replace('\'', " "), text), &mut out);
            prop_assert!(!out.contains(&secret) || text.contains(&secret));
            prop_assert!(!out.chars().any(|c| c.is_ascii_digit()));
            mask(&any, &mut out);
            prop_assert!(out.chars().count() <= TEMPLATE_CHARS_MAX);
            prop_assert!(!out.chars().any(char::is_numeric));
        }
    }
}
