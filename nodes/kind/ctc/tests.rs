//! The loss and its gradient against PyTorch's, decoding, and error rates.
mod training;

use super::*;
use crate::model::parity::{close, load, values};
use compute::tensor::{Spans, backward, hidden};

/// tests/golden/sequence_heads.py
#[test]
fn the_loss_and_its_gradient_are_pytorchs() {
    let golden = load("sequence_heads.safetensors");
    let theirs = |name: &str| values(&golden, &format!("ctc/{name}"));
    let integers = |name: &str| theirs(name).iter().map(|x| *x as usize).collect::<Vec<_>>();
    let lengths = integers("frames");
    let labels = integers("labels");
    let mut rows: Vec<Vec<u32>> = vec![];
    let mut begin = 0;
    for count in integers("label_lengths") {
        rows.push(
            labels[begin..begin + count]
                .iter()
                .map(|l| *l as u32)
                .collect(),
        );
        begin += count;
    }
    let needed: Vec<bool> = rows
        .iter()
        .zip(&lengths)
        .map(|(row, frames)| ctc_frames(row) > *frames)
        .collect();
    assert!(needed.contains(&true), "a row that is too short");
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let x = hidden(theirs("logits").to_vec(), 6, Spans::new(lengths));
    let loss = ctc(x.on(&Tape::default()), &rows);
    close("loss", &read(&loss), theirs("loss"));
    let gradient = backward(loss, 1.0).of(&x.values);
    close("gradient", &read(&gradient), theirs("grad/logits"));
}

fn node(units: Units, names: &[&str]) -> Ctc {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Ctc {
        options: Options {
            zero_infinity: false,
        },
        vocabulary: Vocabulary::new(units, &names),
    }
}

/// Returns logits of one row whose most probable classes are these.
fn logits(classes: &[usize], width: usize) -> Hidden<Tape> {
    let mut values = vec![0.0; classes.len() * width];
    for (t, class) in classes.iter().enumerate() {
        values[t * width + class] = 1.0;
    }
    hidden(values, width, Spans::new([classes.len()])).on(&Tape::default())
}

fn counts(node: &Ctc, classes: &[usize], labels: &[u32]) -> Vec<(String, [f64; 2])> {
    let logits = logits(classes, node.vocabulary.classes());
    let outcomes = node.outcomes(&["a".into()], &[labels], &logits);
    outcomes
        .into_iter()
        .map(|outcomes| (outcomes.metric, outcomes.rows[0].numbers))
        .collect()
}

#[test]
fn repeats_are_merged_and_blanks_removed() {
    let classes = [0, 2, 2, 0, 2, 1, 1, 0];
    assert_eq!(decode(&classes, &logits(&classes, 3)), [[2, 2, 1]]);
}

#[test]
fn phones_are_counted_without_marks() {
    let node = node(Units::Phones, &["<eos>", "AA", "B"]);
    let found = counts(&node, &[2, 2, 0, 3, 1], &[2, 2, 1]);
    assert_eq!(found, [("per".to_owned(), [1.0, 2.0])]);
}

/// "A BA" is heard as "A B A": one word becomes two, and a space is put in. The space at the end of
/// the reference counts nowhere.
#[test]
fn letters_give_words_and_characters() {
    let node = node(Units::Letters, &["|", "A", "B"]);
    let found = counts(&node, &[2, 1, 1, 3, 1, 2], &[2, 1, 3, 2, 1]);
    let expected = [
        ("wer".to_owned(), [2.0, 2.0]),
        ("cer".to_owned(), [1.0, 4.0]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_row_that_is_too_short_is_an_error_unless_it_counts_as_zero() {
    let mut node = node(Units::Phones, &["AA", "B"]);
    let check = |node: &Ctc| {
        let row = logits(&[1, 0, 1], 3);
        let checked = node.check_frames(&["x.wav".into()], &[&[1, 1, 2]], &row);
        checked.map_err(|error| error.to_string())
    };
    let error = "`x.wav` has 3 frames, but its 3 labels need 4; with `zero_infinity` such rows are \
                 left out";
    assert_eq!(check(&node), Err(error.into()));
    node.options.zero_infinity = true;
    assert_eq!(check(&node), Ok(()));
}
