//! `pipeline bench GRAPH --steps N [--synthetic BxS] [--phase P] [--cached]`: how long an update takes, and which node takes it.
use crate::rehearsal::{self, Scratch, chosen, complete};
use crate::screen::Screen;
use crate::signal::Signals;
use crate::{Failure, Format, Outcome, graph, print};
use nodes::node::Synthetic;
use nodes::step::Head;
use pipeline::machine::peak;
use pipeline::phase;
use pipeline::plan::{Phase, Plan};
use pipeline::stage::Sent;
use pipeline::summary;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Updates before the clock runs.
const WARM_UP: u64 = 2;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    /// Updates to time, after two to warm up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    steps: u64,
    /// Rows and seconds of a batch of noise, in place of the manifest: 4x5
    #[arg(long, value_name = "BxS", value_parser = synthetic)]
    synthetic: Option<Synthetic>,
    /// The phase to run [default: the first]
    #[arg(long, value_name = "P")]
    phase: Option<String>,
    /// Fill a temporary cache first and time its hits
    #[arg(long)]
    cached: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn synthetic(text: &str) -> Result<Synthetic, String> {
    let parts =
        text.split_once('x').and_then(|(rows, seconds)| Some((rows.parse().ok()?, seconds.parse::<f64>().ok()?)));
    match parts {
        Some((rows, seconds)) if (1..=65536).contains(&rows) && seconds > 0.0 && seconds <= 3600.0 => {
            Ok(Synthetic { rows, samples: (seconds * 16000.0) as usize })
        }
        _ => Err("write it as rows x seconds: 4x5".into()),
    }
}

/// A node has done a step.
struct Done {
    node: String,
    head: Head,
    at: Instant,
    took: Duration,
}

impl Arguments {
    pub fn run(self) -> Outcome {
        let scratch = Scratch::new("bench")?;
        let plan = self.graph.plan()?;
        let sets = self.sets(&plan, chosen(&plan, self.phase.as_deref())?, &scratch.0);
        let plan = self.graph.plan_with(&sets)?;
        let phase = chosen(&plan, self.phase.as_deref())?;
        if self.synthetic.is_none() {
            complete(phase)?;
        }
        let signals = Signals::catch()?;
        let mut done = vec![];
        for pass in 0..=u32::from(self.cached) {
            let out = scratch.0.join(pass.to_string());
            std::fs::create_dir_all(&out)?;
            done = match self.time(&plan, phase, &out, &signals)? {
                Some(done) => done,
                None => return Ok(signals.code()),
            };
        }
        let found = self.found(phase, &done)?;
        print(&if self.format == Format::Json { format!("{found:#}\n") } else { text(&found) })
    }

    /// What is not to be timed is set aside: dev passes, checkpoints, the caches of the file.
    fn sets(&self, plan: &Plan, phase: &Phase, scratch: &Path) -> Vec<String> {
        let set = |node: usize, option: String| rehearsal::set(plan, phase, node, &option);
        let mut sets = vec![set(phase.source, "dev=null".into())];
        if let Some(optimizer) = phase.optimizer {
            sets.push(set(optimizer, format!("checkpoint_every={}", u32::MAX)));
            sets.extend(self.synthetic.map(|_| set(optimizer, "accumulate=1".into())));
        }
        let cache = if self.cached { json!(scratch.join("cache").to_string_lossy()) } else { Value::Null };
        let cacheable = (0..phase.nodes.len()).filter(|n| phase.nodes[*n].config.cacheable().is_some());
        sets.extend(cacheable.map(|n| set(n, format!("cache={cache}"))));
        sets
    }

    /// Runs the phase for one update more than is timed: the last one also writes a checkpoint. None after a signal.
    fn time(&self, plan: &Plan, phase: &Phase, out: &Path, signals: &Signals) -> Result<Option<Vec<Done>>, Failure> {
        let screen = Arc::new(Screen::new());
        let steps = WARM_UP + self.steps + 1;
        let stop = signals.stop.clone();
        let place = rehearsal::place(plan, phase, steps, out, self.synthetic, screen.clone(), stop);
        let done = Mutex::new(vec![]);
        let watch = |node: &str, head: Head, took: Duration, _: &Sent| {
            let step = Done { node: node.into(), head, at: Instant::now(), took };
            done.lock().unwrap_or_else(|broken| broken.into_inner()).push(step);
        };
        let ended = phase::run(phase, &place, None, &watch);
        screen.close();
        let done = done.into_inner().unwrap_or_else(|broken| broken.into_inner());
        ended?;
        Ok((!signals.stop.load(Ordering::Relaxed)).then_some(done))
    }

    fn found(&self, phase: &Phase, done: &[Done]) -> Result<Value, Failure> {
        let last = phase.last().name();
        let timed = |d: &&Done| !d.head.dev && (WARM_UP + 1..=WARM_UP + self.steps).contains(&d.head.update);
        let closes = done.iter().filter(|d| d.node == last && d.head.closes && !d.head.dev);
        let ends: Vec<Instant> =
            closes.skip(WARM_UP as usize - 1).take(self.steps as usize + 1).map(|d| d.at).collect();
        let mut seconds: Vec<f64> = ends.windows(2).map(|w| (w[1] - w[0]).as_secs_f64()).collect();
        let total: f64 = seconds.iter().sum();
        seconds.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (seconds.first(), seconds.last()) else {
            return Err("the data ended before the updates to time".into());
        };
        let mut nodes: BTreeMap<&str, f64> = phase.nodes.iter().map(|n| (n.name(), 0.0)).collect();
        for d in done.iter().filter(timed) {
            *nodes.entry(&d.node).or_default() += d.took.as_secs_f64() / seconds.len() as f64;
        }
        let samples: u64 = done.iter().filter(timed).filter(|d| d.node == last).map(|d| d.head.samples).sum();
        Ok(json!({
            "step_seconds": { "median": summary::median(&seconds), "min": min, "max": max },
            "node_seconds": nodes,
            "audio_per_second": samples as f64 / 16000.0 / total,
            "peak_bytes": peak(),
        }))
    }
}

fn text(found: &Value) -> String {
    let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
    let step = &found["step_seconds"];
    let mut text = format!(
        "update  {:.4} s (median), {:.4} to {:.4}\naudio   {:.1} s a second\n",
        number(&step["median"]),
        number(&step["min"]),
        number(&step["max"]),
        number(&found["audio_per_second"])
    );
    if let Some(bytes) = found["peak_bytes"].as_u64() {
        text += &format!("memory  {:.1} MB at its peak\n", bytes as f64 / 1e6);
    }
    for (node, seconds) in found["node_seconds"].as_object().into_iter().flatten() {
        text += &format!("  {node:12} {:.4} s\n", number(seconds));
    }
    text
}
