//! Files whose hidden states do not fit in memory.
use crate::program::{Folder, execute, root, stderr};
use std::process::Command;

/// Ten minutes need about 350 MB, of which the convolutions' outputs are most.
#[test]
fn a_file_that_is_too_long_is_named_before_it_is_computed() {
    let folder = Folder::new("too-long");
    let long = folder.path().join("long.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16000,
        bits_per_sample: 8,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(&long, spec).unwrap();
    for i in 0..600 * 16000 {
        wav.write_sample((i % 100) as i8).unwrap();
    }
    wav.finalize().unwrap();

    let program = env!("CARGO_BIN_EXE_pipeline");
    let teacher = root().join("data/sample/teacher");
    let script =
        "ulimit -v 500000 && exec \"$0\" extract \"$1\" long.wav --layers 5 --out out.parquet";
    let mut command = Command::new("sh");
    command.current_dir(folder.path());
    command.args(["-c", script, program]).arg(&teacher);
    let output = execute(&mut command);
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(
        message.contains("`long.wav`: 600.0 s of audio need about 0.3"),
        "{message}"
    );
    assert!(message.contains("split it"), "{message}");
    assert!(!message.contains("aborted"), "{message}");
    assert!(!folder.path().join("out.parquet").exists());
}
