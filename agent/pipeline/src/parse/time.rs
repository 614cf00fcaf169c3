//! The times of log lines, in every spelling we know. (step 2)
//!
//! In: the bytes of a line. Out: the time and how many bytes it took. No allocation.
//! A time without a zone or a year is unknown unless the caller says what to assume: a guess would date an event wrongly.

use hsw_types::WallTime;

const DAY_US: i64 = 86_400_000_000;
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
const WEEKDAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// What to take for granted where a line leaves it open. By default nothing: such a time is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeDefaults {
    /// Seconds east of Greenwich of times without a zone.
    pub utc_offset_s: Option<i64>,
    /// Times without a year are the latest that are not after this moment by more than a day.
    pub not_after: Option<WallTime>,
}

/// A time at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// `None` when something is left open.
    pub(crate) at: Option<WallTime>,
    /// Bytes it took.
    pub(crate) n: usize,
}

/// Date and time of day as written.
struct Civil {
    year: Option<i64>,
    month: i64,
    day: i64,
    /// Microseconds since midnight.
    of_day: i64,
}

impl Civil {
    fn at(&self, offset_s: Option<i64>, defaults: TimeDefaults) -> Option<WallTime> {
        let offset = offset_s.or(defaults.utc_offset_s)? * 1_000_000;
        let of_year = |year| {
            let midnight = days_from_civil(year, self.month, self.day).checked_mul(DAY_US)?;
            Some(midnight + self.of_day - offset)
        };
        if let Some(year) = self.year {
            return of_year(year).map(WallTime);
        }
        let latest = defaults.not_after?.0.saturating_add(DAY_US);
        let year = 1970 + latest.div_euclid(DAY_US) / 365;
        (0..3)
            .filter_map(|back| of_year(year - back))
            .find(|&at| at <= latest)
            .map(WallTime)
    }
}

/// Abbreviations that mean one zone only, in minutes east of Greenwich; those that mean several (IST, BST, CST, CDT, AST)
/// are not here.
const ZONES: [(&[u8], i64); 33] = [
    (b"UTC", 0),
    (b"GMT", 0),
    (b"WET", 0),
    (b"WEST", 60),
    (b"CET", 60),
    (b"CEST", 120),
    (b"MEZ", 60),
    (b"MESZ", 120),
    (b"EET", 120),
    (b"EEST", 180),
    (b"SAST", 120),
    (b"MSK", 180),
    (b"IDT", 180),
    (b"PKT", 300),
    (b"WIB", 420),
    (b"HKT", 480),
    (b"AWST", 480),
    (b"JST", 540),
    (b"KST", 540),
    (b"ACST", 570),
    (b"ACDT", 630),
    (b"AEST", 600),
    (b"AEDT", 660),
    (b"NZST", 720),
    (b"NZDT", 780),
    (b"EDT", -240),
    (b"EST", -300),
    (b"MDT", -360),
    (b"MST", -420),
    (b"PDT", -420),
    (b"PST", -480),
    (b"AKST", -540),
    (b"HST", -600),
];

/// Seconds east of Greenwich of an abbreviation.
fn abbreviated(word: &[u8]) -> Option<i64> {
    let found = ZONES.iter().find(|(known, _)| *known == word);
    found.map(|&(_, minutes)| minutes * 60)
}

/// `2026-11-20 17:50:48.123 UTC` → time; UTC, GMT, Z, numeric offsets and abbreviations that mean one zone are exact, any
/// other zone is `None`.
#[must_use]
pub fn parse_timestamp(text: &str) -> Option<WallTime> {
    timestamp(text, TimeDefaults::default())
}

/// The same; an abbreviation that could mean several zones is the caller's. (None of them is Greenwich: 0 is no answer.)
pub(crate) fn timestamp(text: &str, defaults: TimeDefaults) -> Option<WallTime> {
    let bytes = text.as_bytes();
    let (civil, n) = dashed(bytes)?;
    if bytes[4] != b'-' || bytes[11] == b' ' {
        return None;
    }
    let zone = text.get(n..)?.trim();
    let is_word = || {
        let word = |b: u8| b.is_ascii_alphabetic() || b"/_-+".contains(&b);
        zone.starts_with(|c: char| c.is_ascii_uppercase())
            && zone.len() >= 2
            && zone.bytes().all(word)
    };
    let given = || {
        defaults
            .utc_offset_s
            .filter(|offset| *offset != 0 && is_word())
    };
    let offset = zone_seconds(zone).or_else(given)?;
    civil.at(Some(offset), TimeDefaults::default())
}

/// A time at the very start, in any spelling.
pub(crate) fn scan(bytes: &[u8], defaults: TimeDefaults) -> Option<Found> {
    match bytes.first()? {
        b'0'..=b'9' => iso(bytes, defaults)
            .or_else(|| short(bytes, defaults))
            .or_else(|| day_first(bytes, defaults))
            .or_else(|| epoch(bytes)),
        b'A'..=b'Z' => named(bytes, defaults),
        _ => None,
    }
}

