//! What the exchange between ranks costs: the time in which gradients travel and are added, and the
//! time in which the first rank waits for the others' batches.
use super::recording::NodeMeasurement;
use nodes::node::report::Measurement;
use serde_json::{Value, json};

/// Returns the seconds of an update that go to the other ranks, of `updates` updates that took
/// `total_seconds` together; null in a run of one process.
pub(super) fn summary(
    timed: &[&NodeMeasurement],
    ranks: usize,
    updates: usize,
    total_seconds: f64,
) -> Value {
    if ranks == 1 {
        return Value::Null;
    }
    let mut adding_seconds = 0.0;
    let mut waiting_seconds = 0.0;
    for recorded in timed {
        if let Measurement::Exchange { waiting, adding } = recorded.measurement {
            adding_seconds += adding.as_secs_f64();
            waiting_seconds += waiting.as_secs_f64();
        }
    }
    json!({
        "ranks": ranks,
        "communication_seconds": adding_seconds / updates as f64,
        "communication_share": adding_seconds / total_seconds,
        "waiting_seconds": waiting_seconds / updates as f64,
    })
}

/// Returns the samples of all ranks' batches in the timed updates.
pub(super) fn samples(timed: &[&NodeMeasurement]) -> u64 {
    let exchanges = timed
        .iter()
        .filter(|recorded| matches!(recorded.measurement, Measurement::Exchange { .. }));
    exchanges.map(|recorded| recorded.info.samples).sum()
}

/// Formats the JSON of [`summary`]; empty for null.
pub(super) fn text(summary: &Value) -> String {
    let number = |key: &str| summary[key].as_f64();
    let (Some(seconds), Some(share), Some(waiting)) = (
        number("communication_seconds"),
        number("communication_share"),
        number("waiting_seconds"),
    ) else {
        return String::new();
    };
    format!(
        "ranks   {}: {seconds:.4} s of communication an update, {:.1} %; {waiting:.4} s waiting for other ranks\n",
        summary["ranks"],
        100.0 * share
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use nodes::node::step::StepInfo;
    use std::time::Duration;

    fn measured(waiting: f64, adding: f64) -> NodeMeasurement {
        NodeMeasurement {
            node: "step".into(),
            info: StepInfo {
                samples: 16000,
                ..StepInfo::default()
            },
            measurement: Measurement::Exchange {
                waiting: Duration::from_secs_f64(waiting),
                adding: Duration::from_secs_f64(adding),
            },
        }
    }

    #[test]
    fn communication_is_that_of_an_update() {
        let measurements = [measured(1.0, 0.25), measured(2.0, 0.75)];
        let timed: Vec<_> = measurements.iter().collect();
        let found = summary(&timed, 4, 2, 10.0);
        assert_eq!(found["communication_seconds"], 0.5);
        assert_eq!(found["communication_share"], 0.1);
        assert_eq!(found["waiting_seconds"], 1.5);
        assert_eq!(samples(&timed), 32000);
        let line = "ranks   4: 0.5000 s of communication an update, 10.0 %; 1.5000 s waiting for other ranks\n";
        assert_eq!(text(&found), line);
        assert_eq!(text(&summary(&timed, 1, 2, 10.0)), "");
    }
}
