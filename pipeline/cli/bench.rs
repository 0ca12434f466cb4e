//! `pipeline bench GRAPH --steps N [--synthetic BxS] [--phase P] [--cached]`: how long an update takes, which node takes
//! it, how near that is to what the machine's CPU can do, and where the bytes are. On a GPU its peak of bytes alone.
use crate::allocated_bytes::allocated_bytes;
use crate::dry_run::{self, Scratch, chosen, complete};
use crate::screen::Screen;
use crate::signal::Signals;
use crate::{Failure, Format, Outcome, device, graph, print};
use compute::roofline::Floor;
use nodes::node::Synthetic;
use nodes::node::report::{Measurement, Progress, Report};
use nodes::node::step::StepInfo;
use pipeline::graph::plan::{Phase, Plan};
use pipeline::report::summary;
use pipeline::run::machine::peak;
use pipeline::run::phase;
use pipeline::run::stage::NodeEvent;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

mod bytes;
mod share;

/// Updates before the clock runs.
const WARM_UP: u64 = 2;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    #[command(flatten)]
    device: device::Arguments,
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
    let parts = text
        .split_once('x')
        .and_then(|(rows, seconds)| Some((rows.parse().ok()?, seconds.parse::<f64>().ok()?)));
    match parts {
        Some((rows, seconds)) if rows > 0 && seconds > 0.0 && rows as f64 * seconds <= 3600.0 => {
            Ok(Synthetic {
                rows,
                samples: (seconds * 16000.0) as usize,
            })
        }
        _ => Err("write it as rows x seconds, at most an hour in all: 4x5".into()),
    }
}

/// What was seen of a phase, in the order in which it happened.
#[derive(Default)]
struct Seen {
    done: Mutex<Vec<Done>>,
    told: Mutex<Vec<(String, StepInfo, Measurement)>>,
}

/// A node has done a step.
struct Done {
    node: String,
    info: StepInfo,
    at: Instant,
    took: Duration,
    /// Bytes that its stage holds more than it did when the step began.
    kept: isize,
}

thread_local!(static BEFORE: Cell<isize> = const { Cell::new(0) });

impl Seen {
    /// `first`: the node with which its stage begins a step.
    fn node(&self, node: &str, first: bool, info: StepInfo, moment: NodeEvent) {
        match moment {
            NodeEvent::Started if first => BEFORE.set(allocated_bytes()),
            NodeEvent::Started => (),
            NodeEvent::Finished(took, _) => {
                let done = Done {
                    node: node.into(),
                    info,
                    at: Instant::now(),
                    took,
                    kept: allocated_bytes() - BEFORE.get(),
                };
                lock(&self.done).push(done);
            }
        }
    }
}

fn lock<T>(seen: &Mutex<T>) -> MutexGuard<'_, T> {
    seen.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// The screen, and an ear for what nodes tell.
struct Ear {
    screen: Screen,
    seen: Arc<Seen>,
    /// Updates without those that are only fed ahead.
    updates: u64,
}

