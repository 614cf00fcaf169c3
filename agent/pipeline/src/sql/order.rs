//! In which order a statement's constants are numbered: clause by clause, as the server walks its tree. (step 2)
//!
//! In: constants, brackets and keywords in the order of the text. Out: each constant with its number.
//! Invariants: OR-1 each constant gets one number; a GROUP BY expression that stands among the selected ones too gets
//! theirs, so that the text is still valid. Limits: [`LEVELS_MAX`] brackets deep; deeper ones count to their outer one.

use super::levels::{
    Constant, DISTINCT, EMPTY, FROM, GROUP, HAVING, INTO, LIMIT, LOCKING, Level, List, N_CLAUSES,
    NONE, OF_THE_WHOLE, OFFSET, OPERANDS, SORT, Statement, TARGET, Target, VALUES, WHERE, WINDOW,
    WITH, expression_hash,
};
use super::lex::{Kind, Lexer, Token};
use super::words::Word;

/// Brackets inside brackets that are told apart.
const LEVELS_MAX: usize = 200;
/// Constants of a text, and where they stand in its clauses.
#[derive(Debug)]
pub(super) struct Orders {
    constants: Vec<Constant>,
    levels: Vec<Level>,
    targets: Vec<Target>,
    n_deep: usize,
    highest: u32,
    all: List,
    at: usize,
    is_operand: bool,
    sign: Option<usize>,
}

