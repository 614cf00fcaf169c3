//! The shape of a plan: which nodes, joins, tables and indexes, and how they nest. (step 2)
//!
//! In: what `auto_explain` writes as text or JSON. Out: the shape in words, e.g. `Nested Loop(Seq Scan a, Index Scan b_pkey)`,
//! and its hash; the same for both formats. Costs, rows, times, filters and numbers of workers are no part of it, so that
//! equal shapes stay equal across values.
//! Invariants: PL-1 no literal of the query is in it: filters are not read, nor lines that begin inside a string, a quoted
//! name or a comment. PL-2 partitions do not flap: digits in names
//! are `#`, equal branches of an Append count once, and an Append of one branch is that branch.
//! Limits: [`NODES_MAX`] nodes; what lies behind them is left out, and so is what follows a quote that never closes. YAML and
//! XML are not read.

use serde_json::Value;

use super::lex::Lexer;
use hsw_types::fnv1a_64;

/// Nodes of a plan that are read.
const NODES_MAX: usize = 400;
/// How deep they nest.
const DEPTH_MAX: usize = 100;
/// A name longer than this is cut.
const NAME_CHARS_MAX: usize = 63;

/// First words of the nodes' names, PostgreSQL 9.6 to 18.
const KINDS: [&str; 48] = [
    "Aggregate",
    "Append",
    "Async",
    "Bitmap",
    "BitmapAnd",
    "BitmapOr",
    "CTE",
    "Custom",
    "Delete",
    "Finalize",
    "Foreign",
    "Function",
    "Gather",
    "Group",
    "GroupAggregate",
    "Hash",
    "HashAggregate",
    "HashSetOp",
    "Incremental",
    "Index",
    "Insert",
    "Limit",
    "LockRows",
    "Materialize",
    "Memoize",
    "Merge",
    "MixedAggregate",
    "Named",
    "Nested",
    "Parallel",
    "Partial",
    "ProjectSet",
    "Recursive",
    "Result",
    "Sample",
    "Seq",
    "SetOp",
    "Sort",
    "Subquery",
    "Table",
    "Tid",
    "Unique",
    "Update",
    "Values",
    "WindowAgg",
    "WorkTable",
    "XML",
    "Remote",
];

#[derive(Debug, Clone)]
struct Node {
    depth: usize,
    label: String,
}

/// A plan's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlanShape<'a> {
    /// [`fnv1a_64`] of `text`.
    pub hash: u64,
    /// The shape in words.
    pub text: &'a str,
}

/// Reads shapes, with buffers that are used again.
#[derive(Debug, Default)]
pub struct PlanReader {
    nodes: Vec<Node>,
    text: String,
}

impl PlanReader {
    /// The shape of `plan`; none where it is in no format that is read, or cut off.
    pub fn shape(&mut self, plan: &str) -> Option<PlanShape<'_>> {
        self.nodes.clear();
        let plan = plan.trim();
        if plan.starts_with(['{', '[']) {
            let value: Value = serde_json::from_str(plan).ok()?;
            let value = value.get(0).unwrap_or(&value);
            self.json(value.get("Plan")?, 0);
        } else {
            self.lines(plan);
        }
        if self.nodes.is_empty() {
            return None;
        }
        self.text.clear();
        write_node(&self.nodes, 0, &mut self.text);
        Some(PlanShape {
            hash: fnv1a_64(self.text.as_bytes()),
            text: &self.text,
        })
    }

    /// Nodes of the text format: lines with costs or times, nested by the column of their arrow.
    fn lines(&mut self, plan: &str) {
        let mut columns: Vec<usize> = Vec::new();
        let mut tokens = Lexer::new(plan).map(|token| token.start).peekable();
        let mut line_at = 0;
        for line in plan.split_inclusive('\n') {
            let text_at = line_at + line.len() - line.trim_start().len();
            line_at += line.len();
            let line = line.trim_end_matches(['\n', '\r']);
            // No token begins where a line of a string or of a comment does.
            while tokens.next_if(|start| *start < text_at).is_some() {}
            if tokens.peek() != Some(&text_at) {
                continue;
            }
            let end = ["  (cost=", "  (actual ", "  (never executed)"]
                .iter()
                .filter_map(|mark| line.find(mark))
                .min();
            let is_query = line.starts_with("Query ");
            let Some(end) = end.filter(|_| !is_query && self.nodes.len() < NODES_MAX) else {
                continue;
            };
            let head = line[..end].trim_start();
            let column = end - head.len();
            let label = match head.strip_prefix("->") {
                Some(label) => label.trim_start(),
                // The root has no arrow; the query's own text comes before it.
                None if self.nodes.is_empty() => head,
                None => continue,
            };
            // A line of the query that looks like one of the plan ends here at the latest.
            if !KINDS.contains(&label.split(' ').next().unwrap_or_default()) {
                continue;
            }
            columns.retain(|outer| *outer < column);
            let depth = if self.nodes.is_empty() {
                0
            } else {
                columns.len().max(1)
            };
            columns.push(column);
            if columns.first() != Some(&column) || self.nodes.is_empty() {
                self.nodes.push(Node {
                    depth: depth.min(DEPTH_MAX),
                    label: text_label(label),
                });
            }
        }
    }

    fn json(&mut self, node: &Value, depth: usize) {
        if self.nodes.len() >= NODES_MAX || depth > DEPTH_MAX {
            return;
        }
        self.nodes.push(Node {
            depth,
            label: json_label(node),
        });
        let children = node.get("Plans").and_then(Value::as_array);
        for child in children.into_iter().flatten() {
            self.json(child, depth + 1);
        }
    }
}

