//! The node: makes the clock, reads their batches.
use super::clock::StepClock;
use super::set::{Bad, Set};
use super::{Crop, Options};
use crate::Result;
use crate::node::step::{Step, StepInfo};
use crate::node::{Node, NodeContext};

pub struct Decode {
    /// The train set, then the dev set where there is one.
    sets: Vec<Set>,
    clock: StepClock,
    bad: Bad,
    views: u64,
    seed: u64,
    /// What the train set's order is of.
    epoch: Option<u64>,
    /// The number of the step's batch in its order.
    batch: usize,
}

impl Decode {
    pub fn new(options: &Options, context: &NodeContext) -> Result<Decode> {
        let mut bad = Bad::new(options.bad_files);
        let mut sets = vec![Set::open(
            &options.manifest,
            options,
            options.crop,
            &mut bad,
            context,
        )?];
        if let Some(dev) = &options.dev {
            sets.push(Set::open(dev, options, Crop::None, &mut bad, context)?);
        }
        let batches = |set: usize| sets.get(set).map_or(0, |set| set.order.len() as u64);
        let clock = StepClock::new(
            context.run.clock,
            options.views,
            options.dev_every,
            batches(0),
            batches(1),
        );
        Ok(Decode {
            sets,
            clock,
            bad,
            views: options.views,
            seed: context.run.seed,
            epoch: None,
            batch: 0,
        })
    }
    fn view(&self, info: &StepInfo) -> u64 {
        match self.views {
            _ if info.dev => 0,
            0 => info.epoch,
            views => info.epoch % views,
        }
    }
}

