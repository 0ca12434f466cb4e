//! Distributions of masks, and what every mask satisfies.
use super::*;
use serde_json::{Value as Json, json};

const DRAWS: u64 = 5000;

/// Counts something in a mask.
type Count = fn(&[bool]) -> usize;

fn options(json: &Json) -> Options {
    serde_json::from_value(json.clone()).expect("options of a mask")
}

fn draw(options: &Options, frames: usize, view: u64) -> Vec<bool> {
    options.mask(
        frames,
        options.probability.last(),
        &mut Draws::new(1, "a", view),
    )
}

fn masked_frames(mask: &[bool]) -> usize {
    mask.iter().filter(|masked| **masked).count()
}

/// Returns the number of runs of masked frames.
fn runs(mask: &[bool]) -> usize {
    let begins = |t: &usize| mask[*t] && (*t == 0 || !mask[t - 1]);
    (0..mask.len()).filter(begins).count()
}

/// Compares our draws with fairseq's (tests/golden/masks.py): the share of draws in which a frame
/// is masked, and means of the numbers of masked frames and of runs.
#[test]
fn masks_are_distributed_as_fairseqs() {
    let golden: Json =
        serde_json::from_str(include_str!("../../../../tests/golden/masks.json")).expect("JSON");
    let their_draws = golden["draws"].as_f64().expect("a count");
    let scale = (1.0 / their_draws + 1.0 / DRAWS as f64).sqrt();
    for setting in golden["settings"].as_array().expect("a list") {
        let their_options = &setting["options"];
        let options = options(their_options);
        let theirs =
            |name: &str| -> Vec<f64> { serde_json::from_value(setting[name].clone()).expect(name) };
        let shares = theirs("by_frame");
        let masks: Vec<_> = (0..DRAWS)
            .map(|view| draw(&options, shares.len(), view))
            .collect();
        for (t, p) in shares.into_iter().enumerate() {
            let share = masks.iter().filter(|mask| mask[t]).count() as f64 / DRAWS as f64;
            let deviation = (p * (1.0 - p)).sqrt() * scale;
            assert!(
                (share - p).abs() < 4.5 * deviation + 1e-4,
                "frame {t}: {share}, not {p}; {their_options}"
            );
        }
        let counts: [(&str, Count); 2] = [("masked", masked_frames), ("runs", runs)];
        for (name, count) in counts {
            let mean = masks.iter().map(|mask| count(mask) as f64).sum::<f64>() / DRAWS as f64;
            let [their_mean, deviation] = theirs(name)[..] else {
                panic!("{name}: not a mean and a deviation");
            };
            assert!(
                (mean - their_mean).abs() < 4.5 * deviation * scale,
                "{name}: {mean}, not {their_mean}; {their_options}"
            );
        }
    }
}

#[test]
fn spans_have_their_lengths_and_their_space() {
    let json = json!({ "lengths": "static", "length": 5, "min_space": 3, "probability": 0.4 });
    let options = options(&json);
    for view in 0..300 {
        let mask = draw(&options, 100, view);
        let runs_and_gaps: Vec<&[bool]> = mask.chunk_by(|a, b| a == b).collect();
        let first_run = usize::from(!runs_and_gaps[0][0]);
        let last = runs_and_gaps.len() - 1;
        for (i, frames) in runs_and_gaps.iter().enumerate().skip(first_run) {
            let right = if frames[0] {
                frames.len() == 5
            } else {
                frames.len() >= 3 || i == last
            };
            assert!(right, "{runs_and_gaps:?}");
        }
        assert!((2..=8).contains(&runs(&mask)));
    }
}

#[test]
fn rows_of_any_length() {
    for overlap in [false, true] {
        for min_space in [0, 1, 4] {
            let json = json!({ "overlap": overlap, "min_space": min_space, "min_masks": 3 });
            let options = options(&json);
            for frames in 0..50 {
                assert_eq!(draw(&options, frames, frames as u64).len(), frames);
            }
        }
    }
    let none = options(&json!({ "probability": 0, "min_masks": 0, "length": 1 }));
    for view in 0..100 {
        assert_eq!(masked_frames(&draw(&none, 9, view)), 0);
    }
}

#[test]
fn a_mask_is_a_function_of_seed_utterance_and_view() {
    let options = options(&json!({}));
    let mask = |seed, id, view| {
        options.mask(
            99,
            options.probability.last(),
            &mut Draws::new(seed, id, view),
        )
    };
    assert_eq!(mask(1, "a", 2), mask(1, "a", 2));
    for other in [mask(0, "a", 2), mask(1, "b", 2), mask(1, "a", 1)] {
        assert_ne!(mask(1, "a", 2), other);
    }
}