/// `Index Scan Backward using t_pkey on public.t x` → `Index Scan Backward t_pkey`
fn text_label(head: &str) -> String {
    let (kind, of) = match (head.split_once(" using "), head.split_once(" on ")) {
        (Some((kind, rest)), _) => (kind, first_name(rest)),
        (None, Some((kind, rest))) => (kind, first_name(rest)),
        (None, None) => (head, ""),
    };
    label(kind, of)
}

/// What the text format would say.
fn json_label(node: &Value) -> String {
    let text = |key: &str| node.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut kind = String::new();
    if node.get("Parallel Aware").and_then(Value::as_bool) == Some(true) {
        kind.push_str("Parallel ");
    }
    match text("Partial Mode") {
        "" | "Simple" => {}
        mode => {
            kind.push_str(mode);
            kind.push(' ');
        }
    }
    let (name, strategy) = (text("Node Type"), text("Strategy"));
    match (name, strategy) {
        ("Aggregate", "Hashed") => kind.push_str("HashAggregate"),
        ("Aggregate", "Sorted") => kind.push_str("GroupAggregate"),
        ("Aggregate", "Mixed") => kind.push_str("MixedAggregate"),
        ("SetOp", "Hashed") => kind.push_str("HashSetOp"),
        ("ModifyTable", _) => kind.push_str(text("Operation")),
        ("Nested Loop", _) | ("Hash Join", _) | ("Merge Join", _) => {
            join(name, text("Join Type"), &mut kind)
        }
        ("Custom Scan", _) => {
            kind.push_str("Custom Scan (");
            kind.push_str(text("Custom Plan Provider"));
            kind.push(')');
        }
        _ => kind.push_str(name),
    }
    if name == "SetOp" {
        kind.push(' ');
        kind.push_str(text("Command"));
    }
    if text("Scan Direction") == "Backward" {
        kind.push_str(" Backward");
    }
    let of = [
        "Index Name",
        "Relation Name",
        "Function Name",
        "Table Function Name",
        "CTE Name",
        "Tuplestore Name",
        "Alias",
    ]
    .iter()
    .map(|key| text(key))
    .find(|name| !name.is_empty());
    label(&kind, of.unwrap_or_default())
}

/// `Hash Join` of kind `Left` is a `Hash Left Join`.
fn join(name: &str, join: &str, kind: &mut String) {
    let method = name.strip_suffix(" Join").unwrap_or(name);
    kind.push_str(method);
    if !matches!(join, "" | "Inner") {
        kind.push(' ');
        kind.push_str(join);
        kind.push_str(" Join");
    } else if name != method {
        kind.push_str(" Join");
    }
}

/// The first name, its schema cut off.
fn first_name(text: &str) -> &str {
    let mut is_quoted = false;
    let mut from = 0;
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => from = at + 1,
            ' ' if !is_quoted => return &text[from..at],
            _ => {}
        }
    }
    &text[from..]
}

