//! Inputs as people have them: folders with links and other files, texts of Windows programs, pipes.
use crate::program::{Folder, call, execute, last_line, pipeline, root, stderr};
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const MODEL: &str = "tests/golden/base";
const WAV: &str = "tests/data/audio/mono_c0.wav";

/// Runs `pipeline extract` on one path with more arguments.
fn extract(folder: &Folder, audio: &str, arguments: &[&str]) -> Output {
    let mut command = pipeline(root(), &["extract", MODEL, audio]);
    execute(
        command
            .args(arguments)
            .arg("--out")
            .arg(folder.path().join("x.parquet")),
    )
}

/// Returns id and layer of each row that was extracted.
fn extracted(folder: &Folder) -> Vec<(String, i32)> {
    let file = fs::File::open(folder.path().join("x.parquet")).unwrap();
    let mut rows = vec![];
    for batch in ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap()
    {
        let batch = batch.unwrap();
        let ids = batch.column_by_name("id").unwrap().as_string::<i32>();
        let layers = batch.column_by_name("layer").unwrap();
        let layers = layers.as_primitive::<Int32Type>();
        rows.extend((0..batch.num_rows()).map(|i| (ids.value(i).to_owned(), layers.value(i))));
    }
    rows
}

#[cfg(unix)]
#[test]
fn a_folder_says_what_of_it_is_left_out() {
    let folder = Folder::new("wild-folder");
    let speech = folder.path().join("speech");
    fs::create_dir_all(speech.join(".cache")).unwrap();
    fs::create_dir_all(folder.path().join("elsewhere")).unwrap();
    let wav = fs::read(root().join(WAV)).unwrap();
    for name in [
        "speech/a.wav",
        "speech/.cache/b.wav",
        "speech/._a.wav",
        "elsewhere/c.wav",
    ] {
        fs::write(folder.path().join(name), &wav).unwrap();
    }
    for name in ["x.sph", "y.au", "z.au"] {
        fs::write(speech.join(name), "").unwrap();
    }
    std::os::unix::fs::symlink("../elsewhere", speech.join("linked")).unwrap();
    std::os::unix::fs::symlink(".", speech.join("circle")).unwrap();

    let speech = speech.to_str().unwrap();
    let output = extract(&folder, speech, &["--layers", "0"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let ids = ["a.wav", "linked/c.wav"].map(|name| (format!("{speech}/{name}"), 0));
    assert_eq!(extracted(&folder), ids);
    let says = stderr(&output);
    for part in [
        "left out: 1 NIST SPHERE (.sph), 2 Sun AU (.au) (convert these",
        "2 with a name that begins with a dot",
        "1 linked to a folder that is read already",
    ] {
        assert!(says.contains(part), "{part}: {says}");
    }
}

#[test]
fn bad_files_are_left_out_up_to_a_number() {
    let folder = Folder::new("wild-bad");
    let speech = folder.path().join("speech");
    fs::create_dir(&speech).unwrap();
    fs::copy(root().join(WAV), speech.join("b.wav")).unwrap();
    fs::write(speech.join("a.wav"), "").unwrap();
    fs::write(speech.join("c.flac"), "fLaC").unwrap();
    let speech = speech.to_str().unwrap();

    let output = extract(&folder, speech, &["--layers", "0", "--bad-files", "1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_line(&output).ends_with("(bad file 2; `--bad-files` is 1)"));
    assert!(!folder.path().join("x.parquet").exists());

    let output = extract(&folder, speech, &["--layers", "0", "--bad-files", "2"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("a.wav cannot be read: it is empty: left out"));
    assert_eq!(extracted(&folder), [(format!("{speech}/b.wav"), 0)]);
}

#[test]
fn layers_are_numbers_ranges_and_counts_from_the_end() {
    let folder = Folder::new("wild-layers");
    let cases: [(&[&str], &[i32]); 5] = [
        (&["--layers", "all"], &[0, 1, 2]),
        (&["--layers", "-1"], &[2]),
        (&["--layers=-1,0"], &[0, 2]),
        (&["--layers", "0 - 1, -1"], &[0, 1, 2]),
        (&["--layers", "1-2,1"], &[1, 2]),
    ];
    for (arguments, expected) in cases {
        let output = extract(&folder, WAV, arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            stderr(&output)
        );
        let layers: Vec<i32> = extracted(&folder).into_iter().map(|row| row.1).collect();
        assert_eq!(layers, expected, "{arguments:?}");
    }
    let output = extract(&folder, WAV, &["--layers", "9"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_line(&output).contains("there is no layer 9"));
    assert_eq!(
        extract(&folder, WAV, &["--layers", "a"]).status.code(),
        Some(2)
    );
}

/// Returns a graph file that is right.
fn graph() -> Vec<u8> {
    fs::read(root().join("graphs/dphubert.json")).unwrap()
}

#[test]
fn graphs_of_windows_programs() {
    let folder = Folder::new("wild-graphs");
    let check = |bytes: &[u8]| {
        let file = folder.path().join("g.json");
        fs::write(&file, bytes).unwrap();
        execute(pipeline(root(), &["check"]).arg(file))
    };
    let graph = graph();
    assert!(
        check(&[b"\xef\xbb\xbf", &graph[..]].concat())
            .status
            .success()
    );
    let text = String::from_utf8(graph.clone()).unwrap();
    assert!(
        check(text.replace('\n', "\r\n").as_bytes())
            .status
            .success()
    );

    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let output = check(&[b"\xff\xfe", &utf16[..]].concat());
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("g.json:1:1: it is UTF-16 text; convert it"));
}

#[test]
fn problems_are_counted_after_the_first_hundred() {
    let folder = Folder::new("wild-problems");
    let keys: Vec<String> = (0..50_000).map(|_| "\"a\": 1".to_owned()).collect();
    let text = format!(
        "{{ \"name\": \"x\",\n{},\n\"nodes\": {{}} }}",
        keys.join(",\n")
    );
    let file = folder.path().join("g.json");
    fs::write(&file, text).unwrap();
    let started = Instant::now();
    let output = execute(pipeline(root(), &["check"]).arg(file));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(stderr(&output).lines().count(), 101);
    assert_eq!(last_line(&output), "and 49901 more");
}

#[test]
fn names_cannot_change_the_terminal() {
    let folder = Folder::new("wild-names");
    let name = folder.path().join("\u{1b}]0;title\u{7}\n.wav");
    let output = extract(&folder, name.to_str().unwrap(), &["--layers", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let says = stderr(&output);
    assert_eq!(says.lines().count(), 1);
    assert!(
        says.contains("\\u{1b}]0;title\\u{7}\\n.wav cannot be read"),
        "{says}"
    );
}

#[cfg(unix)]
#[test]
fn only_a_graph_or_a_list_may_be_a_pipe() {
    let mut check = pipeline(root(), &["check", "/dev/stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(&graph()).unwrap();
    assert!(check.wait().unwrap().success());

    let folder = Folder::new("wild-pipes");
    let pipe = folder.path().join("p.wav");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let output = extract(&folder, pipe.to_str().unwrap(), &["--layers", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(last_line(&output).contains("it is a named pipe, not a file"));
    let output = execute(pipeline(root(), &["check"]).arg(&pipe));
    assert_eq!(output.status.code(), Some(2));
    assert!(last_line(&output).ends_with("nothing came through this pipe for 10 seconds"));
    let output = call(root(), &["check", "/dev/zero"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(last_line(&output).ends_with("it is a device or socket, not a file"));
}
