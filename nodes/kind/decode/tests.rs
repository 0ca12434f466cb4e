//! What `decode` sends, of files on the disk.
mod audio_folder;
mod bad_files;

use super::*;
use crate::Result;
use crate::data::audio::read_audio;
use crate::node::Clock;
use crate::node::Synthetic;
use crate::node::port::Value;
use crate::node::report::ReportedLines;
use crate::node::step::{Step, StepInfo};
use arrow::array::Array;
use audio_folder::AudioFolder;
use compute::tensor::Tape;
use serde_json::{Value as Json, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

fn context(updates: Option<u64>, from: u64) -> (NodeContext, Arc<ReportedLines>) {
    let lines = Arc::new(ReportedLines::default());
    let context = NodeContext::alone("speech", lines.clone(), |run| {
        run.seed = 7;
        run.clock = Clock {
            updates,
            accumulate: 1,
            checkpoint_every: 100,
            from,
        };
    });
    (context, lines)
}

#[derive(Clone, Debug, PartialEq)]
struct SentRow {
    id: String,
    samples: Vec<f32>,
    view: u64,
}

/// A step and its rows.
#[derive(Clone, Debug, PartialEq)]
struct SentBatch {
    info: StepInfo,
    rows: Vec<SentRow>,
}

fn send(node: &mut dyn Node, context: &NodeContext) -> Result<SentBatch> {
    let info = node.next_step()?;
    let mut step = Step::new(info, context, Tape::default(), HashMap::new(), &mut []);
    node.run(&mut step)?;
    let Some(Value::Batch(batch)) = step.into_outputs().remove("speech") else {
        panic!("no batch")
    };
    let ids = column::texts(&batch, column::ID)?;
    let views = column::u64s(&batch, column::VIEW)?;
    let samples = column::floats_by_row(&batch, column::SAMPLES)?;
    let row = |i| SentRow {
        id: ids.value(i).into(),
        samples: samples[i].to_vec(),
        view: views[i],
    };
    let rows = (0..ids.len()).map(row).collect();
    Ok(SentBatch { info, rows })
}

/// Returns everything that the node sends in its phase.
fn send_phase(options: &Options, context: &NodeContext) -> Result<Vec<SentBatch>> {
    let mut node = options.build(context)?;
    let mut sent = vec![];
    loop {
        let batch = send(&mut *node, context)?;
        let last = batch.info.last;
        sent.push(batch);
        if last {
            return Ok(sent);
        }
    }
}

fn lengths(rows: &[&SentRow]) -> Vec<usize> {
    rows.iter().map(|row| row.samples.len()).collect()
}

#[test]
fn epochs_have_every_row_once_and_steps_count_samples() {
    let data = AudioFolder::new("epochs", 12);
    for crop in ["none", "bucket", "batch"] {
        let options = data.options(&[("crop", crop.into()), ("bucket_seconds", 0.08.into())]);
        let sent = send_phase(&options, &context(None, 0).0).unwrap();
        let planned = options.planned_rows().unwrap().unwrap();
        for epoch in 0..2 {
            let mut batches = sent.clone();
            batches.retain(|batch| !batch.info.dev && batch.info.epoch == epoch);
            let rows: Vec<&SentRow> = batches.iter().flat_map(|batch| &batch.rows).collect();
            let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
            assert_eq!(planned.train_batches, batches.len() as u64, "{crop}");
            assert_eq!(rows.len(), 12);
            assert_eq!(ids.len(), 12);
            assert!(rows.iter().all(|row| row.view == epoch));
            let mut lengths: Vec<u64> = lengths(&rows).into_iter().map(|n| n as u64).collect();
            lengths.sort();
            let lengths: LengthCounts = lengths.into_iter().collect();
            assert_eq!(lengths, planned.train, "{crop}");
        }
        for batch in &sent {
            let lengths = lengths(&batch.rows.iter().collect::<Vec<_>>());
            assert_eq!(batch.info.samples, lengths.iter().sum::<usize>() as u64);
            let whole = crop == "none" || batch.info.dev;
            assert!(whole || lengths.iter().all(|n| *n == lengths[0]));
        }
        let dev = sent.iter().filter(|batch| batch.info.dev);
        let dev_rows: Vec<&SentRow> = dev.flat_map(|batch| &batch.rows).collect();
        assert_eq!(dev_rows.len(), 3);
        assert!(lengths(&dev_rows).is_sorted());
    }
}

#[test]
fn crops_are_pieces_of_the_file() {
    let data = AudioFolder::new("crops", 4);
    let options = data.options(&[
        ("crop", "bucket".into()),
        ("bucket_seconds", 0.1.into()),
        ("views", 5.into()),
    ]);
    let sent = send_phase(&options, &context(None, 0).0).unwrap();
    let mut starts = BTreeSet::new();
    for row in sent.iter().flat_map(|batch| &batch.rows) {
        let whole = read_audio(&data.0.join(&row.id)).unwrap();
        let start = (0..=whole.len() - row.samples.len())
            .step_by(320)
            .find(|&start| whole[start..].starts_with(&row.samples));
        starts.insert(start.expect("a piece on the grid"));
    }
    assert!(starts.len() > 1);
}

#[test]
fn a_resumed_phase_sends_the_same_rows() {
    let data = AudioFolder::new("resume", 9);
    let options = data.options(&[
        ("crop", "bucket".into()),
        ("dev_every", 3.into()),
        ("views", 0.into()),
    ]);
    let whole = send_phase(&options, &context(Some(10), 0).0).unwrap();
    for from in [0, 1, 3, 7, 10] {
        let mut expected = whole.clone();
        expected
            .retain(|SentBatch { info, .. }| info.update > from || info.dev && info.update == from);
        let resumed = send_phase(&options, &context(Some(10), from).0).unwrap();
        assert_eq!(resumed, expected, "from {from}");
    }
}

#[test]
fn a_finished_phase_without_a_dev_set_has_no_step_left() {
    let data = AudioFolder::new("finished", 3);
    let options = data.options(&[("dev", Json::Null)]);
    let finished = context(Some(10), 10).0;
    let unfinished = context(Some(10), 9).0;
    let settings = options.settings();
    assert!(settings.nothing_left(&finished.run.clock));
    assert!(!settings.nothing_left(&unfinished.run.clock));
    let error = send_phase(&options, &finished).unwrap_err().to_string();
    assert!(error.contains("no step left"));
}

#[test]
fn too_short_and_too_long_utterances_are_left_out() {
    let data = AudioFolder::new("bounds", 12);
    let options = data.options(&[
        ("dev", Json::Null),
        ("min_seconds", 0.25.into()),
        ("max_seconds", 0.5.into()),
    ]);
    let (context, lines) = context(None, 0);
    let sent = send_phase(&options, &context).unwrap();
    let rows: Vec<&SentRow> = sent.iter().flat_map(|batch| &batch.rows).collect();
    let lengths = lengths(&rows);
    assert!(lengths.iter().all(|length| (4000..=8000).contains(length)));
    let summary = &lines.take()[0];
    assert!(summary.contains("; left out: "), "{summary}");
    assert!(
        summary.contains(" too short, ") && summary.ends_with(" too long"),
        "{summary}"
    );
    let none = data.options(&[("min_seconds", 100.into())]);
    let error = send_phase(&none, &context).unwrap_err().to_string();
    let expected = "train.tsv has no utterance to use: 12 too short, 0 too long, 0 bad";
    assert!(error.ends_with(expected), "{error}");
    let list = std::path::Path::new(&none.manifest).with_file_name("none.tsv");
    std::fs::write(&list, ".\n").unwrap();
    let none = data.options(&[("manifest", list.to_string_lossy().into())]);
    let error = send_phase(&none, &context).unwrap_err().to_string();
    assert!(
        error.contains("none.tsv has no utterance: a list needs"),
        "{error}"
    );
}

#[test]
fn noise_needs_no_manifest() {
    let data = AudioFolder::new("noise", 3);
    let options = data.options(&[("manifest", "not/there.tsv".into())]);
    let (mut context, _) = context(Some(3), 0);
    Arc::get_mut(&mut context.run).unwrap().synthetic = Some(Synthetic {
        rows: 2,
        samples: 500,
    });
    let sent = send_phase(&options, &context).unwrap();
    assert_eq!(sent.len(), 3);
    for SentBatch { info, rows } in &sent {
        assert_eq!(info.samples, 1000);
        assert_eq!(info.epoch, 0);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].samples.len(), 500);
        assert_eq!(rows[1].id, format!("noise-{}-1", info.step));
        assert_ne!(rows[0].samples, rows[1].samples);
    }
    assert_ne!(sent[0].rows, sent[1].rows);
    assert_eq!(sent, send_phase(&options, &context).unwrap());
    assert!(options.planned_rows().unwrap().is_none());
}