fn label(kind: &str, name: &str) -> String {
    let mut label = String::with_capacity(kind.len() + name.len() + 1);
    label.extend(kind.chars().map(|c| {
        if matches!(c, ',' | '(' | ')') || c.is_control() {
            ' '
        } else {
            c
        }
    }));
    if name.is_empty() {
        return label;
    }
    label.push(' ');
    let mut was_digit = false;
    for c in name.trim_matches('"').chars().take(NAME_CHARS_MAX) {
        let is_digit = c.is_numeric();
        if !is_digit {
            label.push(if matches!(c, ',' | '(' | ')') || c.is_control() {
                '_'
            } else {
                c
            });
        } else if !was_digit {
            label.push('#');
        }
        was_digit = is_digit;
    }
    label
}

/// Writes a node with what is below it; returns the place of the next node beside it.
fn write_node(nodes: &[Node], at: usize, out: &mut String) -> usize {
    let node = &nodes[at];
    let start = out.len();
    out.push_str(&node.label);
    let mut next = at + 1;
    let is_append = node.label.ends_with("Append");
    let mut branches: Vec<(usize, usize)> = Vec::new();
    while nodes
        .get(next)
        .is_some_and(|child| child.depth > node.depth)
    {
        out.push_str(if branches.is_empty() { "(" } else { ", " });
        let from = out.len();
        next = write_node(nodes, next, out);
        let is_known = |(a, b): &(usize, usize)| out[*a..*b] == out[from..];
        if is_append && branches.iter().any(is_known) {
            out.truncate(from - ", ".len());
        } else {
            branches.push((from, out.len()));
        }
    }
    match branches.as_slice() {
        [] => {}
        [(from, _)] if is_append => out.replace_range(start..*from, ""),
        _ => out.push(')'),
    }
    next
}

