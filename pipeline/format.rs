//! Numbers for people.

/// Formats a count with a comma after each thousand: `94,371,712`.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with at most three digits and a unit: `94.4 M`.
pub fn short(count: u64) -> String {
    let (divisor, unit) = match count {
        0..1_000 => return count.to_string(),
        1_000..1_000_000 => (1e3, "k"),
        1_000_000..1_000_000_000 => (1e6, "M"),
        1_000_000_000..1_000_000_000_000 => (1e9, "G"),
        _ => (1e12, "T"),
    };
    let value = count as f64 / divisor;
    let decimals = if value < 10.0 {
        2
    } else if value < 100.0 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

/// Formats a time: `3 days 4 h`, `2 h 3 min`, `3 min 5 s` or `5.2 s`.
pub fn duration(seconds: f64) -> String {
    const TWO_DAYS: u64 = 48 * 3600;
    let whole_seconds = seconds as u64;
    let hours = whole_seconds / 3600;
    match whole_seconds {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole_seconds / 60, whole_seconds % 60),
        3600..TWO_DAYS => format!("{hours} h {} min", whole_seconds / 60 % 60),
        _ => format!("{} days {} h", hours / 24, hours % 24),
    }
}

/// Formats a change: `before → after`.
pub(super) fn change(before: &str, after: &str) -> String {
    format!("{before} → {after}")
}

/// Formats a share in per cent: `12.3 %`.
pub(super) fn percent(part: u64, total: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / total.max(1) as f64)
}

/// Quotes a word of a command for a shell, if it needs quotes.
pub fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-/=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Returns a loss as it is shown.
pub fn loss_text(loss: f64) -> String {
    match loss.is_finite() {
        true => format!("{loss:.4}"),
        false => "not finite".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0, 999, 1000, 94_371_712].map(thousands),
            ["0", "999", "1,000", "94,371,712"]
        );
        assert_eq!(
            [999, 1200, 94_371_712, 1_665_522_780_160].map(short),
            ["999", "1.20 k", "94.4 M", "1.67 T"]
        );
        assert_eq!(
            [5.23, 185.0, 7380.0, 172_799.0, 273_600.0].map(duration),
            [
                "5.2 s",
                "3 min 5 s",
                "2 h 3 min",
                "47 h 59 min",
                "3 days 4 h"
            ]
        );
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(shell_word("graphs/a-b_c.json"), "graphs/a-b_c.json");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("x=\"it's\""), "'x=\"it'\\''s\"'");
        assert_eq!(shell_word(""), "''");
    }
}
