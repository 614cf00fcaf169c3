//! The shape of a document: what a MongoDB command looks like without its values. (step 2)
//!
//! In: a document as the server logs it, strict JSON or the shell's relaxed notation. Out: the same with each value as `?`.
//! Invariants: SH-1 no value gets through but the names of the collection (behind a command's own name) and of `$db`.
//! Limits: depth, bytes; what is beyond is left out. Torn documents end where they are torn.

/// Nesting that is followed; MongoDB itself allows 100 levels.
const DEPTH_MAX: usize = 64;
/// Longest shape.
const SHAPE_BYTES_MAX: usize = 4 * 1024;
/// Longest key that is kept; longer ones are data.
const KEY_BYTES_MAX: usize = 64;
/// Keys that say who asked and when, not what: equal work is equal without them.
const NOISE: [&str; 14] = [
    "$configServerState",
    "$oplogQueryData",
    "$replData",
    "lsid",
    "$clusterTime",
    "$configTime",
    "$topologyTime",
    "$readPreference",
    "$audit",
    "$client",
    "signature",
    "txnNumber",
    "shardVersion",
    "databaseVersion",
];

/// Commands whose value is the name of a collection.
const COMMANDS: [&str; 16] = [
    "find",
    "aggregate",
    "insert",
    "update",
    "delete",
    "count",
    "distinct",
    "findAndModify",
    "findandmodify",
    "mapReduce",
    "mapreduce",
    "create",
    "drop",
    "createIndexes",
    "dropIndexes",
    "listIndexes",
];

/// Appends the shape of the document that `text` begins with; how many bytes of `text` it took. `is_command`: its first
/// key may be a command.
pub(super) fn shape(text: &str, is_command: bool, into: &mut String) -> usize {
    let mut scan = Scan {
        bytes: text.as_bytes(),
        text,
        at: 0,
        is_command,
        limit: into.len() + SHAPE_BYTES_MAX,
    };
    scan.value(into, 0, false);
    scan.at
}

struct Scan<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    is_command: bool,
    limit: usize,
}

impl<'a> Scan<'a> {
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn put(&self, into: &mut String, text: &str) {
        if into.len() + text.len() <= self.limit {
            into.push_str(text);
        }
    }

    /// One value; `keep`: a scalar string is a name and stays.
    fn value(&mut self, into: &mut String, depth: usize, keep: bool) {
        match self.peek() {
            Some(b'{') => self.object(into, depth),
            Some(b'[') => self.array(into, depth),
            Some(quote @ (b'"' | b'\'')) => {
                let inside = self.quoted(quote);
                if keep && is_name(inside) {
                    self.put(into, "\"");
                    self.put(into, inside);
                    self.put(into, "\"");
                } else {
                    self.put(into, "?");
                }
            }
            Some(_) => {
                self.bare();
                self.put(into, "?");
            }
            None => {}
        }
    }

    fn object(&mut self, into: &mut String, depth: usize) {
        self.at += 1;
        self.put(into, "{");
        let mut n = 0;
        loop {
            match self.peek() {
                None => return,
                Some(b'}') => {
                    self.at += 1;
                    self.put(into, "}");
                    return;
                }
                Some(b',' | b':' | b']') => {
                    self.at += 1;
                    continue;
                }
                Some(_) => {}
            }
            let key = self.key();
            if self.peek() == Some(b':') {
                self.at += 1;
            }
            if NOISE.contains(&key) || depth >= DEPTH_MAX {
                self.skip();
                continue;
            }
            self.put(into, if n == 0 { "" } else { ", " });
            self.put_key(into, key);
            self.put(into, ": ");
            let is_name = self.is_command
                && depth == 0
                && (key == "$db" || (n == 0 && COMMANDS.contains(&key)));
            self.value(into, depth + 1, is_name);
            n += 1;
        }
    }

    /// Equal neighbours are told once: `[1, 2, 3]` and `[1]` are one shape.
    fn array(&mut self, into: &mut String, depth: usize) {
        self.at += 1;
        self.put(into, "[");
        let mut before = into.len()..into.len();
        loop {
            match self.peek() {
                None => return,
                Some(b']') => {
                    self.at += 1;
                    self.put(into, "]");
                    return;
                }
                Some(b',' | b':' | b'}') => {
                    self.at += 1;
                    continue;
                }
                Some(_) if depth >= DEPTH_MAX => {
                    self.skip();
                    continue;
                }
                Some(_) => {}
            }
            let comma = into.len();
            self.put(into, if before.is_empty() { "" } else { ", " });
            let from = into.len();
            self.value(into, depth + 1, false);
            if into[from..] == into[before.clone()] {
                into.truncate(comma);
            } else {
                before = from..into.len();
            }
        }
    }

