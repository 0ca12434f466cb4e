//! What a finished run did, from its plan, its metrics and the models it wrote.
use crate::graph::plan::{Phase, Plan};
use nodes::chart::curves;
use nodes::chart::curves::Points;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

#[derive(Clone, Serialize)]
pub struct Summary {
    pub phase: String,
    pub updates: u64,
    pub seconds: f64,
    /// Of the dev set, before the first and after the last update.
    pub dev_loss: Option<[f64; 2]>,
    /// Likewise, where the loss is L1 - cosine: how far the student is from its target, 0 at best.
    pub l1_and_cosine_distance: Option<[f64; 2]>,
    /// Reached and aimed at.
    pub sparsity: Option<[f64; 2]>,
    /// Of training, each batch as often as it was met.
    pub audio_hours: Option<f64>,
    /// Of an update, the median.
    pub step_seconds: Option<f64>,
    /// Losses of the dev set after the last update, by their names in metrics.jsonl.
    pub dev_losses: BTreeMap<String, f64>,
    /// Parameters before and after, of each node that wrote a model.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, [Option<u64>; 2]>,
}

/// One entry a phase.
pub fn read(plan: &Plan, run: &Path, metrics: &[curves::PhaseCurves]) -> Vec<Summary> {
    let mut written: BTreeMap<String, u64> = BTreeMap::new();
    let one = |phase: &Phase| {
        let folder = if plan.phased {
            run.join(&phase.name)
        } else {
            run.to_owned()
        };
        let mut parameters = BTreeMap::new();
        for node in phase.nodes.iter().filter(|n| n.info.model().is_some()) {
            let after = elements(&folder.join(node.name()).join("model.safetensors"));
            // What an earlier phase wrote is known by now; the plan could only estimate it.
            let before = written
                .get(node.name())
                .copied()
                .filter(|_| node.info.estimated)
                .or(node.info.parameters);
            written.extend(after.map(|n| (node.name().to_owned(), n)));
            parameters.insert(node.name().to_owned(), [before, after]);
        }
        summary(&phase.name, metrics, parameters)
    };
    plan.phases.iter().map(one).collect()
}

/// A run's metrics.jsonl, phase by phase.
pub fn metrics(run: &Path) -> Vec<curves::PhaseCurves> {
    curves::read(&std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default())
}

/// Of one phase, out of a run's metrics.
pub fn summary(
    name: &str,
    metrics: &[curves::PhaseCurves],
    parameters: BTreeMap<String, [Option<u64>; 2]>,
) -> Summary {
    let none = curves::PhaseCurves::default();
    let phase = metrics
        .iter()
        .find(|phase| phase.name == name)
        .unwrap_or(&none);
    let finite = |points: &Points| {
        points
            .iter()
            .map(|(_, value)| *value)
            .filter(|v| v.is_finite())
            .collect::<Vec<_>>()
    };
    let values = |name: &str| phase.curves.get(name).map(finite).unwrap_or_default();
    let last = |name: &str| values(name).last().copied();
    let dev = values("dev/loss");
    let ends = |of: &[f64]| of.first().zip(of.last()).map(|(a, b)| [*a, *b]);
    let [l1, cosine] = ["dev/loss_l1", "dev/loss_cos"].map(|name| ends(&values(name)));
    let distance = l1
        .zip(cosine)
        .map(|(l1, minus)| [0, 1].map(|i| l1[i] + 1.0 + minus[i]));
    let is_loss =
        |d: &[f64; 2]| ends(&dev).is_some_and(|e| (0..2).all(|i| (e[i] + 1.0 - d[i]).abs() < 1e-4));
    let (audio, speed) = (values("audio_seconds"), values("audio_per_second"));
    let mut seconds: Vec<f64> = audio
        .iter()
        .zip(&speed)
        .map(|(audio, speed)| audio / speed)
        .collect();
    seconds.sort_by(f64::total_cmp);
    let losses = phase
        .curves
        .iter()
        .filter_map(|(name, points)| Some((name.strip_prefix("dev/")?, points)));
    let losses = losses.filter(|(name, _)| name.contains("loss"));
    Summary {
        phase: name.into(),
        updates: phase
            .curves
            .values()
            .flatten()
            .map(|(update, _)| *update)
            .max()
            .unwrap_or(0),
        seconds: phase.times[1] - phase.times[0],
        dev_loss: ends(&dev),
        l1_and_cosine_distance: distance.filter(is_loss),
        sparsity: last("sparsity_expected")
            .zip(last("sparsity_target"))
            .map(|(a, b)| [a, b]),
        audio_hours: (!audio.is_empty()).then(|| audio.iter().sum::<f64>() / 3600.0),
        step_seconds: median(&seconds),
        dev_losses: losses
            .filter_map(|(name, points)| Some((name.to_owned(), *finite(points).last()?)))
            .collect(),
        parameters,
    }
}

