//! Files that cannot be used.
use super::*;

/// Returns six files of which 0.wav is missing, 1.wav is cut, and 2.wav is not as long as its
/// manifest says.
fn damaged_folder(name: &str) -> AudioFolder {
    let data = AudioFolder::new(name, 6);
    std::fs::remove_file(data.0.join("0.wav")).unwrap();
    let path = data.0.join("1.wav");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..3000]).unwrap(); // its header is whole
    let manifest = data.0.join("train.tsv");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("2.wav\t", "2.wav\t1")).unwrap();
    data
}

/// Returns options with one row per batch: batches of a bad file are replaced by their neighbours.
fn options_with_bad_files(data: &AudioFolder, allowed: u64) -> Options {
    data.options(&[
        ("seconds_per_batch", 0.1.into()),
        ("bad_files", allowed.into()),
    ])
}

#[test]
fn bad_files_are_named_counted_and_left_out() {
    let data = damaged_folder("bad");
    let options = options_with_bad_files(&data, 3);
    let planned = options.planned_rows().unwrap().unwrap();
    assert_eq!(planned.train.rows(), 6, "by the manifest alone");
    let (context, lines) = context(None, 0);
    let sent = send_phase(&options, &context).unwrap();
    assert_eq!(sent.iter().filter(|batch| !batch.info.dev).count(), 2 * 4);
    let rows = sent.iter().flat_map(|batch| &batch.rows);
    let ids: BTreeSet<_> = rows.map(|row| row.id.as_str()).collect();
    assert_eq!(ids, BTreeSet::from(["3.wav", "4.wav", "5.wav"]));
    let mut lines = lines.take();
    let first_summary = lines.iter().find(|line| line.contains(" utterances, "));
    assert!(
        first_summary.unwrap().ends_with("; left out: 2 bad"),
        "{lines:?}"
    );
    lines.retain(|line| line.contains("bad file "));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("node `speech`: "));
    assert!(lines[0].contains("0.wav cannot be read: "));
    assert!(lines[1].contains("2.wav has "));
    assert!(lines[1].contains("its manifest says 1"));
    assert!(lines[2].contains("1.wav cannot be read: "));
    assert!(lines[2].contains("bad file 3; `bad_files` is 3"));
}

#[test]
fn more_bad_files_than_allowed_are_an_error() {
    let data = damaged_folder("too-bad");
    for (allowed, name) in [(0, "0.wav"), (1, "2.wav"), (2, "1.wav")] {
        let options = options_with_bad_files(&data, allowed);
        let error = send_phase(&options, &context(None, 0).0).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(name), "{error}");
        let limit = format!("`bad_files` is {allowed}");
        assert!(error.contains(&limit), "{error}");
    }
}
