//! Points in time.

use crate::json::Json;
use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time: nanoseconds since 1970 UTC, within the years 1678 to 2262.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

impl Time {
    /// Not set.
    pub const NONE: Time = Time(i64::MIN);

    /// The time that many nanoseconds after the beginning of 1970.
    pub const fn from_nanos(ns: i64) -> Time {
        Time(ns)
    }

    /// Nanoseconds since the beginning of 1970.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whether it is set.
    pub const fn is_set(self) -> bool {
        self.0 != i64::MIN
    }

    /// Seconds from `earlier` to this time, negative when that is later.
    pub fn seconds_since(self, earlier: Time) -> f64 {
        (i128::from(self.0) - i128::from(earlier.0)) as f64 / SECOND as f64
    }

    /// Reads a time such as "2026-03-01T12:00:00.5Z".
    pub fn parse(text: &str) -> Option<Time> {
        let b = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<i64> {
            let part = b.get(from..to)?;
            part.iter().try_fold(0, |v, c| if c.is_ascii_digit() { Some(v * 10 + i64::from(c - b'0')) } else { None })
        };
        for (at, c) in [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')] {
            if b.get(at) != Some(&c) {
                return None;
            }
        }
        if !matches!(b[10], b'T' | b't') {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let mut at = 19;
        let mut fraction = 0;
        if b.get(at) == Some(&b'.') {
            let start = at + 1;
            at = start;
            while b.get(at).map_or(false, u8::is_ascii_digit) {
                at += 1;
            }
            let kept = at.min(start + 9);
            fraction = number(start, kept)? * 10_i64.pow((9 - (kept - start)) as u32);
        }
        let offset = match b.get(at)? {
            b'Z' | b'z' if b.len() == at + 1 => 0,
            sign @ (b'+' | b'-') if b.len() == at + 6 && b[at + 3] == b':' => {
                let seconds = number(at + 1, at + 3)? * 3600 + number(at + 4, at + 6)? * 60;
                if *sign == b'-' {
                    -seconds
                } else {
                    seconds
                }
            }
            _ => return None,
        };
        if year == 1 && month == 1 && day == 1 {
            return Some(Time::NONE); // the zero time of the host
        }
        let seconds = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second - offset;
        seconds.checked_mul(SECOND)?.checked_add(fraction).map(Time)
    }

    pub(crate) fn of(v: &Json) -> Time {
        v.as_str().and_then(Time::parse).unwrap_or(Time::NONE)
    }
}

/// As RFC 3339 in UTC; a time that is not set is the first moment of the year 1, as in Go.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_set() {
            return f.write_str("0001-01-01T00:00:00Z");
        }
        let (seconds, ns) = (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND));
        let (year, month, day) = civil_from_days(seconds.div_euclid(DAY));
        let s = seconds.rem_euclid(DAY);
        write!(f, "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", year, month, day, s / 3600, s / 60 % 60, s % 60)?;
        if ns != 0 {
            write!(f, ".{}", format!("{:09}", ns).trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl From<Time> for Json {
    fn from(t: Time) -> Json {
        t.to_string().into()
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, d: Duration) -> Time {
        Time(self.0.saturating_add(i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// The time between two points, zero when the second is the later one.
impl Sub for Time {
    type Output = Duration;
    fn sub(self, earlier: Time) -> Duration {
        let ns = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
    }
}

// Days since 1970 of a date and back, in eras of 400 years that begin in March (Howard Hinnant's algorithms).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let mp = (5 * day_of_year + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day_of_year - (153 * mp + 2) / 5 + 1)
}

/// Reads a duration as Go writes it, for example "1m30s". Negative ones are no Duration.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" || text == "-0" {
        return Some(Duration::ZERO);
    }
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        // The longest unit first: "ms" before "m".
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_end);
        let scale = UNITS.iter().find(|u| u.0 == unit)?.1;
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?;
        let mut step = scale as f64;
        let mut part = 0.0;
        for d in fraction.bytes() {
            step /= 10.0;
            part += f64::from(d - b'0') * step;
        }
        total = total.checked_add(part.round() as u64)?;
        rest = after;
    }
    if total > i64::MAX as u64 {
        return None;
    }
    Some(Duration::from_nanos(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text() {
        for (ns, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400_500_000_000, "2000-02-29T00:00:00.5Z"),
            (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
            (i64::MIN + 1, "1677-09-21T00:12:43.145224193Z"),
            (i64::MIN, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Time(ns).to_string(), text);
            assert_eq!(
                Time::parse(text),
                if ns < -SECOND * DAY * 100_000 && ns != i64::MIN { None } else { Some(Time(ns)) },
                "{}",
                text
            );
        }
        assert_eq!(Time::parse("2026-03-01T14:30:00.25+02:30"), Time::parse("2026-03-01T12:00:00.250Z"));
        for bad in [
            "",
            "2026-03-01",
            "2026-03-01T12:00:00",
            "2026-13-01T12:00:00Z",
            "2026-03-01T12:00:00+0200",
            "2026-03-01 12:00:00Z",
            "２026-03-01T12:00:00Z",
            "9999-03-01T12:00:00Z",
        ] {
            assert_eq!(Time::parse(bad), None, "{}", bad);
        }
    }

    #[test]
    fn durations() {
        for (text, ns) in [
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("0", 0),
            ("10ms2µs3ns", 10_002_003),
            (".5s", 500_000_000),
            ("0.1s", 100_000_000),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_nanos(ns)), "{}", text);
        }
        for bad in ["", "1", "s", "-1s", "1d", "1.2.3s", ".s", "1s 2s", "9999999999h"] {
            assert_eq!(parse_duration(bad), None, "{}", bad);
        }
    }
}
