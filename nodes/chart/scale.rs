//! Ranges and round numbers of an axis, and numbers as text.

/// Returns a little more than the range of all values, and [0, 1] with a margin if there are none.
pub(super) fn around(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let mut low = f64::MAX;
    let mut high = f64::MIN;
    for value in values {
        low = low.min(value);
        high = high.max(value);
    }
    if low > high {
        low = 0.0;
        high = 1.0;
    }
    let margin = ((high - low) * 0.05)
        .max(high.abs().max(low.abs()) * 1e-3)
        .max(f64::MIN_POSITIVE);
    [low - margin, high + margin]
}

/// Returns about `count` multiples in a range of a step that is 1, 2 or 5 times a power of ten.
pub(super) fn ticks([low, high]: [f64; 2], count: f64) -> Vec<f64> {
    let least = (high - low) / count;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    (0..)
        .map(|i| (first + i as f64) * step)
        .take_while(|tick| *tick <= high)
        .take(2 * count as usize + 2)
        .collect()
}

/// Returns a number with four digits, without zeros at the end: 0.5, -0.6123, 83.72, 2e-4, 1.5e6.
pub fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    if (-3.0..6.0).contains(&magnitude) {
        let decimals = (3.0 - magnitude).max(0.0) as usize;
        return without_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    let text = format!("{value:.3e}");
    match text.split_once('e') {
        Some((digits, power)) => format!("{}e{power}", without_zeros(digits)),
        None => text,
    }
}

/// Removes the zeros at the end of a number's decimals.
fn without_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (0.5, "0.5"),
            (-0.61234, "-0.6123"),
            (83.721, "83.72"),
            (1200.0, "1200"),
            (45000.0, "45000"),
            (2e-4, "2e-4"),
            (1.5e6, "1.5e6"),
            (0.1 + 0.2, "0.3"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        let texts =
            |range, count| -> Vec<String> { ticks(range, count).into_iter().map(number).collect() };
        assert_eq!(texts([-0.72, -0.51], 4.0), ["-0.7", "-0.6"]);
        assert_eq!(texts([0.0, 400.0], 5.0), ["0", "100", "200", "300", "400"]);
        let small = ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"];
        assert_eq!(texts([0.0, 2e-4], 4.0), small);
        for value in [0.0, 0.5] {
            assert!(!ticks(around([value].into_iter()), 4.0).is_empty());
        }
    }
}
