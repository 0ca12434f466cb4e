//! `pipeline bench GRAPH --steps N [--synthetic BxS] [--phase P] [--cached]`: the time of an
//! update and of each node, the share of the machine's roofline, and where the bytes are. On a GPU
//! only its peak memory is reported.
use crate::dry_run::{self, DryRun, TemporaryFolder, check_files, find_phase};
use crate::ending::{CommandError, CommandResult};
use crate::print::{print, print_json};
use crate::screen::Screen;
use crate::signal::Signals;
use crate::{Format, device, graph, numbers, ranks, recipe, terminal};
use compute::ranks::Ranks;
use compute::roofline::Roofline;
use nodes::data::audio::resample::{RATE, audio_seconds};
use nodes::node::Synthetic;
use pipeline::graph::plan::{Phase, Plan};
use pipeline::run::phase;
use pipeline::run::stage::NodeEvent;
use pipeline::speed::record::{BenchRecord, Speech};
use pipeline::speed::records::BenchRecords;
use recording::{BenchReport, StepRecording};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod exchange;
mod memory;
mod recording;
mod roofline;
mod summary;

/// Updates before the measurement starts.
const WARM_UP: u64 = 2;
/// The audio of one frame; a shorter row has none.
const FRAME_SECONDS: f64 = 0.025;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    graph: graph::Arguments,
    #[command(flatten)]
    device: device::Arguments,
    /// Updates to time, after two to warm up
    #[arg(long, value_name = "N", value_parser = numbers::timed_updates, allow_negative_numbers = true)]
    steps: u64,
    /// Rows and seconds of a batch of noise that replaces the manifest: 4x5
    #[arg(long, value_name = "BxS", value_parser = parse_synthetic, allow_negative_numbers = true)]
    synthetic: Option<Synthetic>,
    /// The phase to run [default: the first]
    #[arg(long, value_name = "P")]
    phase: Option<String>,
    /// Fill a temporary cache first and time its hits
    #[arg(long)]
    cached: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn parse_synthetic(text: &str) -> Result<Synthetic, String> {
    let parse = || {
        let (rows, seconds) = text.split_once('x')?;
        let rows: usize = rows.parse().ok()?;
        let seconds: f64 = seconds.parse().ok()?;
        Some((rows, seconds))
    };
    match parse() {
        Some((rows, seconds))
            if rows > 0 && seconds >= FRAME_SECONDS && rows as f64 * seconds <= 3600.0 =>
        {
            Ok(Synthetic {
                rows,
                samples: (seconds * RATE as f64) as usize,
            })
        }
        _ => Err(format!(
            "'{text}' is no rows x seconds; write for instance 4x5, a row of at least \
             {FRAME_SECONDS} s, at most an hour in all"
        )),
    }
}

impl Arguments {
    /// Runs the phase, with `--cached` twice, and prints what the last pass measured.
    pub(crate) fn run(self) -> CommandResult {
        let ranks = ranks::join()?;
        let folder = TemporaryFolder::new("bench")?;
        let recipe = self.graph.plan()?;
        let recipe_phase = find_phase(&recipe, self.phase.as_deref())?;
        let settings = self.settings(&recipe, recipe_phase, folder.path(), ranks.count());
        let plan = self.graph.plan_for_ranks(&settings, ranks.count())?;
        let phase = find_phase(&plan, self.phase.as_deref())?;
        if phase.optimizer.is_none() && !ranks.is_first() {
            return Ok(()); // the first rank runs the phase alone
        }
        if self.synthetic.is_none() {
            check_files(phase)?;
        }
        self.device.choose()?;
        let screen = Arc::new(Screen::new());
        let signals = match ranks.is_first() {
            true => Signals::catch_and_answer(&screen)?,
            false => Signals::catch()?,
        };
        let roofline = if cfg!(feature = "cuda") {
            None // only the CPU's can be measured
        } else {
            Some(Roofline::measure())
        };
        let passes = if self.cached { 2 } else { 1 };
        let mut recording = Arc::default();
        for pass in 0..passes {
            let out = folder.path().join(pass.to_string());
            std::fs::create_dir_all(&out)?;
            memory::reset_peak();
            device::reset_peak();
            recording = self.record(&plan, phase, &out, &screen, &signals, &ranks)?;
        }
        if !ranks.is_first() {
            return Ok(());
        }
        let summary = summary::summarize(
            phase,
            self.steps,
            roofline.as_ref(),
            &recording,
            ranks.count(),
        )?;
        if ranks.count() == 1 {
            self.keep(&recipe, recipe_phase, &summary);
        }
        match self.format {
            Format::Json => print_json(&summary),
            Format::Text => {
                let recipe = recipe::text(&self.graph, &recipe, &recipe::phase_rows(&recipe));
                print(&format!("{}{recipe}", summary::text(&summary)))
            }
        }
    }