impl Node for Decode {
    fn next_step(&mut self) -> Result<StepInfo> {
        let (info, batch) = self.clock.next().ok_or("has no step left")?;
        if !info.dev && self.epoch != Some(info.epoch) {
            let view = self.view(&info);
            self.sets[0].begin(self.seed, view, info.epoch);
            self.epoch = Some(info.epoch);
        }
        self.batch = batch;
        Ok(StepInfo {
            samples: self.sets[info.dev as usize].samples(batch),
            ..info
        })
    }
    fn run(&mut self, step: &mut Step) -> Result<()> {
        let (set, view) = (&self.sets[step.info.dev as usize], self.view(&step.info));
        // A batch that lost all its rows is replaced by the next one, so that the count of batches stays: it tells a run
        // that goes on where it is.
        let (before, after) = set.order.split_at(self.batch);
        for batch in after.iter().chain(before) {
            let speech = set.read(batch, view, &mut self.bad, step.context)?;
            if !speech.ids.is_empty() {
                step.send("speech", speech.into_value(view)?);
                return Ok(());
            }
        }
        Err("no file of the epoch can be read".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::column;
    use crate::node::Source;
    use crate::node::port::Value;
    use crate::node::report::{Progress, Report};
    use crate::node::{Clock, Config, Synthetic};
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::UInt64Type;
    use compute::tensor::Tape;
    use std::collections::{BTreeSet, HashMap};
    use std::path::{Path, PathBuf};
    use std::sync::{Arc, Mutex};

    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);
    impl Report for Lines {
        fn update(&self, _: &str, _: Progress) {}
        fn say(&self, line: &str) {
            self.0.lock().unwrap().push(line.into());
        }
    }

    /// A folder of noise at 16 kHz, `files` of 3000 to 12000 samples, with train.tsv and dev.tsv (its last three).
    struct Data(PathBuf);
    impl Data {
        fn new(name: &str, files: u64) -> Data {
            let folder = std::env::temp_dir().join(format!("speech-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let key = compute::random::Key::new(1, &["data"]);
            let mut rows = vec![];
            for file in 0..files {
                let samples = 3000 + 500 * key.below(0, file, 19);
                let spec = hound::WavSpec {
                    channels: 1,
                    sample_rate: 16_000,
                    bits_per_sample: 16,
                    sample_format: hound::SampleFormat::Int,
                };
                let mut wav =
                    hound::WavWriter::create(folder.join(format!("{file}.wav")), spec).unwrap();
                (0..samples).for_each(|i| {
                    wav.write_sample((key.draw(1 + file, i)[0] >> 17) as i16)
                        .unwrap()
                });
                wav.finalize().unwrap();
                rows.push(format!("{file}.wav\t{samples}"));
            }
            let manifest = |rows: &[String]| format!("{}\n{}\n", folder.display(), rows.join("\n"));
            std::fs::write(folder.join("train.tsv"), manifest(&rows)).unwrap();
            std::fs::write(folder.join("dev.tsv"), manifest(&rows[rows.len() - 3..])).unwrap();
            Data(folder)
        }
        fn options(&self, more: &[(&str, serde_json::Value)]) -> Options {
            let at = |name| self.0.join(name).to_str().unwrap().to_owned();
            let mut json = serde_json::json!({ "manifest": at("train.tsv"), "dev": at("dev.tsv"), "seconds_per_batch": 2.5, "views": 2 });
            more.iter()
                .for_each(|(option, value)| json[option] = value.clone());
            serde_json::from_value(json).unwrap()
        }
    }
    impl Drop for Data {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn context(updates: Option<u64>, from: u64) -> (NodeContext, Arc<Lines>) {
        let lines = Arc::new(Lines::default());
        let clock = Clock {
            updates,
            accumulate: 1,
            checkpoint_every: 100,
            from,
        };
        let context = NodeContext::alone("speech", lines.clone(), |run| {
            run.seed = 7;
            run.clock = clock;
        });
        (context, lines)
    }

    #[derive(Clone, Debug, PartialEq)]
    struct Row {
        id: String,
        samples: Vec<f32>,
        view: u64,
    }

    /// Everything the node sends until the phase ends.
    fn all(options: &Options, context: &NodeContext) -> Result<Vec<(StepInfo, Vec<Row>)>> {
        let mut node = options.build(context)?;
        let mut sent = vec![];
        loop {
            let info = node.next_step()?;
            let mut step = Step::new(info, context, Tape::default(), HashMap::new(), &mut []);
            node.run(&mut step)?;
            let Some(Value::Batch(batch)) = step.into_outputs().remove("speech") else {
                panic!("no batch")
            };
            let ids = column::texts(&batch, column::ID)?;
            let views = batch
                .column_by_name("view")
                .unwrap()
                .as_primitive::<UInt64Type>();
            let row = |i| Row {
                id: ids.value(i).into(),
                samples: column::floats(&batch, column::SAMPLES, i).unwrap().to_vec(),
                view: views.value(i),
            };
            sent.push((info, (0..ids.len()).map(row).collect::<Vec<_>>()));
            if info.last {
                return Ok(sent);
            }
        }
    }

    #[test]
    fn epochs_have_every_row_once_and_heads_count_samples() {
        let data = Data::new("epochs", 12);
        for crop in ["none", "bucket", "batch"] {
            let options = data.options(&[("crop", crop.into()), ("bucket_seconds", 0.08.into())]);
            let sent = all(&options, &context(None, 0).0).unwrap();
            for epoch in 0..2 {
                let rows: Vec<&Row> = sent
                    .iter()
                    .filter(|(h, _)| !h.dev && h.epoch == epoch)
                    .flat_map(|(_, rows)| rows)
                    .collect();
                let ids: BTreeSet<_> = rows.iter().map(|r| &r.id).collect();
                assert_eq!((rows.len(), ids.len()), (12, 12));
                assert!(rows.iter().all(|r| r.view == epoch));
                let mut lengths: Vec<u64> = rows.iter().map(|r| r.samples.len() as u64).collect();
                let mut planned = options.planned_rows().unwrap().unwrap().train;
                lengths.sort();
                planned.sort();
                assert_eq!(lengths, planned, "{crop}");
            }
            for (info, rows) in &sent {
                assert_eq!(
                    info.samples,
                    rows.iter().map(|r| r.samples.len() as u64).sum::<u64>()
                );
                assert!(
                    crop == "none"
                        || info.dev
                        || rows
                            .iter()
                            .all(|r| r.samples.len() == rows[0].samples.len())
                );
            }
            let dev: Vec<&Row> = sent
                .iter()
                .filter(|(h, _)| h.dev)
                .flat_map(|(_, rows)| rows)
                .collect();
            assert!(
                dev.len() == 3
                    && dev
                        .windows(2)
                        .all(|w| w[0].samples.len() <= w[1].samples.len())
            );
        }
    }

    #[test]
    fn crops_are_pieces_of_the_file() {
        let data = Data::new("crops", 4);
        let options = data.options(&[
            ("crop", "bucket".into()),
            ("bucket_seconds", 0.1.into()),
            ("views", 5.into()),
        ]);
        let (mut starts, sent) = (BTreeSet::new(), all(&options, &context(None, 0).0).unwrap());
        for row in sent.iter().flat_map(|(_, rows)| rows) {
            let whole = crate::data::audio::read_audio(&data.0.join(&row.id)).unwrap();
            let start = (0..=whole.len() - row.samples.len())
                .step_by(320)
                .find(|&s| whole[s..].starts_with(&row.samples));
            starts.insert(start.expect("a piece on the grid"));
        }
        assert!(starts.len() > 1);
    }

    #[test]
    fn going_on_sends_the_same_rows() {
        let data = Data::new("resume", 9);
        let options = data.options(&[
            ("crop", "bucket".into()),
            ("dev_every", 3.into()),
            ("views", 0.into()),
        ]);
        let whole = all(&options, &context(Some(10), 0).0).unwrap();
        for from in [0, 1, 3, 7, 10] {
            let tail: Vec<_> = whole
                .iter()
                .filter(|(h, _)| h.update > from || h.dev && h.update == from)
                .cloned()
                .collect();
            assert_eq!(
                all(&options, &context(Some(10), from).0).unwrap(),
                tail,
                "from {from}"
            );
        }
        let without = Options {
            dev: None,
            ..options
        };
        let clock = |from| context(Some(10), from).0.run.clock;
        assert!(
            without.settings().nothing_left(&clock(10))
                && !without.settings().nothing_left(&clock(9))
        );
        assert!(
            all(&without, &context(Some(10), 10).0)
                .unwrap_err()
                .to_string()
                .contains("no step left")
        );
    }

    #[test]
    fn bad_files_are_named_counted_and_left_out() {
        let data = Data::new("bad", 6);
        let damage = |name: &str, length: usize| {
            let bytes = std::fs::read(data.0.join(name)).unwrap();
            std::fs::write(data.0.join(name), &bytes[..length]).unwrap();
        };
        std::fs::remove_file(data.0.join("0.wav")).unwrap();
        damage("1.wav", 3000); // its header is whole
        let text = std::fs::read_to_string(data.0.join("train.tsv")).unwrap();
        std::fs::write(
            data.0.join("train.tsv"),
            text.replace("2.wav\t", "2.wav\t1"),
        )
        .unwrap();
        // Every batch has one row: those of 1.wav are replaced by their neighbours.
        let options = |bad: u64| {
            data.options(&[("seconds_per_batch", 0.1.into()), ("bad_files", bad.into())])
        };
        assert_eq!(
            options(3).planned_rows().unwrap().unwrap().train.len(),
            6,
            "by the manifest alone"
        );
        let (here, lines) = context(None, 0);
        let sent = all(&options(3), &here).unwrap();
        assert_eq!(sent.iter().filter(|(h, _)| !h.dev).count(), 2 * 4);
        let ids: BTreeSet<_> = sent
            .iter()
            .flat_map(|(_, rows)| rows.iter().map(|r| r.id.as_str()))
            .collect();
        assert_eq!(ids, BTreeSet::from(["3.wav", "4.wav", "5.wav"]));
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines[0].starts_with("node `speech`: ") && lines[0].contains("0.wav cannot be read: ")
        );
        assert!(lines[1].contains("2.wav has ") && lines[1].contains("its manifest says 1"));
        assert!(
            lines[2].contains("1.wav cannot be read: ")
                && lines[2].contains("bad file 3; `bad_files` is 3")
        );
        for (allowed, name) in [(0, "0.wav"), (1, "2.wav"), (2, "1.wav")] {
            let error = all(&options(allowed), &context(None, 0).0)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(name) && error.contains(&format!("`bad_files` is {allowed}")),
                "{error}"
            );
        }
    }

    #[test]
    fn too_short_and_too_long_ones_are_left_out() {
        let data = Data::new("bounds", 12);
        let bounds = [("min_seconds", 0.25.into()), ("max_seconds", 0.5.into())];
        let (options, (here, lines)) = (data.options(&bounds), context(None, 0));
        let sent = all(
            &Options {
                dev: None,
                ..options.clone()
            },
            &here,
        )
        .unwrap();
        assert!(
            sent.iter()
                .flat_map(|(_, rows)| rows)
                .all(|r| (4000..=8000).contains(&r.samples.len()))
        );
        assert!(lines.0.lock().unwrap()[0].contains("of 12 utterances "));
        let none = Options {
            min_seconds: 100.0,
            max_seconds: None,
            ..options
        };
        let error = all(&none, &here).unwrap_err().to_string();
        assert!(
            error.ends_with("train.tsv has no utterance to use: 12 too short, 0 too long, 0 bad"),
            "{error}"
        );
    }

    #[test]
    fn noise_needs_no_manifest() {
        let options = Options {
            manifest: "not/there.tsv".into(),
            ..Data::new("noise", 3).options(&[])
        };
        let (mut here, _) = context(Some(3), 0);
        Arc::get_mut(&mut here.run).unwrap().synthetic = Some(Synthetic {
            rows: 2,
            samples: 500,
        });
        let sent = all(&options, &here).unwrap();
        assert_eq!(sent.len(), 3);
        assert!(
            sent.iter()
                .all(|(h, rows)| h.samples == 1000 && h.epoch == 0 && rows[1].id == "noise-1")
        );
        assert!(sent.iter().all(|(_, rows)| rows.len() == 2
            && rows[0].samples.len() == 500
            && rows[0] != rows[1]));
        assert_ne!(sent[0].1, sent[1].1);
        assert_eq!(sent, all(&options, &here).unwrap());
        assert_eq!(options.planned_rows().unwrap().map(|p| p.train), None);
    }

    #[test]
    fn options_are_checked() {
        let says = |json: serde_json::Value| {
            let options: Options = serde_json::from_value(json).unwrap();
            let wrong = options
                .info(&Default::default(), &Default::default())
                .err()
                .unwrap_or_default();
            wrong
                .into_iter()
                .map(|w| w.path.join("."))
                .collect::<Vec<_>>()
        };
        assert!(
            says(serde_json::json!({ "manifest": "a.tsv", "seconds_per_batch": 20 })).is_empty()
        );
        let all = serde_json::json!({ "manifest": "a.csv", "dev": "feats.scp", "seconds_per_batch": 0, "bucket_seconds": -1, "min_seconds": -1, "max_seconds": -2 });
        assert_eq!(
            says(all),
            [
                "manifest",
                "dev",
                "seconds_per_batch",
                "bucket_seconds",
                "min_seconds",
                "max_seconds"
            ]
        );
        assert!(!Path::new("a.tsv").exists());
    }
}