/// `2026-11-20T17:50:48.123456Z`, `2026/11/20 17:50:48,123`, `2026-11-20  7:50:48`; a zone that is a number, Z, UTC or GMT.
pub(crate) fn iso(bytes: &[u8], defaults: TimeDefaults) -> Option<Found> {
    let (civil, n) = dashed(bytes)?;
    let (offset, n_zone) = zone(&bytes[n..]);
    Some(Found {
        at: civil.at(offset, defaults),
        n: n + n_zone,
    })
}

/// `261120 17:50:48`, `261120 175048`, `26/11/20 17:50:48`; the hour may be padded with a blank.
pub(crate) fn short(bytes: &[u8], defaults: TimeDefaults) -> Option<Found> {
    let slashed = bytes.get(2) == Some(&b'/') && bytes.get(5) == Some(&b'/');
    let (places, n) = if slashed {
        ([0, 3, 6], 8)
    } else {
        ([0, 2, 4], 6)
    };
    if bytes.get(n) != Some(&b' ') {
        return None;
    }
    let [year, month, day] = places.map(|at| number(bytes, at, 2));
    let year = year?;
    let (of_day, n) = clock(bytes, n + 1).or_else(|| {
        let of_day = seconds(
            number(bytes, n + 1, 2)?,
            number(bytes, n + 3, 2)?,
            number(bytes, n + 5, 2)?,
        )?;
        let ends = bytes.get(n + 7).is_none_or(|b| !b.is_ascii_digit());
        ends.then_some((of_day, n + 7))
    })?;
    let civil = Civil {
        year: Some(if year < 70 {
            2_000 + year
        } else {
            1_900 + year
        }),
        month: sound_month(month?)?,
        day: sound_day(day?)?,
        of_day,
    };
    Some(Found {
        at: civil.at(None, defaults),
        n,
    })
}

/// `20 Nov 2026 17:50:48.123`, `20 Nov 17:50:48.123`.
pub(crate) fn day_first(bytes: &[u8], defaults: TimeDefaults) -> Option<Found> {
    let (day, at) = day(bytes, 0)?;
    let month = month(bytes.get(at + 1..at + 4)?)?;
    let with_year = number(bytes, at + 5, 4).filter(|_| bytes.get(at + 9) == Some(&b' '));
    let (of_day, n) = clock(bytes, if with_year.is_some() { at + 10 } else { at + 5 })?;
    let civil = Civil {
        year: with_year,
        month,
        day,
        of_day,
    };
    Some(Found {
        at: civil.at(None, defaults),
        n,
    })
}

/// `Nov 20 17:50:48`, `Fri Nov 20 17:50:48.123`, `Fri Nov 20 17:50:48 2026`.
pub(crate) fn named(bytes: &[u8], defaults: TimeDefaults) -> Option<Found> {
    let at = match bytes.get(..4)? {
        [word @ .., b' '] if WEEKDAYS.iter().any(|day| day[..] == *word) => 4,
        _ => 0,
    };
    let month = month(bytes.get(at..at + 3)?)?;
    let blank = usize::from(bytes.get(at + 4) == Some(&b' '));
    let (day, at) = day(bytes, at + 4 + blank)?;
    if bytes.get(at) != Some(&b' ') {
        return None;
    }
    let (of_day, mut n) = clock(bytes, at + 1)?;
    let ends = |n: usize| bytes.get(n).is_none_or(|b| !b.is_ascii_alphanumeric());
    let year = number(bytes, n + 1, 4)
        .filter(|year| bytes[n] == b' ' && ends(n + 5) && (1970..2200).contains(year));
    if year.is_some() {
        n += 5;
    }
    let civil = Civil {
        year,
        month,
        day,
        of_day,
    };
    Some(Found {
        at: civil.at(None, defaults),
        n,
    })
}

/// `1795197048`, `1795197048.123`, `1795197048123`: from 2001 to 2286, so that few other numbers pass.
fn epoch(bytes: &[u8]) -> Option<Found> {
    let n = digits(bytes);
    let whole = number(bytes, 0, n.min(13))?;
    let (micros, n) = match n {
        10 => {
            let (fraction, n_fraction) = fraction(&bytes[10..]);
            (whole * 1_000_000 + fraction, 10 + n_fraction)
        }
        13 => (whole * 1_000, 13),
        _ => return None,
    };
    let ends = bytes
        .get(n)
        .is_none_or(|b| matches!(b, b' ' | b'\t' | b']' | b',' | b':'));
    (bytes[0] != b'0' && ends).then_some(Found {
        at: Some(WallTime(micros)),
        n,
    })
}