impl Orders {
    pub(super) const fn new() -> Self {
        Self {
            constants: Vec::new(),
            levels: Vec::new(),
            targets: Vec::new(),
            n_deep: 0,
            highest: 0,
            all: EMPTY,
            at: 0,
            is_operand: false,
            sign: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.constants.clear();
        self.highest = 0;
        self.all = EMPTY;
        self.begin_statement();
    }

    fn begin_statement(&mut self) {
        self.levels.clear();
        self.targets.clear();
        self.n_deep = 0;
        self.is_operand = false;
        self.sign = None;
        self.push_level(true, false);
    }

    /// Closes what is open and begins anew.
    pub(super) fn end_statement(&mut self, sql: &str) {
        while self.levels.len() > 1 {
            self.pop_level(sql);
        }
        self.end_item(sql);
        if let Some(mut level) = self.levels.pop() {
            let list = self.walk(&mut level);
            self.all = self.join(self.all, list);
        }
        self.begin_statement();
    }

    /// Outside of all brackets.
    pub(super) fn is_outside(&self) -> bool {
        self.n_deep == 0
            && self
                .levels
                .iter()
                .filter(|level| !level.is_implicit)
                .count()
                <= 1
    }

    /// Where the text has been told up to.
    pub(super) const fn at(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn constant(&mut self, start: usize, end: usize) {
        let this = u32::try_from(self.constants.len()).unwrap_or(NONE);
        if self.constants.last().is_some_and(|last| last.end > start) || this == NONE {
            return;
        }
        self.constants.push(Constant {
            start,
            end,
            next: NONE,
            same_as: NONE,
            id: 0,
        });
        let one = List {
            head: this,
            tail: this,
        };
        let clause = self.level().clause;
        let so_far = self.level().lists[clause];
        let list = self.join(so_far, one);
        self.level().lists[clause] = list;
        self.operand();
    }

    /// `$n` that was there before.
    pub(super) fn param(&mut self, text: &str) {
        let n = text[1..].parse().unwrap_or(0);
        self.highest = self.highest.max(n);
        self.level().has_param = true;
        self.operand();
    }

    /// Something that a minus behind it would be taken from.
    pub(super) fn operand(&mut self) {
        self.is_operand = true;
        self.sign = None;
        self.level().is_fresh = false;
    }

    pub(super) fn operator(&mut self, token: Token) {
        let is_sign = !self.is_operand && token.end - token.start == 1;
        self.sign = is_sign.then_some(token.start);
        self.is_operand = false;
        self.level().is_fresh &= is_sign;
    }

    /// Where the sign stands that the next number may take.
    pub(super) const fn sign(&self) -> Option<usize> {
        self.sign
    }

    pub(super) fn mark(&mut self) {
        self.is_operand = false;
        self.sign = None;
    }

    /// An integer that stands alone in GROUP BY or ORDER BY names a column.
    pub(super) fn is_position(
        &mut self,
        sql: &str,
        start: usize,
        token: Token,
        mut lexer: Lexer<'_>,
    ) -> bool {
        let level = *self.level();
        let is_item = level.is_query && level.is_fresh && matches!(level.clause, GROUP | SORT);
        let text = &sql[token.start..token.end];
        if !is_item || text.parse::<i32>().is_err() || start < level.item_at {
            return false;
        }
        const BEHIND: [&str; 16] = [
            "asc",
            "desc",
            "nulls",
            "having",
            "order",
            "limit",
            "offset",
            "fetch",
            "for",
            "union",
            "intersect",
            "except",
            "window",
            "returning",
            "on",
            "using",
        ];
        let is_alone = lexer.next().is_none_or(|next| match next.kind {
            Kind::Mark(b',' | b';' | b')') => true,
            Kind::Word => BEHIND
                .iter()
                .any(|word| word.eq_ignore_ascii_case(&sql[next.start..next.end])),
            _ => false,
        });
        if is_alone {
            self.operand();
        }
        is_alone
    }

    pub(super) fn comma(&mut self, sql: &str) {
        if self.level().is_query {
            self.end_item(sql);
            self.begin_item(self.at + 1);
        }
        self.mark();
    }

    pub(super) fn open(&mut self, is_query: bool) {
        self.level().is_fresh = false;
        if self.levels.len() >= LEVELS_MAX {
            self.n_deep += 1;
        } else {
            self.push_level(is_query, false);
        }
        self.mark();
    }

    pub(super) fn close(&mut self, sql: &str) {
        if self.n_deep > 0 {
            self.n_deep -= 1;
        } else {
            if self.level().is_implicit {
                self.pop_level(sql);
            }
            if self.levels.len() > 1 {
                self.pop_level(sql);
            }
        }
        self.operand();
        if self.level().clause == DISTINCT {
            self.level().clause = TARGET;
            self.begin_item(self.at + 1);
        }
    }

    /// A keyword of a query: which clause begins.
    pub(super) fn keyword(&mut self, sql: &str, this: Word, behind: Word, lexer: Lexer<'_>) {
        self.mark();
        self.is_operand = this == Word::End;
        let level = *self.level();
        self.level().is_fresh = false;
        if !level.is_query {
            return;
        }
        let next = |word: &str| {
            let next = lexer.peek();
            next.is_some_and(|next| sql[next.start..next.end].eq_ignore_ascii_case(word))
        };
        let (statement, is_select) = (level.statement, level.statement == Statement::Select);
        match (this, statement) {
            (Word::With, Statement::Unknown) => self.level().clause = WITH,
            (Word::Insert, Statement::Unknown) => self.begin(Statement::Insert, INTO),
            (Word::Update, Statement::Unknown) => self.begin(Statement::Update, INTO),
            (Word::Delete, Statement::Unknown) => self.begin(Statement::Delete, INTO),
            (Word::Merge, Statement::Unknown) => self.begin(Statement::Merge, FROM),
            (Word::Select | Word::Values, Statement::Insert) => {
                self.level().clause = FROM;
                self.push_level(true, true);
                self.begin(
                    Statement::Select,
                    if this == Word::Select { TARGET } else { VALUES },
                );
            }
            (Word::Select, Statement::Unknown | Statement::Select) => {
                self.begin(Statement::Select, TARGET)
            }
            (Word::Values, Statement::Unknown | Statement::Select) => {
                self.begin(Statement::Select, VALUES)
            }
            (Word::Distinct, Statement::Select) if behind == Word::Select && next("on") => {
                self.level().clause = DISTINCT;
            }
            (Word::From, Statement::Select | Statement::Update) if behind != Word::Distinct => {
                self.clause(sql, if is_select { FROM } else { GROUP });
            }
            (Word::Where, Statement::Select | Statement::Update | Statement::Delete) => {
                self.clause(sql, WHERE)
            }
            (Word::Group, Statement::Select) if next("by") => self.clause(sql, GROUP),
            (Word::Order, Statement::Select) if next("by") => self.clause(sql, SORT),
            (Word::By, Statement::Select) => self.begin_item(self.at + 2),
            (Word::Having, Statement::Select) => self.clause(sql, HAVING),
            (Word::Window, Statement::Select) => self.clause(sql, WINDOW),
            (Word::Offset, Statement::Select | Statement::Unknown) => self.clause(sql, OFFSET),
            (Word::Limit | Word::Fetch, Statement::Select | Statement::Unknown) => {
                self.clause(sql, LIMIT)
            }
            (Word::For, Statement::Select) => self.clause(sql, LOCKING),
            (Word::Into, Statement::Select) => self.clause(sql, INTO),
            (Word::Set, Statement::Update) => self.clause(sql, TARGET),
            (Word::Using, Statement::Delete) => self.clause(sql, FROM),
            (Word::Except, Statement::Select | Statement::Unknown) => self.set_operation(sql),
            (Word::On, _) if next("conflict") => self.leave_implicit(sql, GROUP),
            (Word::Returning, _) => self.leave_implicit(sql, HAVING),
            _ => {}
        }
    }

    fn begin(&mut self, statement: Statement, clause: usize) {
        let at = self.at;
        let level = self.level();
        level.statement = statement;
        level.clause = clause;
        // Behind `select`.
        self.begin_item(at + 6);
    }

    fn clause(&mut self, sql: &str, clause: usize) {
        self.end_item(sql);
        self.level().clause = clause;
    }

    /// The clauses so far are one of several queries.
    fn set_operation(&mut self, sql: &str) {
        self.end_item(sql);
        let mut level = *self.level();
        self.gather_operand(&mut level);
        level.is_set_operation = true;
        level.clause = OPERANDS;
        self.targets.truncate(level.targets_from);
        *self.level() = level;
    }

    fn leave_implicit(&mut self, sql: &str, clause: usize) {
        if self.level().is_implicit {
            self.pop_level(sql);
        }
        self.clause(sql, clause);
    }

    fn begin_item(&mut self, at: usize) {
        let from = self.constants.len();
        let level = self.level();
        level.item_at = at;
        level.item_from = from;
        level.is_fresh = true;
        level.has_param = false;
    }

    /// Remembers a selected expression; gives one of GROUP BY the numbers of its like.
    fn end_item(&mut self, sql: &str) {
        let level = *self.level();
        let n = self.constants.len().saturating_sub(level.item_from);
        if n == 0
            || level.has_param
            || !matches!(level.clause, TARGET | GROUP)
            || level.statement != Statement::Select
        {
            return;
        }
        let Some(text) = sql.get(level.item_at..self.at.max(level.item_at)) else {
            return;
        };
        let hash = expression_hash(text);
        if level.clause == TARGET {
            self.targets.push(Target {
                hash,
                from: level.item_from,
                n,
                is_used: false,
            });
            return;
        }
        let targets = &mut self.targets[level.targets_from..];
        let Some(target) = targets
            .iter_mut()
            .find(|target| !target.is_used && target.hash == hash)
        else {
            return;
        };
        target.is_used = true;
        if target.n == n {
            for i in 0..n {
                self.constants[level.item_from + i].same_as =
                    u32::try_from(target.from + i).unwrap_or(NONE);
            }
        }
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.push_level(true, false);
        }
        let at = self.levels.len() - 1;
        &mut self.levels[at]
    }

    fn push_level(&mut self, is_query: bool, is_implicit: bool) {
        self.levels.push(Level {
            is_query,
            is_implicit,
            is_set_operation: false,
            statement: Statement::Unknown,
            clause: OPERANDS,
            lists: [EMPTY; N_CLAUSES],
            item_at: 0,
            item_from: self.constants.len(),
            is_fresh: false,
            has_param: false,
            targets_from: self.targets.len(),
        });
    }

    /// The level's constants go to the clause it stands in.
    fn pop_level(&mut self, sql: &str) {
        self.end_item(sql);
        let Some(mut level) = self.levels.pop() else {
            return;
        };
        self.targets.truncate(level.targets_from);
        let list = self.walk(&mut level);
        let has_param = level.has_param;
        let outer = self.level();
        outer.has_param |= has_param;
        let clause = outer.clause;
        let so_far = outer.lists[clause];
        let list = self.join(so_far, list);
        self.level().lists[clause] = list;
    }

    /// All constants of a level in order.
    fn walk(&mut self, level: &mut Level) -> List {
        let mut all = EMPTY;
        if level.is_set_operation {
            self.gather_operand(level);
            for clause in OF_THE_WHOLE {
                all = self.join(all, level.lists[clause]);
            }
            return self.join(all, level.lists[OPERANDS]);
        }
        for list in level.lists {
            all = self.join(all, list);
        }
        all
    }

    /// Moves the clauses of the newest of several queries behind those of the earlier ones.
    fn gather_operand(&mut self, level: &mut Level) {
        for clause in 0..OPERANDS {
            if !OF_THE_WHOLE.contains(&clause) {
                let list = std::mem::replace(&mut level.lists[clause], EMPTY);
                level.lists[OPERANDS] = self.join(level.lists[OPERANDS], list);
            }
        }
    }

    fn join(&mut self, first: List, second: List) -> List {
        if first.head == NONE {
            return second;
        }
        if second.head == NONE {
            return first;
        }
        if let Some(tail) = self.constants.get_mut(first.tail as usize) {
            tail.next = second.head;
        }
        List {
            head: first.head,
            tail: second.tail,
        }
    }

    /// Each constant's place and number, in the order of the text.
    pub(super) fn numbered(&mut self) -> impl Iterator<Item = (usize, usize, u32)> + '_ {
        let mut id = self.highest;
        let mut at = self.all.head;
        while at != NONE {
            let (next, same_as) = {
                let constant = &self.constants[at as usize];
                (constant.next, constant.same_as)
            };
            let same = self
                .constants
                .get(same_as as usize)
                .map_or(0, |same| same.id);
            self.constants[at as usize].id = if same > 0 {
                same
            } else {
                id = id.saturating_add(1);
                id
            };
            at = next;
        }
        let placed = self.constants.iter().filter(|constant| constant.id > 0);
        placed.map(|constant| (constant.start, constant.end, constant.id))
    }
}