    fn key(&mut self) -> &'a str {
        match self.bytes.get(self.at) {
            Some(&quote @ (b'"' | b'\'')) => self.quoted(quote),
            _ => {
                let from = self.at;
                while self
                    .bytes
                    .get(self.at)
                    .is_some_and(|b| !matches!(b, b':' | b',' | b'{' | b'}' | b'[' | b']'))
                {
                    self.at += 1;
                }
                // Always forward, whatever stands there.
                self.at = self.at.max(from + usize::from(self.at == from));
                self.text.get(from..self.at).unwrap_or("").trim()
            }
        }
    }

    /// Keys of a map are data: digits go, odd ones go as a whole.
    fn put_key(&self, into: &mut String, key: &str) {
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '-');
        if key.len() > KEY_BYTES_MAX || key.is_empty() || !key.chars().all(plain) {
            self.put(into, "?");
            return;
        }
        for c in key.chars() {
            let mut bytes = [0; 4];
            let c = if c.is_numeric() { '#' } else { c };
            self.put(into, c.encode_utf8(&mut bytes));
        }
    }

    /// The inside of a quoted stretch; torn ones end with the text.
    fn quoted(&mut self, quote: u8) -> &'a str {
        let from = self.at + 1;
        self.at = from;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or(&[]);
            match memchr::memchr2(quote, b'\\', rest) {
                None => {
                    self.at = self.bytes.len();
                    return self.text.get(from..).unwrap_or("");
                }
                Some(n) if rest[n] == quote => {
                    self.at += n + 1;
                    return self.text.get(from..self.at - 1).unwrap_or("");
                }
                Some(n) => self.at = (self.at + n + 2).min(self.bytes.len()),
            }
        }
    }

    /// `33.0`, `true`, `ObjectId('…')`, `new Date(1)`, `Timestamp(2, 1)`, `/a, b/i`.
    fn bare(&mut self) {
        let mut brackets = 0_usize;
        let from = self.at;
        if self.bytes.get(self.at) == Some(&b'/') {
            self.quoted(b'/');
        }
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'(' => brackets += 1,
                b')' => brackets = brackets.saturating_sub(1),
                b'"' | b'\'' => {
                    self.quoted(byte);
                    continue;
                }
                b',' | b'}' | b']' if brackets == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        self.at = self.at.max(from + usize::from(self.at == from));
    }

    /// Passes over one value without recursion.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.peek() {
                None => return,
                Some(quote @ (b'"' | b'\'')) => {
                    self.quoted(quote);
                }
                Some(b'{' | b'[') => {
                    depth += 1;
                    self.at += 1;
                }
                Some(b'}' | b']') => {
                    if depth == 0 {
                        return;
                    }
                    depth -= 1;
                    self.at += 1;
                }
                Some(b',' | b':') if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                Some(_) if depth > 0 => self.at += 1,
                Some(_) => self.bare(),
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// What a collection or database may be called without being data.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '-');
    !text.is_empty() && text.len() <= KEY_BYTES_MAX && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> String {
        let mut out = String::new();
        shape(text, true, &mut out);
        out
    }

    #[test]
    fn strict_and_relaxed_notation_have_one_shape() {
        let strict = r#"{"find":"orders","filter":{"name":"O'Brien, {x}","n":{"$in":[1,2,3]},"at":{"$date":"2026-11-20"}},"lsid":{"id":{"$uuid":"a"}},"$db":"shop"}"#;
        let relaxed = r#"{ find: "orders", filter: { name: "secret", n: { $in: [ 1.0, 2.0 ] }, at: { $date: new Date(5) } }, lsid: { id: UUID("e4, f") }, $db: "shop" }"#;
        let expected =
            r#"{find: "orders", filter: {name: ?, n: {$in: [?]}, at: {$date: ?}}, $db: "shop"}"#;
        assert_eq!(of(strict), expected);
        assert_eq!(of(relaxed), expected);
    }

    #[test]
    fn odd_values_do_not_get_through() {
        for (text, expected) in [
            ("{ q: /sec}ret/i, x: 1 }", "{q: ?, x: ?}"),
            (
                "{ a.b: null, user17: \"x\", \"a b\": 1 } 12ms",
                "{a.b: ?, user##: ?, ?: ?}",
            ),
            (
                "{ aggregate: 1, pipeline: [ { $match: { a: 1 } }, { $match: { a: 2 } }, { $limit: 5 } ] }",
                "{aggregate: ?, pipeline: [{$match: {a: ?}}, {$limit: ?}]}",
            ),
            (
                "{ ts: Timestamp(2, 1), id: ObjectId('5e'), b: BinData(0, 9A) }",
                "{ts: ?, id: ?, b: ?}",
            ),
            (
                "{ name: \"secret\", find: \"secret\" }",
                "{name: ?, find: ?}",
            ),
            ("{ torn: { a: \"secre", "{torn: {a: ?"),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        let document = "{ x: { y: 1 } } rest";
        assert_eq!(
            &document[shape(document, true, &mut String::new())..],
            " rest"
        );
    }

    proptest! {
        #[test]
        fn prop_any_text_ends_within_the_limit(text in "[{}\\[\\]:,\"'/()a-z0-9 é\\\\]{0,200}") {
            let out = of(&text);
            prop_assert!(out.len() <= SHAPE_BYTES_MAX);
        }
    }
}
