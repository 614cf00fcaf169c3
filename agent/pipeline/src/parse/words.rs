//! PostgreSQL's words where `lc_messages` is not English. (step 2)
//!
//! In: the word before a colon, a message. Out: a severity, what kind of line it is, where a statement begins.
//! Invariant: what comes with a record under a word we do not know is not kept: a DETAIL in any language holds rows.
//! Source: `postgres-15.mo` of de, es, fr, it, ja, ka, ko, ru, sv, uk, zh_CN; `src/backend/po` of cs, pl, `pt_BR`, tr.

use super::record::Severity;
use super::statement::Parts;

/// A line that belongs to the record before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Companion {
    Detail,
    /// STATEMENT or QUERY.
    Statement,
    /// HINT, CONTEXT, LOCATION, BACKTRACE.
    Other,
}

const SEVERITIES: [(&str, Severity); 71] = [
    ("HINWEIS", Severity::Notice),
    ("WARNUNG", Severity::Warning),
    ("FEHLER", Severity::Error),
    ("PANIK", Severity::Panic),
    ("ADVERTENCIA", Severity::Warning),
    ("ATTENTION", Severity::Warning),
    ("ERREUR", Severity::Error),
    ("NOTIFICA", Severity::Notice),
    ("ATTENZIONE", Severity::Warning),
    ("ERRORE", Severity::Error),
    ("FATALE", Severity::Fatal),
    ("PANICO", Severity::Panic),
    ("DEPURAÇÃO", Severity::Debug),
    ("NOTA", Severity::Notice),
    ("AVISO", Severity::Warning),
    ("ERRO", Severity::Error),
    ("PÂNICO", Severity::Panic),
    ("ОТЛАДКА", Severity::Debug),
    ("СООБЩЕНИЕ", Severity::Log),
    ("ИНФОРМАЦИЯ", Severity::Info),
    ("ЗАМЕЧАНИЕ", Severity::Notice),
    ("ПРЕДУПРЕЖДЕНИЕ", Severity::Warning),
    ("ОШИБКА", Severity::Error),
    ("ВАЖНО", Severity::Fatal),
    ("ПАНИКА", Severity::Panic),
    ("デバッグ", Severity::Debug),
    ("ログ", Severity::Log),
    ("警告", Severity::Warning),
    ("エラー", Severity::Error),
    ("调试", Severity::Debug),
    ("日志", Severity::Log),
    ("信息", Severity::Info),
    ("注意", Severity::Notice),
    ("错误", Severity::Error),
    ("致命错误", Severity::Fatal),
    ("比致命错误还过分的错误", Severity::Panic),
    ("디버그", Severity::Debug),
    ("로그", Severity::Log),
    ("정보", Severity::Info),
    ("알림", Severity::Notice),
    ("경고", Severity::Warning),
    ("오류", Severity::Error),
    ("치명적오류", Severity::Fatal),
    ("손상", Severity::Panic),
    ("DZIENNIK", Severity::Log),
    ("UWAGA", Severity::Notice),
    ("OSTRZEŻENIE", Severity::Warning),
    ("BŁĄD", Severity::Error),
    ("KATASTROFALNY", Severity::Fatal),
    ("PANIKA", Severity::Panic),
    ("UYARI", Severity::Warning),
    ("HATA", Severity::Error),
    ("ÖLÜMCÜL", Severity::Fatal),
    ("LOGG", Severity::Log),
    ("NOTIS", Severity::Notice),
    ("VARNING", Severity::Warning),
    ("FEL", Severity::Error),
    ("FATALT", Severity::Fatal),
    ("VAROVÁNÍ", Severity::Warning),
    ("CHYBA", Severity::Error),
    ("НАЛАГОДЖЕННЯ", Severity::Debug),
    ("ЗАПИСУВАННЯ", Severity::Log),
    ("ІНФОРМАЦІЯ", Severity::Info),
    ("ПОВІДОМЛЕННЯ", Severity::Notice),
    ("ПОПЕРЕДЖЕННЯ", Severity::Warning),
    ("ПОМИЛКА", Severity::Error),
    ("ФАТАЛЬНО", Severity::Fatal),
    ("ПАНІКА", Severity::Panic),
    ("ჟურნალი", Severity::Log),
    ("შეცდომა", Severity::Error),
    ("ფატალური", Severity::Fatal),
];

const DETAILS: [&str; 14] = [
    "DETAIL",
    "DETALLE",
    "DÉTAIL",
    "DETTAGLI",
    "DETALHE",
    "ПОДРОБНОСТИ",
    "詳細",
    "详细信息",
    "상세정보",
    "SZCZEGÓŁY",
    "AYRINTI",
    "DETALJ",
    "ВІДОМОСТІ",
    "დეტალები",
];

