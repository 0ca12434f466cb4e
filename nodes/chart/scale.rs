//! Round numbers on an axis, and numbers as text.

/// A little more than all values, and something where there are none.
pub fn around(values: impl Iterator<Item = f64>) -> [f64; 2] {
    let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let margin = ((high - low) * 0.05)
        .max(high.abs().max(low.abs()) * 1e-3)
        .max(f64::MIN_POSITIVE);
    [low - margin, high + margin]
}

/// Multiples of 1, 2 or 5 times a power of ten, about so many.
pub fn ticks([low, high]: [f64; 2], about: f64) -> Vec<f64> {
    let least = (high - low) / about;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .map(|n| n * power)
        .into_iter()
        .find(|s| *s >= least)
        .unwrap_or(10.0 * power);
    let first = (low / step).ceil();
    (0..)
        .map(|i| (first + i as f64) * step)
        .take_while(|t| *t <= high)
        .take(2 * about as usize + 2)
        .collect()
}

/// Four digits, without zeros at the end: 0.5, -0.6123, 83.72, 2e-4, 1.5e6.
pub fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 {
            "0".into()
        } else {
            value.to_string()
        };
    }
    let short = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    let digits = value.abs().log10().floor();
    if (-3.0..6.0).contains(&digits) {
        return short(format!("{value:.*}", (3.0 - digits).max(0.0) as usize));
    }
    let text = format!("{value:.3e}");
    text.split_once('e').map_or(text.clone(), |(front, power)| {
        format!("{}e{power}", short(front.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let said = [
            0.0,
            0.5,
            -0.61234,
            83.721,
            1200.0,
            45000.0,
            2e-4,
            1.5e6,
            0.1 + 0.2,
        ]
        .map(number);
        assert_eq!(
            said,
            [
                "0", "0.5", "-0.6123", "83.72", "1200", "45000", "2e-4", "1.5e6", "0.3"
            ]
        );
    }

    #[test]
    fn ticks_are_round_and_few() {
        let said = |range, about| {
            ticks(range, about)
                .into_iter()
                .map(number)
                .collect::<Vec<_>>()
        };
        assert_eq!(said([-0.72, -0.51], 4.0), ["-0.7", "-0.6"]);
        assert_eq!(said([0.0, 400.0], 5.0), ["0", "100", "200", "300", "400"]);
        assert_eq!(
            said([0.0, 2e-4], 4.0),
            ["0", "5e-5", "1e-4", "1.5e-4", "2e-4"]
        );
        let alone = around([0.5].into_iter());
        assert!(!ticks(alone, 4.0).is_empty() && !ticks(around([0.0].into_iter()), 4.0).is_empty());
    }
}