#[test]
fn options_are_checked() {
    let paths = |json: Json| {
        let options: Options = serde_json::from_value(json).unwrap();
        let errors = options.errors().into_iter();
        errors.map(|error| error.path.join(".")).collect::<Vec<_>>()
    };
    let right = json!({ "manifest": "a.tsv", "seconds_per_batch": 20 });
    assert!(paths(right).is_empty());
    let wrong = json!({
        "manifest": "a.csv",
        "dev": "feats.scp",
        "seconds_per_batch": 0,
        "bucket_seconds": -1,
        "min_seconds": -1,
        "max_seconds": -2,
    });
    let expected = [
        "manifest",
        "dev",
        "seconds_per_batch",
        "bucket_seconds",
        "min_seconds",
        "max_seconds",
    ];
    assert_eq!(paths(wrong), expected);
}

#[test]
fn of_a_long_list_without_lengths_only_some_headers_are_read() {
    let data = AudioFolder::new("long-list", 3);
    let rows = 100_002;
    let path = |row: u64| data.0.join(format!("{}.wav", row % 2));
    let lines: Vec<String> = (0..rows)
        .map(|row| format!("{row} {}\n", path(row).display()))
        .collect();
    let list = data.0.join("wav.scp");
    std::fs::write(&list, lines.concat()).unwrap();
    let options = data.options(&[("manifest", json!(list)), ("dev", Json::Null)]);
    let planned = options.planned_rows().unwrap().unwrap();
    let sampled = planned.sampled.unwrap();
    assert_eq!([sampled.read, sampled.rows], [rows / 2, rows]);
    assert_eq!(planned.train.rows(), rows);
    let samples = read_audio(&path(0)).unwrap().len() as u64;
    assert_eq!(planned.train.sum(|length| length), rows * samples);
}