/// Year first, with `-`, `/` or `.` between, and the time of day.
fn dashed(bytes: &[u8]) -> Option<(Civil, usize)> {
    let between = *bytes.get(4)?;
    if !matches!(between, b'-' | b'/' | b'.') || bytes.get(7) != Some(&between) {
        return None;
    }
    // A time of day may follow a dash in dotted dates (`2005.06.03-15.42.50` is not ours).
    if !matches!(bytes.get(10)?, b' ' | b'T') {
        return None;
    }
    let year = number(bytes, 0, 4)?;
    let month = sound_month(number(bytes, 5, 2)?)?;
    let day = sound_day(number(bytes, 8, 2)?)?;
    let (of_day, n) = clock(bytes, 11)?;
    let civil = Civil {
        year: Some(year),
        month,
        day,
        of_day,
    };
    Some((civil, n))
}

/// `17:50:48.123` from `at`: microseconds since midnight and where it ends.
fn clock(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let hour = match bytes.get(at)? {
        b' ' => number(bytes, at + 1, 1)?,
        _ => number(bytes, at, 2)?,
    };
    if bytes.get(at + 2) != Some(&b':') || bytes.get(at + 5) != Some(&b':') {
        return None;
    }
    let whole = seconds(hour, number(bytes, at + 3, 2)?, number(bytes, at + 6, 2)?)?;
    let (fraction, n) = fraction(&bytes[at + 8..]);
    Some((whole + fraction, at + 8 + n))
}

fn seconds(hour: i64, minute: i64, second: i64) -> Option<i64> {
    // 60: a leap second.
    let sound = hour < 24 && minute < 60 && second <= 60;
    sound.then_some((hour * 3_600 + minute * 60 + second) * 1_000_000)
}

/// `.123` or `,123456789` as microseconds.
fn fraction(bytes: &[u8]) -> (i64, usize) {
    let n = match bytes.first() {
        Some(b'.' | b',') => digits(&bytes[1..]),
        _ => 0,
    };
    if n == 0 {
        return (0, 0);
    }
    let kept = n.min(6);
    let scale = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1][kept];
    (number(bytes, 1, kept).unwrap_or(0) * scale, n + 1)
}

/// Seconds east of Greenwich and bytes taken; nothing where no zone stands.
fn zone(bytes: &[u8]) -> (Option<i64>, usize) {
    let blank = usize::from(bytes.first() == Some(&b' '));
    let rest = &bytes[blank..];
    let ends = |n: usize| rest.get(n).is_none_or(|b| !b.is_ascii_alphanumeric());
    match rest {
        [b'Z', ..] if blank == 0 && ends(1) => (Some(0), 1),
        [b'A'..=b'Z', ..] => {
            let n = rest.iter().take_while(|b| b.is_ascii_uppercase()).count();
            match abbreviated(&rest[..n]).filter(|_| ends(n)) {
                Some(offset) => (Some(offset), blank + n),
                None => (None, 0),
            }
        }
        [sign @ (b'+' | b'-'), ..] => {
            let colon = usize::from(rest.get(3) == Some(&b':'));
            let (Some(hours), minutes) = (number(rest, 1, 2), number(rest, 3 + colon, 2)) else {
                return (None, 0);
            };
            let n = if minutes.is_some() { 5 + colon } else { 3 };
            if !ends(n) {
                return (None, 0);
            }
            let seconds = hours * 3_600 + minutes.unwrap_or(0) * 60;
            (
                Some(if *sign == b'-' { -seconds } else { seconds }),
                blank + n,
            )
        }
        _ => (None, 0),
    }
}

/// Seconds east of Greenwich of a whole word.
fn zone_seconds(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "Etc/UTC") {
        return Some(0);
    }
    if let Some(offset) = abbreviated(zone.as_bytes()) {
        return Some(offset);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let mut all = [0_i64; 6];
    let mut n = 0;
    for byte in rest.bytes().filter(|byte| *byte != b':') {
        *all.get_mut(n)? = i64::from(byte.is_ascii_digit().then(|| byte - b'0')?);
        n += 1;
    }
    if !matches!(n, 2 | 4 | 6) {
        return None;
    }
    let part = |at: usize| all[at] * 10 + all[at + 1];
    Some(sign * (part(0) * 3_600 + part(2) * 60 + part(4)))
}

fn month(word: &[u8]) -> Option<i64> {
    let at = MONTHS.iter().position(|month| month[..] == *word)?;
    i64::try_from(at + 1).ok()
}

/// One or two digits; where they end.
fn day(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let n = digits(bytes.get(at..)?);
    if !matches!(n, 1 | 2) {
        return None;
    }
    Some((sound_day(number(bytes, at, n)?)?, at + n))
}

fn sound_month(month: i64) -> Option<i64> {
    (1..=12).contains(&month).then_some(month)
}

fn sound_day(day: i64) -> Option<i64> {
    (1..=31).contains(&day).then_some(day)
}

/// How many digits the bytes begin with.
pub(crate) fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Exactly `n` digits from `at`; none for 0.
fn number(bytes: &[u8], at: usize, n: usize) -> Option<i64> {
    let text = bytes.get(at..at.checked_add(n)?)?;
    let sum = text.iter().try_fold(0_i64, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    });
    sum.filter(|_| n > 0)
}

/// Days since 1970-01-01 of a Gregorian date (Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
#[path = "time_tests.rs"]
mod tests;