/// Of numbers in order; None of none.
pub fn median(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    (n > 0).then(|| (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0)
}

/// All elements of a safetensors file, from its header: 8 bytes of length, then JSON.
fn elements(path: &Path) -> Option<u64> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut header = vec![];
    file.take(u64::from_le_bytes(length))
        .read_to_end(&mut header)
        .ok()?;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&header).ok()?;
    let shapes = header
        .values()
        .filter_map(|tensor| tensor["shape"].as_array());
    Some(
        shapes
            .map(|shape| shape.iter().filter_map(Value::as_u64).product::<u64>())
            .sum(),
    )
}

/// 94,371,712
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|c| std::str::from_utf8(c).ok())
        .collect();
    groups.join(",")
}

/// 94.4 M, in four signs at most
pub fn short(n: u64) -> String {
    let (value, unit) = match n {
        0..1_000 => return n.to_string(),
        1_000..1_000_000 => (n as f64 / 1e3, "k"),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, "M"),
        1_000_000_000..1_000_000_000_000 => (n as f64 / 1e9, "G"),
        _ => (n as f64 / 1e12, "T"),
    };
    let decimals = if value < 10.0 {
        2
    } else {
        usize::from(value < 100.0)
    };
    format!("{value:.decimals$} {unit}")
}

/// 2 h 3 min, 3 min 5 s, 5.2 s
pub fn duration(seconds: f64) -> String {
    match seconds as u64 {
        0..60 => format!("{seconds:.1} s"),
        s @ 60..3600 => format!("{} min {} s", s / 60, s % 60),
        s => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.updates {
            0 => write!(f, "phase `{}`: done", self.phase)?,
            n => write!(
                f,
                "phase `{}`: {} updates in {}",
                self.phase,
                thousands(n),
                duration(self.seconds)
            )?,
        }
        for (node, [before, after]) in &self.parameters {
            let count = |n: &Option<u64>| n.map_or("?".into(), thousands);
            write!(
                f,
                "\n  {node:9}{} -> {} parameters",
                count(before),
                count(after)
            )?;
            if let (Some(before), Some(after)) = (before, after)
                && before != after
            {
                write!(f, ", {:.1} % of it", 100.0 * *after as f64 / *before as f64)?;
            }
        }
        if let Some([reached, aim]) = self.sparsity {
            write!(f, "\n  sparsity {reached:.4} expected, aimed at {aim:.4}")?;
        }
        if let Some([before, after]) = self.dev_loss {
            write!(f, "\n  dev loss {before:.4} -> {after:.4}")?;
        }
        if let Some([before, after]) = self.l1_and_cosine_distance {
            write!(f, "\n  dev L1 + 1 - cosine {before:.4} -> {after:.4}")?;
            if before > 0.0 {
                write!(f, ", {:.2} of it", after / before)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            ["0", "999", "1,000", "94,371,712"].map(str::to_owned),
            [0, 999, 1000, 94_371_712].map(thousands)
        );
        assert_eq!(
            ["999", "1.20 k", "94.4 M", "1.67 T"].map(str::to_owned),
            [999, 1200, 94_371_712, 1_665_522_780_160].map(short)
        );
        assert_eq!(
            [5.23, 185.0, 7380.0].map(duration),
            ["5.2 s", "3 min 5 s", "2 h 3 min"]
        );
    }
}