    /// Keeps the speed for `check`. A failure is told and changes nothing else.
    fn keep(&self, recipe: &Plan, phase: &Phase, summary: &Value) {
        let step_seconds = summary["step_seconds"]["median"].as_f64();
        let audio_per_second = summary["audio_per_second"].as_f64();
        let (Some(step_seconds), Some(audio_per_second)) = (step_seconds, audio_per_second) else {
            return;
        };
        let speech = match self.synthetic {
            Some(Synthetic { rows, samples }) => Speech::Noise {
                rows,
                seconds: audio_seconds(samples as u64),
            },
            None if self.cached => Speech::Cached,
            None => Speech::Manifest,
        };
        let record = BenchRecord::new(recipe, phase, speech, step_seconds, audio_per_second);
        let kept = match BenchRecords::of_user() {
            Some(records) => records.keep(recipe, phase, &record),
            None => Err("neither XDG_CACHE_HOME nor HOME names a folder".into()),
        };
        if let Err(error) = kept {
            let line = format!("warning: `check` will not know these figures: {error}");
            terminal::print_line(&line);
        }
    }

    /// Returns settings that turn off what is not timed: dev passes, checkpoints, and the graph's
    /// caches, which `--cached` replaces by one in `folder`.
    fn settings(&self, plan: &Plan, phase: &Phase, folder: &Path, ranks: usize) -> Vec<String> {
        let mut settings = dry_run::without_dev_passes(plan, phase);
        if let Some(optimizer) = phase.optimizer {
            let never = format!("checkpoint_every={}", u32::MAX);
            settings.push(dry_run::setting(plan, phase, optimizer, &never));
            if self.synthetic.is_some() {
                let one_each = format!("accumulate={ranks}");
                settings.push(dry_run::setting(plan, phase, optimizer, &one_each));
            }
        }
        let cache = if self.cached {
            json!(folder.join("cache").to_string_lossy())
        } else {
            Value::Null
        };
        for (i, node) in phase.nodes.iter().enumerate() {
            if node.kind().cacheable {
                settings.push(dry_run::setting(plan, phase, i, &format!("cache={cache}")));
            }
        }
        settings
    }

    /// Runs the phase once and records its steps.
    ///
    /// The phase runs one update more than is timed, because the last one also writes a
    /// checkpoint. Stages that run ahead of the last one get batches for further updates, so that
    /// none of them is idle during the measurement; a cache is filled without these.
    ///
    /// # Errors
    /// A node fails, or a signal stops the phase.
    fn record(
        &self,
        plan: &Plan,
        phase: &Phase,
        folder: &Path,
        screen: &Arc<Screen>,
        signals: &Signals,
        ranks: &Arc<Ranks>,
    ) -> Result<Arc<StepRecording>, CommandError> {
        let last_update = WARM_UP + self.steps + 1;
        let updates_ahead = if self.cached {
            0
        } else {
            (phase.stages.len() * phase::WAITING) as u64
        };
        let recording = Arc::new(StepRecording::default());
        let report = Arc::new(BenchReport {
            screen: ranks.is_first().then(|| screen.clone()),
            recording: recording.clone(),
            timed_updates: self.steps,
        });
        let dry_run = DryRun {
            plan,
            phase,
            updates: last_update + updates_ahead,
            folder,
            synthetic: self.synthetic,
            tapped: None,
            report,
            stop: signals.stop.clone(),
            ranks: match phase.optimizer {
                Some(_) => ranks.clone(),
                None => Arc::default(),
            },
        };
        let is_complete = AtomicBool::new(false);
        let ended = phase::run(phase, &dry_run.context(), None, &|node, info, moment| {
            let NodeEvent::Finished(duration, _) = moment else {
                if starts_stage(phase, node) {
                    recording::mark_step_start();
                }
                return;
            };
            recording.add_step(node, info, duration);
            if node == phase.last().name() && info.update == last_update && info.closes {
                is_complete.store(true, Ordering::Relaxed);
                signals.stop.store(true, Ordering::Relaxed);
            }
        });
        screen.close();
        ended?;
        if is_complete.load(Ordering::Relaxed) {
            signals.stop.store(false, Ordering::Relaxed);
        }
        if signals.stopped() {
            return Err(signals.interruption());
        }
        Ok(recording)
    }
}

/// Returns whether the node is the first of its stage.
fn starts_stage(phase: &Phase, node: &str) -> bool {
    let mut first_nodes = phase.stages.iter().map(|stage| &phase.nodes[stage[0]]);
    first_nodes.any(|first| first.name() == node)
}