const STATEMENTS: [&str; 30] = [
    "STATEMENT",
    "QUERY",
    "ANWEISUNG",
    "ANFRAGE",
    "SENTENCIA",
    "CONSULTA",
    "INSTRUCTION",
    "REQUÊTE",
    "ISTRUZIONE",
    "COMANDO",
    "ОПЕРАТОР",
    "ЗАПРОС",
    "文",
    "問い合わせ",
    "语句",
    "查询",
    "명령 구문",
    "쿼리",
    "WYRAŻENIE",
    "ZAPYTANIE",
    "KOMUT",
    "SORGU",
    "SATS",
    "FRÅGA",
    "PŘÍKAZ",
    "DOTAZ",
    "ІНСТРУКЦІЯ",
    "ЗАПИТ",
    "ოპერატორი",
    "მოთხოვნა",
];

const OTHERS: [&str; 49] = [
    "HINT",
    "CONTEXT",
    "LOCATION",
    "BACKTRACE",
    "TIPP",
    "ZUSAMMENHANG",
    "ORT",
    "SUGERENCIA",
    "CONTEXTO",
    "UBICACIÓN",
    "ASTUCE",
    "CONTEXTE",
    "EMPLACEMENT",
    "PILE D'APPEL",
    "SUGGERIMENTO",
    "CONTESTO",
    "POSIZIONE",
    "DICA",
    "LOCAL",
    "ПОДСКАЗКА",
    "КОНТЕКСТ",
    "ПОЛОЖЕНИЕ",
    "СТЕК",
    "ヒント",
    "文脈",
    "場所",
    "バックトレース",
    "提示",
    "上下文",
    "位置",
    "힌트",
    "내용",
    "위치",
    "역추적",
    "PODPOWIEDŹ",
    "KONTEKST",
    "İPUCU",
    "İÇERİK",
    "TIPS",
    "KONTEXT",
    "PLATS",
    "UMÍSTĚNÍ",
    "УКАЗІВКА",
    "РОЗТАШУВАННЯ",
    "ВІДСТЕЖУВАТИ",
    "მინიშნება",
    "კონტექსტი",
    "მდებარეობა",
    "სტეკი",
];

/// Words before a statement within a message; a name may stand between the word and its colon.
const INTRODUCTIONS: [&str; 40] = [
    "Anweisung",
    "Ausführen",
    "Vorbereiten",
    "Fastpath-Funktionsaufruf",
    "sentencia",
    "ejecutar",
    "llamada a función fastpath",
    "instruction",
    "exécute",
    "préparation",
    "appel de fonction fastpath",
    "istruzione",
    "esecuzione di",
    "chiamata funzione fastpath",
    "preparazione",
    "comando",
    "оператор",
    "выполнение",
    "выборка из",
    "вызов функции (через fastpath)",
    "文",
    "実行",
    "取り出し実行",
    "语句",
    "执行",
    "명령 구문",
    "쿼리실행",
    "wyrażenie",
    "komut",
    "sats",
    "kör",
    "kör hämtning från",
    "Ausführen Fetch von",
    "ejecutar fetch desde",
    "exécute fetch à partir de",
    "esecuzione di fetch da",
    "виконати витягнення з",
    "příkaz",
    "виконувати",
    "ოპერატორი",
];

/// Milliseconds.
const UNITS: [&str; 7] = ["ms", "мс", "ミリ秒", "毫秒", "밀리초", "მწმs", "მწმ"];

/// A word may be as long as this; so many bytes before a duration, too.
const WORD_BYTES_MAX: usize = 64;

/// The severity a word stands for, in any language we know.
pub(super) fn severity(word: &str) -> Option<Severity> {
    let word = word.trim();
    Severity::parse(word).or_else(|| {
        let found = SEVERITIES.iter().find(|(known, _)| *known == word);
        found.map(|&(_, severity)| severity)
    })
}

/// What kind of companion a word begins; the NBSP of French belongs to no word.
pub(super) fn companion(word: &str) -> Option<Companion> {
    let word = word.trim();
    [
        (&DETAILS[..], Companion::Detail),
        (&STATEMENTS[..], Companion::Statement),
        (&OTHERS[..], Companion::Other),
    ]
    .into_iter()
    .find(|(words, _)| words.contains(&word))
    .map(|(_, kind)| kind)
}

/// `ASTUCE :  `, `쿼리:`, `詳細: `: a translated companion that the usual `WORD:  ` does not fit; bytes of the word and of all.
pub(super) fn odd_companion(rest: &[u8]) -> Option<(usize, usize)> {
    if !rest
        .first()
        .is_some_and(|b| b.is_ascii_uppercase() || *b >= 0x80)
    {
        return None;
    }
    let all = DETAILS.iter().chain(&STATEMENTS).chain(&OTHERS);
    all.filter_map(|word| {
        let behind = rest.strip_prefix(word.as_bytes())?;
        let blank = [&b" "[..], "\u{a0}".as_bytes(), "\u{202f}".as_bytes()]
            .into_iter()
            .find(|blank| behind.starts_with(blank))
            .map_or(0, <[u8]>::len);
        let colon = [&b":"[..], "：".as_bytes()]
            .into_iter()
            .find(|colon| behind[blank..].starts_with(colon))?;
        let usual = word.is_ascii() && blank == 0;
        (!usual).then_some((word.len(), word.len() + blank + colon.len()))
    })
    .next()
}