impl Report for Ear {
    fn update(&self, phase: &str, progress: Progress) {
        self.screen.update(
            phase,
            Progress {
                updates: self.updates,
                ..progress
            },
        );
    }
    fn say(&self, line: &str) {
        self.screen.say(line);
    }
    fn record(&self, node: &str, info: &StepInfo, told: Measurement) {
        lock(&self.seen.told).push((node.into(), *info, told));
    }
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
        self.device.choose()?;
        let signals = Signals::catch()?;
        let floor = (!cfg!(feature = "cuda")).then(Floor::measure); // the CPU's
        let mut seen = Arc::default();
        for pass in 0..=u32::from(self.cached) {
            let out = scratch.0.join(pass.to_string());
            std::fs::create_dir_all(&out)?;
            bytes::forget_peak();
            device::forget_peak();
            seen = match self.time(&plan, phase, &out, &signals)? {
                Some(seen) => seen,
                None => return Ok(signals.code()),
            };
        }
        let found = self.found(phase, floor.as_ref(), &seen)?;
        print(&if self.format == Format::Json {
            format!("{found:#}\n")
        } else {
            text(&found)
        })
    }

    /// What is not to be timed is set aside: dev passes, checkpoints, the caches of the file.
    fn sets(&self, plan: &Plan, phase: &Phase, scratch: &Path) -> Vec<String> {
        let set = |node: usize, option: String| dry_run::set(plan, phase, node, &option);
        let mut sets = vec![set(phase.source, "dev=null".into())];
        if let Some(optimizer) = phase.optimizer {
            sets.push(set(optimizer, format!("checkpoint_every={}", u32::MAX)));
            sets.extend(
                self.synthetic
                    .map(|_| set(optimizer, "accumulate=1".into())),
            );
        }
        let cache = if self.cached {
            json!(scratch.join("cache").to_string_lossy())
        } else {
            Value::Null
        };
        let cacheable =
            (0..phase.nodes.len()).filter(|n| phase.nodes[*n].config.cacheable().is_some());
        sets.extend(cacheable.map(|n| set(n, format!("cache={cache}"))));
        sets
    }

    /// Runs the phase for one update more than is timed: the last one also writes a checkpoint. Stages that run ahead get
    /// batches for more, so that none is done while the clock runs; a cache is filled for no more. None after a signal.
    fn time(
        &self,
        plan: &Plan,
        phase: &Phase,
        out: &Path,
        signals: &Signals,
    ) -> Result<Option<Arc<Seen>>, Failure> {
        let seen = Arc::new(Seen::default());
        let last = WARM_UP + self.steps + 1;
        let ear = Arc::new(Ear {
            screen: Screen::new(),
            seen: seen.clone(),
            updates: last,
        });
        let ahead = if self.cached {
            0
        } else {
            (phase.stages.len() * phase::WAITING) as u64
        };
        let stop = signals.stop.clone();
        let context = dry_run::context(
            plan,
            phase,
            last + ahead,
            out,
            self.synthetic,
            ear.clone(),
            stop.clone(),
        );
        let first = |node: &str| {
            phase
                .stages
                .iter()
                .any(|stage| phase.nodes[stage[0]].name() == node)
        };
        let complete = AtomicBool::new(false);
        let ended = phase::run(phase, &context, None, &|node, info, moment| {
            let done = matches!(moment, NodeEvent::Finished(..));
            seen.node(node, first(node), info, moment);
            if done && node == phase.last().name() && info.update == last && info.closes {
                complete.store(true, Ordering::Relaxed);
                stop.store(true, Ordering::Relaxed);
            }
        });
        ear.screen.close();
        ended?;
        if complete.load(Ordering::Relaxed) {
            stop.store(false, Ordering::Relaxed);
        }
        Ok((!stop.load(Ordering::Relaxed)).then_some(seen))
    }

    fn found(&self, phase: &Phase, floor: Option<&Floor>, seen: &Seen) -> Result<Value, Failure> {
        let (done, told) = (lock(&seen.done), lock(&seen.told));
        let last = phase.last().name();
        let counts = |info: &StepInfo| {
            !info.dev && (WARM_UP + 1..=WARM_UP + self.steps).contains(&info.update)
        };
        let timed = |d: &&Done| counts(&d.info);
        let closes = done
            .iter()
            .filter(|d| d.node == last && d.info.closes && !d.info.dev);
        let ends: Vec<Instant> = closes
            .skip(WARM_UP as usize - 1)
            .take(self.steps as usize + 1)
            .map(|d| d.at)
            .collect();
        let mut seconds: Vec<f64> = ends
            .windows(2)
            .map(|w| (w[1] - w[0]).as_secs_f64())
            .collect();
        let total: f64 = seconds.iter().sum();
        seconds.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (seconds.first(), seconds.last()) else {
            return Err("the data ended before the updates to time".into());
        };
        let mut nodes: BTreeMap<&str, f64> = phase.nodes.iter().map(|n| (n.name(), 0.0)).collect();
        for d in done.iter().filter(timed) {
            *nodes.entry(&d.node).or_default() += d.took.as_secs_f64() / seconds.len() as f64;
        }
        let samples: u64 = done
            .iter()
            .filter(timed)
            .filter(|d| d.node == last)
            .map(|d| d.info.samples)
            .sum();
        let told: Vec<_> = told
            .iter()
            .filter(|(_, info, _)| counts(info))
            .map(|(node, _, told)| (&**node, *told))
            .collect();
        let kept = done.iter().filter(timed).map(|d| d.kept).max().unwrap_or(0);
        let peak = peak(); // read once: it may rise while this is put together
        Ok(json!({
            "step_seconds": { "median": summary::median(&seconds), "min": min, "max": max },
            "node_seconds": nodes,
            "optimize_seconds": optimize_seconds(phase, &nodes, &told, seconds.len()),
            "audio_per_second": samples as f64 / 16000.0 / total,
            "peak_bytes": peak,
            "gpu_peak_bytes": device::peak_bytes(),
            "floor": floor.map(|floor| share::of(floor, &told, seconds.len(), total / seconds.len() as f64)),
            "bytes": floor.map(|_| bytes::of(phase, &told, kept, peak)),
        }))
    }
}

/// `optimize`'s time, in two; null where nothing is trained.
fn optimize_seconds(
    phase: &Phase,
    nodes: &BTreeMap<&str, f64>,
    told: &[(&str, Measurement)],
    updates: usize,
) -> Value {
    let backward = |(_, told): &(_, Measurement)| {
        if let Measurement::Backward(took) = told {
            took.as_secs_f64()
        } else {
            0.0
        }
    };
    let backward = told.iter().map(backward).sum::<f64>() / updates as f64;
    let all = phase
        .optimizer
        .and_then(|node| nodes.get(phase.nodes[node].name()));
    all.map_or(
        Value::Null,
        |all| json!({ "backward": backward, "update": all - backward }),
    )
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
    text += &bytes::text(found);
    if let Some(peak) = found["gpu_peak_bytes"].as_f64() {
        text += &format!("GPU     {:.1} MB at its peak\n", peak / 1e6);
    } else {
        text += &share::text(&found["floor"]);
    }
    for (key, of) in [("node_seconds", ""), ("optimize_seconds", "optimize's ")] {
        for (name, seconds) in found[key].as_object().into_iter().flatten() {
            text += &format!("  {of}{name:12} {:.4} s\n", number(seconds));
        }
    }
    text
}
