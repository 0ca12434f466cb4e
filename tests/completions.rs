//! `pipeline completions`: what a shell offers at a tab.
use crate::program::{root, stdout};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Returns what bash offers for a line that ends at the cursor; `None` without bash.
fn bash(line: &str) -> Option<Vec<String>> {
    let program = Path::new(env!("CARGO_BIN_EXE_pipeline"));
    let script = r#"
        PATH="$FOLDER:$PATH"
        source <(pipeline completions bash)
        COMP_LINE="$1" COMP_POINT=${#1}
        read -r -a COMP_WORDS <<< "${1//=/ = }"
        [[ $1 == *[[:space:]=] ]] && COMP_WORDS+=("")
        COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
        _pipeline_graph pipeline "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    command
        .current_dir(root())
        .env("FOLDER", program.parent().unwrap());
    let output = command.args(["-c", script, "bash", line]).output().ok()?;
    let offered = String::from_utf8(output.stdout).unwrap();
    Some(offered.lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes_commands_and_what_a_graph_says() {
    let cases: [(&str, &[&str]); 9] = [
        ("pipeline ins", &["inspect"]),
        ("pipeline nodes prune", &["prune-step"]),
        (
            "pipeline tap graphs/dphubert.json gates.",
            &["gates.gates", "gates.penalty"],
        ),
        (
            "pipeline bench graphs/dphubert.json --phase ",
            &["prune", "distill"],
        ),
        (
            "pipeline bench graphs/dphubert.json --phase=d",
            &["distill"],
        ),
        (
            "pipeline run graphs/dphubert.json --set distill.ste",
            &["distill.step."],
        ),
        (
            "pipeline run graphs/dphubert.json --set speech.crop",
            &["speech.crop="],
        ),
        (
            "pipeline run graphs/dphubert.json --set speech.crop=b",
            &["batch", "bucket"],
        ),
        ("pipeline show graphs/dphubert.json --form", &["--format"]),
    ];
    for (line, expected) in cases {
        let Some(offered) = bash(line) else { return };
        assert_eq!(offered, expected, "{line}");
    }
}

#[test]
fn the_answers_for_shells_have_descriptions() {
    let line = [
        "__complete",
        "--",
        "tap",
        "graphs/dphubert.json",
        "student.hid",
    ];
    assert_eq!(stdout(root(), &line), "student.hiddens\thiddens\n");
    let steps = [
        "__complete",
        "--",
        "run",
        "graphs/dphubert.json",
        "--set",
        "step.steps",
    ];
    assert_eq!(
        stdout(root(), &steps),
        "step.steps=\tUpdates of the phase.\n"
    );
    // Shells complete these by themselves.
    for line in [
        &["ru"][..],
        &["run", "graphs/"],
        &["tap", "no-such.json", "a"],
    ] {
        assert_eq!(
            stdout(root(), &[&["__complete", "--"], line].concat()),
            "",
            "{line:?}"
        );
    }
    let scripts = ["bash", "zsh", "fish"].map(|shell| stdout(root(), &["completions", shell]));
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        scripts
            .iter()
            .all(|script| script.contains("__complete --"))
    );
    assert!(readme.contains("pipeline completions bash"));
}
