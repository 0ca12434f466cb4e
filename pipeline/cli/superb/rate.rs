//! Learning rates of `--rates`.

/// A learning rate to try.
#[derive(Clone)]
pub(super) struct Rate {
    /// The task that it is for; `None`: tasks whose heads read means.
    pub(super) task: Option<String>,
    pub(super) rate: f64,
}

/// Parses NUMBER or TASK=NUMBER.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let (task, number) = match text.split_once('=') {
        Some((task, number)) => (Some(task.to_owned()), number),
        None => (None, text),
    };
    match number.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(Rate { task, rate }),
        _ => Err("a learning rate is a number above 0, or TASK=NUMBER".into()),
    }
}
