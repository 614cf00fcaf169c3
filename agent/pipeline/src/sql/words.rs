//! The words of SQL that change how what stands around them is read. (step 2)
//!
//! Does not: know all of PostgreSQL's keywords; one that is missing is an identifier, which is never wrong, only coarser.

/// A keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// None: a name.
    Name,
    /// A keyword that only must not be taken for an alias.
    Other,
    /// Says nothing: `inner`, `outer`.
    Silent,
    /// First word of a type, e.g. `date`; a name elsewhere.
    Type,
    All,
    And,
    Any,
    Array,
    As,
    Between,
    By,
    Case,
    Cast,
    Conflict,
    Default,
    Delete,
    Distinct,
    /// `on` behind `distinct`.
    DistinctOn,
    Do,
    End,
    Except,
    False,
    Fetch,
    For,
    From,
    Group,
    Having,
    In,
    Insert,
    Into,
    Is,
    Join,
    Limit,
    Merge,
    Not,
    Null,
    Offset,
    On,
    Or,
    Order,
    Returning,
    Select,
    Set,
    Some,
    Table,
    True,
    Update,
    Using,
    Values,
    Where,
    Window,
    With,
}

/// Longest keyword that is looked up.
const BYTES_MAX: usize = 12;

/// Which keyword this is, in any case.
pub(super) fn word(text: &str) -> Word {
    let bytes = text.as_bytes();
    let mut lower = [0; BYTES_MAX];
    if bytes.len() > BYTES_MAX || bytes.len() < 2 {
        return Word::Name;
    }
    for (to, byte) in lower.iter_mut().zip(bytes) {
        *to = byte.to_ascii_lowercase();
    }
    match &lower[..bytes.len()] {
        b"inner" | b"outer" => Word::Silent,
        b"all" => Word::All,
        b"and" => Word::And,
        b"any" => Word::Any,
        b"array" => Word::Array,
        b"as" => Word::As,
        b"between" => Word::Between,
        b"by" => Word::By,
        b"case" => Word::Case,
        b"cast" => Word::Cast,
        b"conflict" => Word::Conflict,
        b"default" => Word::Default,
        b"delete" => Word::Delete,
        b"distinct" => Word::Distinct,
        b"do" => Word::Do,
        b"end" => Word::End,
        b"except" | b"union" | b"intersect" => Word::Except,
        b"false" => Word::False,
        b"fetch" => Word::Fetch,
        b"for" => Word::For,
        b"from" => Word::From,
        b"group" => Word::Group,
        b"having" => Word::Having,
        b"in" => Word::In,
        b"insert" => Word::Insert,
        b"into" => Word::Into,
        b"is" => Word::Is,
        b"join" => Word::Join,
        b"limit" => Word::Limit,
        b"merge" => Word::Merge,
        b"not" => Word::Not,
        b"null" => Word::Null,
        b"offset" => Word::Offset,
        b"on" => Word::On,
        b"or" => Word::Or,
        b"order" => Word::Order,
        b"returning" => Word::Returning,
        b"select" => Word::Select,
        b"set" => Word::Set,
        b"some" => Word::Some,
        b"table" => Word::Table,
        b"true" => Word::True,
        b"update" => Word::Update,
        b"using" => Word::Using,
        b"values" => Word::Values,
        b"where" => Word::Where,
        b"window" => Word::Window,
        b"with" => Word::With,
        other => type_or_other(other),
    }
}

/// Words that are told apart only from names.
fn type_or_other(lower: &[u8]) -> Word {
    match lower {
        b"bigint" | b"bit" | b"bool" | b"boolean" | b"box" | b"bpchar" | b"bytea" | b"char"
        | b"character" | b"cidr" | b"date" | b"dec" | b"decimal" | b"double" | b"float"
        | b"float4" | b"float8" | b"inet" | b"int" | b"int2" | b"int4" | b"int8" | b"integer"
        | b"interval" | b"json" | b"jsonb" | b"line" | b"macaddr" | b"money" | b"name"
        | b"nchar" | b"numeric" | b"oid" | b"path" | b"point" | b"real" | b"regclass"
        | b"smallint" | b"text" | b"time" | b"timestamp" | b"timestamptz" | b"timetz" | b"uuid"
        | b"varchar" | b"xml" => Word::Type,
        b"asc" | b"at" | b"begin" | b"collate" | b"commit" | b"create" | b"cross" | b"desc"
        | b"else" | b"escape" | b"exists" | b"filter" | b"full" | b"ilike" | b"isnull"
        | b"lateral" | b"left" | b"like" | b"matched" | b"natural" | b"notnull" | b"nulls"
        | b"only" | b"over" | b"overlaps" | b"partition" | b"range" | b"right" | b"rows"
        | b"similar" | b"tablesample" | b"then" | b"to" | b"when" | b"within" | b"without" => {
            Word::Other
        }
        _ => Word::Name,
    }
}

/// Whether a type's name goes on with this word.
pub(super) fn goes_on_type(text: &str) -> bool {
    ["precision", "varying", "with", "without", "time", "zone"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// Whether an interval's constant goes on with this word: `interval '1' day to hour`.
pub(super) fn is_interval_field(text: &str) -> bool {
    ["year", "month", "day", "hour", "minute", "second", "to"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(text))
}

/// Whether numbers in brackets behind this type only say how long or how exact it is.
pub(super) fn has_typmod(text: &str) -> bool {
    const TYPES: [&str; 14] = [
        "bit",
        "bpchar",
        "char",
        "character",
        "dec",
        "decimal",
        "float",
        "interval",
        "nchar",
        "numeric",
        "time",
        "timestamp",
        "timestamptz",
        "varchar",
    ];
    TYPES.iter().any(|name| name.eq_ignore_ascii_case(text))
}