/// What changed between two shapes: the nodes that went, and those that came.
#[must_use]
pub fn plan_difference(before: &str, after: &str) -> String {
    const CHARS_MAX: usize = 120;
    let labels = |shape: &'_ str| -> Vec<String> {
        let parts = shape
            .split(['(', ')', ','])
            .map(str::trim)
            .filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let without = |of: &[String], others: Vec<String>| -> Vec<String> {
        let mut others = others;
        let is_new = |label: &&String| match others.iter().position(|other| other == *label) {
            Some(at) => {
                others.swap_remove(at);
                false
            }
            None => true,
        };
        of.iter().filter(is_new).cloned().collect()
    };
    let (old, new) = (labels(before), labels(after));
    let (gone, come) = (without(&old, new.clone()), without(&new, old.clone()));
    let cut = |text: &str| -> String {
        match text.char_indices().nth(CHARS_MAX) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    };
    if gone.is_empty() || come.is_empty() {
        return format!("{} -> {}", cut(before), cut(after));
    }
    format!("{} -> {}", cut(&gone.join(", ")), cut(&come.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(plan: &str) -> String {
        let mut reader = PlanReader::default();
        reader
            .shape(plan)
            .map_or_else(|| "none".to_owned(), |shape| shape.text.to_owned())
    }

    const TEXT: &str = "Query Text: select 'secret -> x  (cost=' from a\n join b using (id)\n\
        Limit  (cost=0.29..16.33 rows=1 width=8)\n\
        \x20 ->  Nested Loop Left Join  (cost=0.29..16.33 rows=1 width=8) (actual time=0.1..0.2 rows=1 loops=1)\n\
        \x20       Join Filter: (a.name = 'secret'::text)\n\
        \x20       ->  Seq Scan on public.a x  (cost=0.00..8.00 rows=1 width=4)\n\
        \x20             Filter: (name = 'secret'::text)\n\
        \x20       ->  Index Scan Backward using b_2024_pkey on b_2024 b  (cost=0.29..8.30 rows=1 width=4)\n\
        \x20             Index Cond: (id = 5)";

    const JSON: &str = r#"{"Query Text": "select 'secret'", "Plan": {"Node Type": "Limit", "Plans": [
        {"Node Type": "Nested Loop", "Join Type": "Left", "Parallel Aware": false, "Plans": [
            {"Node Type": "Seq Scan", "Relation Name": "a", "Schema": "public", "Alias": "x", "Filter": "(name = 'secret')"},
            {"Node Type": "Index Scan", "Scan Direction": "Backward", "Index Name": "b_2024_pkey", "Relation Name": "b_2024", "Total Cost": 7.5}
        ]}]}}"#;

    #[test]
    fn text_and_json_of_one_plan_have_one_shape_without_literals() {
        let expected = "Limit(Nested Loop Left Join(Seq Scan a, Index Scan Backward b_#_pkey))";
        assert_eq!(shape(TEXT), expected);
        assert_eq!(shape(JSON), expected);
        assert_eq!(shape("<explain><Plan/></explain>"), "none");
        assert_eq!(shape("Plan:\n  Node Type: \"Seq Scan\""), "none");
        assert_eq!(shape("{\"Plan\": {\"Node Ty"), "none");
    }

    #[test]
    fn lines_inside_of_literals_and_comments_are_no_nodes() {
        const LINE: &str = "\n  ->  Seq Scan on fsecret  (cost=0.00..1.00 rows=1 width=4)\n";
        const ROOT: &str = "\nSeq Scan on fsecret  (cost=0.00..1.00 rows=1 width=4)\n";
        for (query, filter) in [
            ("select 1".to_owned(), format!("(a = 'x{LINE}'::text)")),
            (
                "select 1".to_owned(),
                format!("(a = 'it''s \"{LINE}'::text)"),
            ),
            ("select 1".to_owned(), format!("(a = E'x\\\\{LINE}'::text)")),
            ("select 1".to_owned(), format!("(\"it's{LINE}\" = 5)")),
            (format!("select 'x{ROOT}'"), "(a = 5)".to_owned()),
            (format!("select $q$it's{ROOT}$q$"), "(a = 5)".to_owned()),
            (
                format!("select 1 /* it's {ROOT} */ -- don't"),
                "(a = 5)".to_owned(),
            ),
        ] {
            let plan = format!(
                "Query Text: {query}\nLimit  (cost=0.29..16.33 rows=1 width=8)\n  ->  Seq Scan on a  (cost=1..2 rows=1 width=4)\n\
                 \x20       Filter: {filter}\n  ->  Seq Scan on b  (cost=1..2 rows=1 width=4)"
            );
            assert_eq!(shape(&plan), "Limit(Seq Scan a, Seq Scan b)", "{plan}");
        }
    }

    #[test]
    fn costs_do_not_change_the_hash_and_another_access_path_does() {
        let mut reader = PlanReader::default();
        let mut hash = |plan: &str| reader.shape(plan).map(|shape| shape.hash);
        let index = "Index Scan using t_pkey on t  (cost=0.29..8.30 rows=1 width=4)\n  Index Cond: (id = 5)";
        let dearer = "Index Scan using t_pkey on t  (cost=0.42..9.99 rows=7 width=4)\n  Index Cond: (id = 99)";
        let sequential = "Seq Scan on t  (cost=0.00..170.00 rows=1 width=4)\n  Filter: (id = 5)";
        assert!(hash(index).is_some());
        assert_eq!(hash(index), hash(dearer));
        assert_ne!(hash(index), hash(sequential));
        assert_eq!(
            plan_difference(&shape(index), &shape(sequential)),
            "Index Scan t_pkey -> Seq Scan t"
        );
    }

    #[test]
    fn partitions_and_workers_do_not_flap() {
        let append = |names: &[&str]| {
            let mut plan = "Append  (cost=0.00..1.00 rows=1 width=4)".to_owned();
            for name in names {
                plan += &format!("\n  ->  Seq Scan on {name}  (cost=0.00..1.00 rows=1 width=4)");
            }
            plan
        };
        assert_eq!(shape(&append(&["p1", "p2", "p3"])), "Seq Scan p#");
        assert_eq!(shape(&append(&["p7"])), "Seq Scan p#");
        assert_eq!(
            shape(&append(&["p1", "other", "p2"])),
            "Append(Seq Scan p#, Seq Scan other)"
        );
        let gather = |n: u32| {
            format!(
                "Finalize Aggregate  (cost=1..2 rows=1 width=8)\n  ->  Gather  (cost=1..2 rows={n} width=8)\n\
                 \x20       Workers Planned: {n}\n        ->  Partial Aggregate  (cost=1..2 rows=1 width=8)\n\
                 \x20             ->  Parallel Seq Scan on t  (cost=1..2 rows=1 width=8)"
            )
        };
        assert_eq!(shape(&gather(2)), shape(&gather(7)));
        assert_eq!(
            shape(&gather(2)),
            "Finalize Aggregate(Gather(Partial Aggregate(Parallel Seq Scan t)))"
        );
    }
}