/// `Dauer: 8.5 ms  Anweisung: …`, `durée : 8.5 ms, instruction : …`: the parts by their shape, whatever the words.
pub(super) fn split(message: &str) -> Option<Parts<'_>> {
    let message = message.trim_end();
    let plain = Parts {
        message,
        ..Parts::default()
    };
    let Some((end, duration_ms)) = duration(message) else {
        return INTRODUCTIONS.iter().find_map(|word| {
            let (name, statement) = message.strip_prefix(word)?.split_once([':', '：'])?;
            let sound = name.starts_with([' ', '\u{a0}']) && !name.trim().contains(' ');
            (name.is_empty() || sound).then_some(Parts {
                message: word,
                statement: statement.trim_start(),
                ..plain
            })
        });
    };
    let parts = Parts {
        message: &message[..end],
        duration_ms: Some(duration_ms),
        ..plain
    };
    let behind = message[end..].split_once([':', '：']);
    let behind = behind.map_or("", |(_, behind)| behind.trim_start());
    let near = &behind[..behind.floor_char_boundary(WORD_BYTES_MAX)];
    Some(if near.contains("Query Text") {
        Parts {
            plan: behind,
            ..parts
        }
    } else {
        Parts {
            statement: behind,
            ..parts
        }
    })
}

/// A word, perhaps a colon, a number, milliseconds: where they end, and the number.
fn duration(message: &str) -> Option<(usize, f64)> {
    let at = message
        .bytes()
        .take(WORD_BYTES_MAX)
        .position(|b| b.is_ascii_digit())?;
    let word = message[..at].trim_end();
    let stem = word.trim_end_matches([':', '：']).trim_end();
    let one = !stem.is_empty() && !stem.contains([' ', '\'', '"', ':']);
    if !one || word.len() == at {
        return None;
    }
    let rest = &message[at..];
    let n = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',')
        .unwrap_or(rest.len());
    let number: f64 = rest[..n].parse().ok()?;
    let unit = rest[n..].trim_start();
    let known = UNITS.iter().find(|known| unit.starts_with(**known))?;
    let ends = !unit[known.len()..].starts_with(|c: char| c.is_alphanumeric());
    (ends && number.is_finite()).then(|| (message.len() - unit.len() + known.len(), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_translated_statement_is_found_behind_its_duration_by_shape() {
        for (message, words) in [
            ("Dauer: 8.5 ms  Anweisung: select 'x'", "Dauer: 8.5 ms"),
            (
                "Dauer: 8.5 ms  Ausführen <unnamed>: select 'x'",
                "Dauer: 8.5 ms",
            ),
            ("durée : 8.5 ms, instruction : select 'x'", "durée : 8.5 ms"),
            (
                "duración: 8.5 ms  sentencia: select 'x'",
                "duración: 8.5 ms",
            ),
            (
                "продолжительность: 8.5 мс, оператор: select 'x'",
                "продолжительность: 8.5 мс",
            ),
            ("期間: 8.5 ミリ秒  文: select 'x'", "期間: 8.5 ミリ秒"),
            ("执行时间: 8.5 ms 语句: select 'x'", "执行时间: 8.5 ms"),
            (
                "varaktighet: 8.5 ms  sats: select 'x'",
                "varaktighet: 8.5 ms",
            ),
            ("xyzzy: 8.5 ms  plugh: select 'x'", "xyzzy: 8.5 ms"),
        ] {
            let parts = split(message).unwrap();
            assert_eq!(
                (parts.message, parts.duration_ms, parts.statement),
                (words, Some(8.5), "select 'x'")
            );
        }
        let parts = split("Anweisung: select 'x'").unwrap();
        assert_eq!(
            (parts.message, parts.statement),
            ("Anweisung", "select 'x'")
        );
        let parts = split("ejecutar fetch desde c1: select 'x'").unwrap();
        assert_eq!(parts.statement, "select 'x'");
        for message in [
            "",
            "文字コードが違います: x",
            "sats går inte: x",
            "process 5 still waiting for ShareLock after 8.5 ms",
            "Prüfpunkt abgeschlossen: 5 Puffer",
            "wait 8.5 msec",
        ] {
            assert_eq!(split(message), None, "{message}");
        }
    }

    #[test]
    fn no_word_means_two_things() {
        for (word, _) in SEVERITIES {
            assert_eq!(companion(word), None, "{word}");
        }
        assert_eq!(severity("FEHLER"), Some(Severity::Error));
        assert_eq!(severity("ERROR"), Some(Severity::Error));
        assert_eq!(companion("ASTUCE\u{a0}"), Some(Companion::Other));
        assert_eq!(odd_companion("쿼리:x".as_bytes()), Some((6, 7)));
        assert_eq!(odd_companion(b"INSTRUCTION :  x"), Some((11, 13)));
        assert_eq!(odd_companion(b"DETAIL: x"), None);
    }
}
